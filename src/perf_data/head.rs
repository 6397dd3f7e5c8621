//! Reads the start of every record: its type, its length, and the mode of the CPU.

use super::bytes::{Cursor, Endian};

/// The types of records.
pub mod kind {
    #![allow(
        missing_docs,
        reason = "the names are the kernel's and perf's: PERF_RECORD_MMAP and so on"
    )]
    pub(crate) const MMAP: u32 = 1;
    pub const LOST: u32 = 2;
    pub(crate) const COMM: u32 = 3;
    pub const EXIT: u32 = 4;
    pub const THROTTLE: u32 = 5;
    pub const UNTHROTTLE: u32 = 6;
    pub const FORK: u32 = 7;
    pub const READ: u32 = 8;
    pub(crate) const SAMPLE: u32 = 9;
    pub(crate) const MMAP2: u32 = 10;
    pub const LOST_SAMPLES: u32 = 13;
    pub const SWITCH: u32 = 14;
    pub const SWITCH_CPU_WIDE: u32 = 15;
    pub const NAMESPACES: u32 = 16;
    pub const KSYMBOL: u32 = 17;
    pub const CGROUP: u32 = 19;
    pub const CALLCHAIN_DEFERRED: u32 = 22;
    /// The first of perf's own types, which have no [`SampleId`](super::super::SampleId).
    pub(crate) const PERF_FIRST: u32 = 64;
    pub(crate) const HEADER_ATTR: u32 = 64;
    pub(crate) const HEADER_EVENT_TYPE: u32 = 65;
    pub(crate) const TRACING_DATA: u32 = 66;
    pub(crate) const HEADER_BUILD_ID: u32 = 67;
    pub(crate) const FINISHED_ROUND: u32 = 68;
    pub(crate) const AUXTRACE_INFO: u32 = 70;
    pub(crate) const AUXTRACE: u32 = 71;
    pub(crate) const EVENT_UPDATE: u32 = 78;
    pub(crate) const HEADER_FEATURE: u32 = 80;
    pub(crate) const COMPRESSED: u32 = 81;
    pub(crate) const COMPRESSED2: u32 = 83;
    /// The last known type, SCHEDSTAT_DOMAIN.
    pub(crate) const PERF_LAST: u32 = 86;
}

/// Bits of [`Head::misc`]. Their meaning depends on the type of the record.
pub(super) mod misc {
    pub(crate) const BIT_13: u16 = 1 << 13;
    pub(crate) const BIT_14: u16 = 1 << 14;
    pub(crate) const BIT_15: u16 = 1 << 15;
}

/// The start of every record: `struct perf_event_header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// A constant of [`kind`].
    pub kind: u32,
    /// Flags: the CPU mode in the low three bits, others by type.
    pub misc: u16,
    /// The record's length in bytes, including this head; at least 8.
    pub size: u16,
}

impl Head {
    /// The length of a head in bytes.
    pub(crate) const SIZE: usize = 8;

    /// Reads a head. `None` if there are less than 8 bytes, or if the record claims to be shorter
    /// than its head.
    pub(crate) fn parse(bytes: &[u8], endian: Endian) -> Option<Head> {
        let mut cursor = Cursor::new(bytes, endian);
        let head = Head { kind: cursor.u32()?, misc: cursor.u16()?, size: cursor.u16()? };
        (usize::from(head.size) >= Head::SIZE).then_some(head)
    }

    pub(crate) fn mode(&self) -> CpuMode {
        match self.misc & 7 {
            1 => CpuMode::Kernel,
            2 => CpuMode::User,
            3 => CpuMode::Hypervisor,
            4 => CpuMode::GuestKernel,
            5 => CpuMode::GuestUser,
            _ => CpuMode::Unknown,
        }
    }
}

/// The mode of the CPU when a record was made, which says whose address space its addresses are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the kernel's: PERF_RECORD_MISC_KERNEL and so on")]
pub enum CpuMode {
    Unknown,
    Kernel,
    User,
    Hypervisor,
    GuestKernel,
    GuestUser,
}
