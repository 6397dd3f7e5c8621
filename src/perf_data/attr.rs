//! Reads `struct perf_event_attr`, which says what an event records.
//!
//! The struct has grown over the years and says its own size. Fields that do not fit into it are
//! zero. Source: perf_event_open(2) and `include/uapi/linux/perf_event.h`.

use super::bytes::{Cursor, Endian};

/// Bits of [`Attr::sample_type`]: which fields a sample carries.
pub(crate) mod sample_type {
    #![allow(missing_docs, reason = "the names are the kernel's: PERF_SAMPLE_IP and so on")]
    pub(crate) const IP: u64 = 1 << 0;
    pub(crate) const TID: u64 = 1 << 1;
    pub(crate) const TIME: u64 = 1 << 2;
    pub(crate) const ADDR: u64 = 1 << 3;
    pub(crate) const READ: u64 = 1 << 4;
    pub(crate) const CALLCHAIN: u64 = 1 << 5;
    pub(crate) const ID: u64 = 1 << 6;
    pub(crate) const CPU: u64 = 1 << 7;
    pub(crate) const PERIOD: u64 = 1 << 8;
    pub(crate) const STREAM_ID: u64 = 1 << 9;
    pub(crate) const RAW: u64 = 1 << 10;
    pub(crate) const BRANCH_STACK: u64 = 1 << 11;
    pub(crate) const REGS_USER: u64 = 1 << 12;
    pub(crate) const STACK_USER: u64 = 1 << 13;
    pub(crate) const IDENTIFIER: u64 = 1 << 16;
}

/// Bits of [`Attr::read_format`]: how counter values are laid out.
pub(crate) mod read_format {
    #![allow(
        missing_docs,
        reason = "the names are the kernel's: PERF_FORMAT_TOTAL_TIME_ENABLED and so on"
    )]
    pub(crate) const TOTAL_TIME_ENABLED: u64 = 1 << 0;
    pub(crate) const TOTAL_TIME_RUNNING: u64 = 1 << 1;
    pub(crate) const ID: u64 = 1 << 2;
    pub(crate) const GROUP: u64 = 1 << 3;
    pub(crate) const LOST: u64 = 1 << 4;
}

/// Bits of [`Attr::flags`], the struct's bit field, counted from `disabled` = 0.
mod flag {
    pub(super) const INHERIT: u32 = 1;
    pub(super) const EXCLUDE_USER: u32 = 4;
    pub(super) const EXCLUDE_KERNEL: u32 = 5;
    pub(super) const EXCLUDE_HV: u32 = 6;
    pub(super) const FREQ: u32 = 10;
    pub(super) const PRECISE_IP: u32 = 15;
    pub(super) const SAMPLE_ID_ALL: u32 = 18;
    pub(super) const USE_CLOCKID: u32 = 25;
}

/// Bits of [`Attr::branch_sample_type`] that change the layout of a branch stack.
pub(super) mod branch {
    pub(crate) const HW_INDEX: u64 = 1 << 17;
    pub(crate) const COUNTERS: u64 = 1 << 19;
}

/// The size of the first `perf_event_attr`. A size of 0 means the same.
const VER0: u32 = 64;

/// What an event was asked to record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attr {
    /// `PERF_TYPE_*`: hardware 0, software 1, tracepoint 2, hardware cache 3, raw 4, breakpoint 5,
    /// or a dynamic PMU.
    pub kind: u32,
    /// The number of the event within its type.
    pub config: u64,
    /// Events per sample, or samples per second if [`freq`](Attr::freq).
    pub period_or_freq: u64,
    /// The fields of a sample: bits of [`sample_type`].
    pub sample_type: u64,
    /// The layout of counter values: bits of [`read_format`].
    pub read_format: u64,
    /// The bit field, `disabled` first. The methods read its bits.
    pub flags: u64,
    /// The kinds of branches in a branch stack: `PERF_SAMPLE_BRANCH_*`.
    pub branch_sample_type: u64,
    /// The user registers in a sample: bits of the architecture's `enum perf_event_*_regs`.
    pub regs_user: u64,
    /// How many bytes of the user stack each sample may carry.
    pub stack_user: u32,
    /// The clock of the times if [`use_clockid`](Attr::use_clockid) is set, otherwise the kernel's
    /// `sched_clock`.
    pub clockid: i32,
    /// The registers at the interrupt: bits as in [`regs_user`](Attr::regs_user).
    pub regs_intr: u64,
    /// The most addresses of a call chain; 0 stands for `kernel.perf_event_max_stack`, usually 127.
    pub max_stack: u16,
}

impl Attr {
    /// Reads one attr and consumes the size that it states.
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Option<Attr> {
        let endian = cursor.endian();
        let size = Cursor::new(cursor.rest().get(4..)?, endian).u32()?;
        let mut c = Cursor::new(cursor.take(size.max(VER0).into())?, endian);
        let kind = c.u32()?;
        c.skip(4)?;
        let mut attr = Attr {
            kind,
            config: c.u64()?,
            period_or_freq: c.u64()?,
            sample_type: c.u64()?,
            read_format: c.u64()?,
            flags: flags(c.take(8)?.first_chunk()?, endian),
            ..Attr::default()
        };
        c.skip(4 + 4 + 8)?; // wakeup_events, bp_type, config1
        // The following fields were added later. A field that is missing is zero.
        let _config2 = c.u64();
        attr.branch_sample_type = c.u64().unwrap_or(0);
        attr.regs_user = c.u64().unwrap_or(0);
        attr.stack_user = c.u32().unwrap_or(0);
        attr.clockid = c.u32().unwrap_or(0).cast_signed();
        attr.regs_intr = c.u64().unwrap_or(0);
        let _aux_watermark = c.u32();
        attr.max_stack = c.u16().unwrap_or(0);
        Some(attr)
    }

    /// Whether samples carry the fields of all of these [`sample_type`] bits.
    #[inline]
    pub(crate) fn has(&self, bits: u64) -> bool {
        self.sample_type & bits == bits
    }

    fn flag(&self, bit: u32) -> bool {
        self.flags >> bit & 1 == 1
    }

    /// Whether the event also observes threads that start later.
    pub(crate) fn inherit(&self) -> bool {
        self.flag(flag::INHERIT)
    }

    /// Whether records other than samples end in a [`SampleId`](super::SampleId).
    pub(crate) fn sample_id_all(&self) -> bool {
        self.flag(flag::SAMPLE_ID_ALL)
    }

    /// Whether [`period_or_freq`](Attr::period_or_freq) is a frequency.
    pub(crate) fn freq(&self) -> bool {
        self.flag(flag::FREQ)
    }

    /// Whether user space is left out.
    pub(crate) fn exclude_user(&self) -> bool {
        self.flag(flag::EXCLUDE_USER)
    }

    /// Whether the kernel is left out.
    pub(crate) fn exclude_kernel(&self) -> bool {
        self.flag(flag::EXCLUDE_KERNEL)
    }

    /// Whether the hypervisor is left out.
    pub(crate) fn exclude_hv(&self) -> bool {
        self.flag(flag::EXCLUDE_HV)
    }

    /// Whether times are those of [`clockid`](Attr::clockid).
    pub(crate) fn use_clockid(&self) -> bool {
        self.flag(flag::USE_CLOCKID)
    }

    /// How exact instruction pointers are, from 0 to 3: the number of `p` in the event's name.
    pub(crate) fn precise_ip(&self) -> u32 {
        (self.flags >> flag::PRECISE_IP & 3) as u32
    }
}

/// The bit field in the order of bits of a little-endian machine.
///
/// A big-endian compiler fills a bit field from the top bit of the first byte. So the bits of each
/// byte are reversed, and the only field of two bits is swapped.
fn flags(bytes: &[u8; 8], endian: Endian) -> u64 {
    match endian {
        Endian::Little => u64::from_le_bytes(*bytes),
        Endian::Big => {
            let flags = u64::from_le_bytes(bytes.map(u8::reverse_bits));
            let precise = flags >> flag::PRECISE_IP & 3;
            let swapped = precise >> 1 | (precise & 1) << 1;
            flags & !(3 << flag::PRECISE_IP) | swapped << flag::PRECISE_IP
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_sizes() {
        let mut bytes = vec![0; 200];
        bytes[4] = 64;
        bytes[80..88].copy_from_slice(&7u64.to_le_bytes()); // beyond the attr's 64 bytes
        let mut cursor = Cursor::new(&bytes, Endian::Little);
        assert_eq!(Attr::parse(&mut cursor), Some(Attr::default()));
        assert_eq!(cursor.rest().len(), 136);
        bytes[4] = 136;
        let mut cursor = Cursor::new(&bytes, Endian::Little);
        assert_eq!(Attr::parse(&mut cursor).map(|attr| attr.regs_user), Some(7));
        assert_eq!(cursor.rest().len(), 64);
        bytes[4] = 255;
        assert_eq!(Attr::parse(&mut Cursor::new(&bytes, Endian::Little)), None);
    }

    #[test]
    fn bit_fields_of_big_endian_machines() {
        // freq is bit 10: the third from the top of the second byte. precise_ip = 2: its high bit
        // comes first.
        let bytes = [0, 0b0010_0001, 0b0000_0000, 0, 0, 0, 0, 0];
        let attr = Attr { flags: flags(&bytes, Endian::Big), ..Attr::default() };
        assert!(attr.freq());
        assert_eq!(attr.precise_ip(), 2);
        assert!(!attr.sample_id_all() && !attr.exclude_kernel());
    }
}
