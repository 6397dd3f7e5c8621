//! Reads a SAMPLE record field by field, without copying its bytes.
//!
//! The event's [`Attr`] says which fields there are, and so where each one is. Source: the comment
//! on `PERF_RECORD_SAMPLE` in `include/uapi/linux/perf_event.h`.

use super::attr::{Attr, branch, read_format, sample_type as has};
use super::bytes::{Cursor, Words};

/// The fields of a sample that a profile needs. A field that the event did not ask for is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RawSample<'a> {
    /// Where the event hit.
    pub ip: Option<u64>,
    /// The process.
    pub pid: Option<u32>,
    /// The thread.
    pub tid: Option<u32>,
    /// When, in nanoseconds of the recording's clock.
    pub time: Option<u64>,
    /// The data address, of events that have one.
    pub addr: Option<u64>,
    /// The event's id: that of `PERF_SAMPLE_IDENTIFIER`, or else of `PERF_SAMPLE_ID`.
    pub id: Option<u64>,
    /// The CPU.
    pub cpu: Option<u32>,
    /// How many units of the event the sample stands for.
    pub period: Option<u64>,
    /// Counter values, of the event alone or of its whole group.
    pub read: Option<Read<'a>>,
    /// The addresses of the call chain, leaf first. Values from [`CONTEXT_MAX`] up are markers:
    /// they say in whose address space the following addresses are.
    pub callchain: Option<Words<'a>>,
    /// The last branches.
    pub branches: Option<Branches<'a>>,
    /// The registers of user space.
    pub regs_user: Option<Regs<'a>>,
    /// The top of the user stack.
    pub stack_user: Option<StackUser<'a>>,
}

/// `PERF_CONTEXT_MAX`: a call chain's values from here up are markers, not addresses.
pub(crate) const CONTEXT_MAX: u64 = 4095u64.wrapping_neg();
/// `PERF_CONTEXT_KERNEL`: the following addresses are in the kernel.
pub(crate) const CONTEXT_KERNEL: u64 = 128u64.wrapping_neg();
/// `PERF_CONTEXT_USER`: the following addresses are in user space.
pub(crate) const CONTEXT_USER: u64 = 512u64.wrapping_neg();
/// `PERF_CONTEXT_USER_DEFERRED`: the user part follows in a record of its own, whose cookie is the
/// next value.
pub(crate) const CONTEXT_USER_DEFERRED: u64 = 640u64.wrapping_neg();

/// The registers whose bits are set in the event's mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regs<'a> {
    /// 0 if there are no registers, as in a sample of a kernel thread; 1 for a 32-bit program, 2
    /// for a 64-bit one.
    pub abi: u64,
    /// Which registers: bits of the architecture's `enum perf_event_*_regs`.
    pub mask: u64,
    /// Their values, lowest bit first.
    pub values: Words<'a>,
}

impl Regs<'_> {
    fn parse<'a>(cursor: &mut Cursor<'a>, mask: u64) -> Option<Regs<'a>> {
        let abi = cursor.u64()?;
        let count = if abi == 0 { 0 } else { mask.count_ones() };
        Some(Regs { abi, mask, values: cursor.words(count.into())? })
    }
}

/// The top of the user stack, from the stack pointer up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StackUser<'a> {
    /// The bytes that the kernel copied (`dyn_size`), which may be fewer than it reserved.
    pub bytes: &'a [u8],
    /// How many bytes the kernel reserved. A stack that fills them was cut off there.
    pub reserved: u64,
}

impl StackUser<'_> {
    fn parse<'a>(cursor: &mut Cursor<'a>) -> Option<StackUser<'a>> {
        let reserved = cursor.u64()?;
        let bytes = cursor.take(reserved)?;
        let dynamic = if reserved == 0 { 0 } else { cursor.u64()? };
        let copied = usize::try_from(dynamic).unwrap_or(usize::MAX).min(bytes.len());
        Some(StackUser { bytes: bytes.get(..copied)?, reserved })
    }
}

/// The last branches, newest first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branches<'a> {
    words: Words<'a>,
}

/// One taken branch: `struct perf_branch_entry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The address of the branch.
    pub from: u64,
    /// Where it went.
    pub to: u64,
    /// The kernel's bit field: mispredicted, cycles, type and more.
    pub flags: u64,
}

impl<'a> Branches<'a> {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Branch> + 'a {
        let words = self.words;
        (0..words.len() / 3).filter_map(move |at| {
            let word = |field| words.get(3 * at + field);
            Some(Branch { from: word(0)?, to: word(1)?, flags: word(2)? })
        })
    }

    fn parse(cursor: &mut Cursor<'a>, attr: &Attr) -> Option<Branches<'a>> {
        let count = cursor.u64()?;
        cursor.u64_if(attr.branch_sample_type & branch::HW_INDEX != 0)?;
        let words = cursor.words(count.checked_mul(3)?)?;
        if attr.branch_sample_type & branch::COUNTERS != 0 {
            cursor.words(count)?;
        }
        Some(Branches { words })
    }
}

/// Counter values: `struct read_format`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Read<'a> {
    values: Values<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Values<'a> {
    One(Value),
    /// The values' words: value, id if `format` has it, lost if it has that.
    Group {
        format: u64,
        words: Words<'a>,
    },
}

/// The value of one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// The count since the counter was opened.
    pub value: u64,
    /// The event's id.
    pub id: Option<u64>,
    /// How many of its samples were lost so far.
    pub lost: Option<u64>,
}

impl Value {
    /// The id and the lost count that follow a `value`.
    fn parse(value: u64, cursor: &mut Cursor<'_>, format: u64) -> Option<Value> {
        let id = cursor.u64_if(format & read_format::ID != 0)?;
        Some(Value { value, id, lost: cursor.u64_if(format & read_format::LOST != 0)? })
    }
}

impl<'a> Read<'a> {
    /// One value, or one for each member of the group, the leader first.
    pub fn values(&self) -> impl Iterator<Item = Value> + 'a {
        let (mut one, mut group) = match self.values {
            Values::One(value) => (Some(value), None),
            Values::Group { format, words } => (None, Some((format, words.cursor()))),
        };
        std::iter::from_fn(move || {
            let Some((format, cursor)) = &mut group else { return one.take() };
            let value = cursor.u64()?;
            Value::parse(value, cursor, *format)
        })
    }

    /// The first word is the value of a single event, but the number of values of a group. The
    /// times follow it.
    pub(super) fn parse(cursor: &mut Cursor<'a>, format: u64) -> Option<Read<'a>> {
        let first = cursor.u64()?;
        cursor.u64_if(format & read_format::TOTAL_TIME_ENABLED != 0)?;
        cursor.u64_if(format & read_format::TOTAL_TIME_RUNNING != 0)?;
        let values = if format & read_format::GROUP == 0 {
            Values::One(Value::parse(first, cursor, format)?)
        } else {
            let extra = (format & (read_format::ID | read_format::LOST)).count_ones();
            let words = cursor.words(first.checked_mul(1 + u64::from(extra))?)?;
            Values::Group { format, words }
        };
        Some(Read { values })
    }
}

impl<'a> RawSample<'a> {
    /// Reads the body of a SAMPLE record of an event with this `attr`. `None` if it is too short
    /// for the fields above.
    pub(crate) fn parse(mut c: Cursor<'a>, attr: &Attr) -> Option<RawSample<'a>> {
        let on = |bit| attr.has(bit);
        let identifier = c.u64_if(on(has::IDENTIFIER))?;
        let mut s = RawSample { ip: c.u64_if(on(has::IP))?, ..RawSample::default() };
        if on(has::TID) {
            s.pid = Some(c.u32()?);
            s.tid = Some(c.u32()?);
        }
        s.time = c.u64_if(on(has::TIME))?;
        s.addr = c.u64_if(on(has::ADDR))?;
        let id = c.u64_if(on(has::ID))?;
        s.id = identifier.or(id);
        c.u64_if(on(has::STREAM_ID))?;
        if on(has::CPU) {
            s.cpu = Some(c.u32()?);
            c.skip(4)?;
        }
        s.period = c.u64_if(on(has::PERIOD))?;
        if on(has::READ) {
            s.read = Some(Read::parse(&mut c, attr.read_format)?);
        }
        if on(has::CALLCHAIN) {
            let count = c.u64()?;
            s.callchain = Some(c.words(count)?);
        }
        if on(has::RAW) {
            // The size counts the padding, which fills the last word.
            let size = c.u32()?;
            c.skip(size.into())?;
        }
        if on(has::BRANCH_STACK) {
            s.branches = Some(Branches::parse(&mut c, attr)?);
        }
        if on(has::REGS_USER) {
            s.regs_user = Some(Regs::parse(&mut c, attr.regs_user)?);
        }
        if on(has::STACK_USER) {
            s.stack_user = Some(StackUser::parse(&mut c)?);
        }
        // The fields behind these (weights, data sources, physical addresses, …) say nothing about
        // stacks.
        Some(s)
    }
}
