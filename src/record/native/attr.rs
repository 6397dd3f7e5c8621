//! Encodes what an event records for the kernel: `struct perf_event_attr`.
//!
//! Source: `include/uapi/linux/perf_event.h`; the reader's half is `perf_data::Attr`.

use crate::perf_data::sample_type as has;

/// How stacks are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallGraph {
    /// The kernel copies registers and this many bytes of the stack, which we unwind.
    Dwarf(u32),
    /// The kernel follows frame pointers.
    Fp,
    /// The CPU remembers its last calls.
    Lbr,
}

/// The common settings of all events of a recording. They change if the kernel refuses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) call_graph: CallGraph,
    /// Samples per second, or events per sample.
    pub(super) rate: Rate,
    /// Leave the kernel out, as `perf_event_paranoid` 2 demands.
    pub(super) exclude_kernel: bool,
    /// Start with the next exec.
    pub(super) on_exec: bool,
    /// Start only when we say so.
    pub(super) disabled: bool,
    /// Take no samples while nothing runs.
    pub(super) exclude_idle: bool,
    /// Also record new threads and children.
    pub(super) inherit: bool,
    /// Also record maps that hold no code, with which perf unwinds.
    pub(super) data_maps: bool,
    /// Record when threads are taken off the processor and come back.
    pub(super) switches: bool,
    /// Have the kernel count records that found no room in the rings: since Linux 6.0.
    pub(super) counts_lost: bool,
    /// The kernel wakes us when this many bytes are in the ring. Each ring has its own.
    pub(super) watermark: u32,
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    Frequency(u64),
    Period(u64),
}

/// One event: type and configuration, as perf_event_open(2) has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct What {
    pub(super) kind: u32,
    pub(super) config: u64,
    pub(super) config1: u64,
    pub(super) config2: u64,
    /// `:u`, `:k`, `:h`: it counts only there.
    pub(super) only: Option<Only>,
    /// How many `p` its name has.
    pub(super) precise: u8,
    /// A period of its own, instead of the recording's rate.
    pub(super) period: Option<u64>,
    /// The most bytes of the stack to copy, unless it is 0.
    pub(super) most_stack: u32,
}

impl What {
    /// `PERF_COUNT_SW_DUMMY`, which never counts.
    const TRACKER: What = What {
        kind: 1,
        config: 9,
        config1: 0,
        config2: 0,
        only: None,
        precise: 0,
        period: Some(1),
        most_stack: 0,
    };
}

/// The modes in which an event counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Only {
    pub(super) user: bool,
    pub(super) kernel: bool,
    pub(super) hypervisor: bool,
}

/// `PERF_ATTR_SIZE_VER7`. Older kernels accept fields that they do not know if they are zero. perf
/// up to 6.3 takes every attr in a recording to be this long.
const SIZE: usize = 128;

/// The general registers of x86-64, without the segments; all of aarch64.
const REGISTERS: u64 = if cfg!(target_arch = "aarch64") { (1 << 33) - 1 } else { 0xff_0fff };

/// `PERF_SAMPLE_BRANCH_USER | CALL_STACK | NO_FLAGS | NO_CYCLES`, as perf asks.
const BRANCHES: u64 = 1 | 1 << 11 | 1 << 14 | 1 << 15;

/// `PERF_FORMAT_LOST`, the only field besides the count.
const READ_LOST: u64 = 1 << 4;

/// The fields of samples that we write as they are.
const COMMON: u64 =
    has::IDENTIFIER | has::IP | has::TID | has::TIME | has::CPU | has::PERIOD | has::CALLCHAIN;

impl Wanted {
    pub(super) fn sample_type(&self) -> u64 {
        let common = if self.fixed_period() > 1 { COMMON & !has::PERIOD } else { COMMON };
        match self.call_graph {
            CallGraph::Dwarf(_) => common | has::REGS_USER | has::STACK_USER,
            CallGraph::Fp => common,
            CallGraph::Lbr => common | has::BRANCH_STACK,
        }
    }

    /// The period of all samples. They do not carry it if it is more than 1: if they did, the
    /// kernel would make each software event a sample, whatever the period (`perf_swevent_event` in
    /// kernel/events/core.c). Off-CPU recordings have no such events.
    pub(super) fn fixed_period(&self) -> u64 {
        match self.rate {
            Rate::Period(events) if !self.switches => events,
            _ => 1,
        }
    }

    /// The attr of `event`, or of the tracker, which reports threads and maps.
    pub(super) fn attr(&self, event: Option<&What>) -> Vec<u8> {
        let first = event.is_none();
        let event = event.unwrap_or(&What::TRACKER);
        let rate = event.period.map_or(self.rate, Rate::Period);
        let (rate, is_frequency) = match rate {
            Rate::Frequency(hertz) => (hertz, true),
            Rate::Period(events) => (events, false),
        };
        let (registers, stack) = match self.call_graph {
            CallGraph::Dwarf(bytes) if event.most_stack > 0 => {
                (REGISTERS, bytes.min(event.most_stack))
            }
            CallGraph::Dwarf(bytes) => (REGISTERS, bytes),
            _ => (0, 0),
        };
        let branches = if self.call_graph == CallGraph::Lbr { BRANCHES } else { 0 };
        let only = event.only.unwrap_or(Only { user: true, kernel: true, hypervisor: true });
        let flags: [(u32, bool); 20] = [
            // The tracker is enabled from the beginning.
            (0, self.on_exec || (self.disabled && !first)),
            (1, self.inherit),
            (4, !only.user),
            (5, !only.kernel || self.exclude_kernel),
            (6, !only.hypervisor || self.exclude_kernel),
            (7, self.exclude_idle),
            (8, first), // mmap
            (9, first), // comm
            (10, is_frequency),
            (12, self.on_exec),
            (13, first), // task
            (14, true),  // watermark
            (17, first && self.data_maps),
            (18, true), // sample_id_all
            (20, true), // exclude_guest
            // We find the user's part on the copied stack.
            (22, matches!(self.call_graph, CallGraph::Dwarf(_))),
            (23, first), // mmap2
            (24, first), // comm_exec
            (25, true),  // use_clockid
            (26, first && self.switches),
        ];
        let flags = flags.iter().fold(0u64, |all, &(bit, on)| all | u64::from(on) << bit);
        let flags = flags | u64::from(event.precise.min(3)) << 15;
        let mut attr = Vec::with_capacity(SIZE);
        let u32 = |value: u32, attr: &mut Vec<u8>| attr.extend(value.to_ne_bytes());
        let u64 = |value: u64, attr: &mut Vec<u8>| attr.extend(value.to_ne_bytes());
        u32(event.kind, &mut attr);
        u32(SIZE as u32, &mut attr);
        u64(event.config, &mut attr);
        u64(rate, &mut attr);
        u64(self.sample_type(), &mut attr);
        u64(if self.counts_lost { READ_LOST } else { 0 }, &mut attr);
        u64(flags, &mut attr);
        u32(self.watermark, &mut attr);
        u32(0, &mut attr); // bp_type
        u64(event.config1, &mut attr);
        u64(event.config2, &mut attr);
        u64(branches, &mut attr);
        u64(registers, &mut attr);
        u32(stack, &mut attr);
        // The dumps of JITs use this clock, too.
        u32(libc::CLOCK_MONOTONIC.cast_unsigned(), &mut attr);
        attr.resize(SIZE, 0);
        attr
    }
}

#[cfg(test)]
impl Wanted {
    pub(super) fn example() -> Wanted {
        Wanted {
            call_graph: CallGraph::Dwarf(64000),
            rate: Rate::Frequency(997),
            exclude_kernel: false,
            on_exec: true,
            disabled: false,
            exclude_idle: false,
            inherit: true,
            data_maps: false,
            switches: false,
            counts_lost: false,
            watermark: 4096,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf_data::{Attr, Cursor, Endian};

    #[test]
    fn the_reader_finds_what_was_asked_for() {
        let wanted = Wanted { exclude_kernel: true, ..Wanted::example() };
        let event = What { kind: 1, config: 2, precise: 2, ..What::default() };
        let bytes = wanted.attr(Some(&event));
        let endian = if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little };
        let attr = Attr::parse(&mut Cursor::new(&bytes, endian)).unwrap();
        assert_eq!((attr.kind, attr.config, attr.period_or_freq), (1, 2, 997));
        assert_eq!((attr.stack_user, attr.regs_user), (64000, REGISTERS));
        assert_eq!((attr.clockid, attr.precise_ip()), (libc::CLOCK_MONOTONIC, 2));
        assert!(attr.freq() && attr.inherit() && attr.sample_id_all() && attr.use_clockid());
        assert!(attr.exclude_kernel() && attr.exclude_hv() && !attr.exclude_user());
        let periodic = What { period: Some(7), ..event };
        let bytes = wanted.attr(Some(&periodic));
        let attr = Attr::parse(&mut Cursor::new(&bytes, endian)).unwrap();
        assert_eq!((attr.freq(), attr.period_or_freq), (false, 7));
    }
}
