//! The numbers of the features: `HEADER_*` in perf's header.h.

pub(super) const BUILD_ID: u64 = 2;
pub(super) const HOSTNAME: u64 = 3;
pub(super) const OSRELEASE: u64 = 4;
pub(super) const VERSION: u64 = 5;
pub(super) const ARCH: u64 = 6;
pub(super) const NRCPUS: u64 = 7;
pub(super) const CPUDESC: u64 = 8;
pub(super) const CPUID: u64 = 9;
pub(super) const TOTAL_MEM: u64 = 10;
pub(super) const CMDLINE: u64 = 11;
pub(super) const EVENT_DESC: u64 = 12;
pub(super) const PMU_MAPPINGS: u64 = 16;
pub(super) const SAMPLE_TIME: u64 = 21;
pub(super) const COMPRESSED: u64 = 27;
pub(super) const CLOCK_DATA: u64 = 29;
