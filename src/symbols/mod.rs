//! Names addresses: by symbol tables, DWARF, the kernel's list and JITs, and demangles the names.
//!
//! ```text
//!  recorded                              named by
//!  /usr/bin/rg, build-id, pid ─▶ Loader ─▶ Module ─ .symtab, .dynsym ─ table ┐
//!  [vdso] ───────────────────────┘          │     ─ .plt ───────────── plt   ├─▶ Functions
//!    debug files, .dwp, shared files ───────┘     ─ .debug_info ───── dwarf  ┘
//!  [kernel.kallsyms] ──▶ Loader::kernel ─▶ KernelSymbols
//!  perf-PID.map, jit-PID.dump ─▶ Loader ─▶ PerfMap, Jitdump
//! ```
//!
//! Addresses are looked up in batches. A profile has far fewer distinct addresses than a module has
//! symbols, so a table is never sorted: it is read once, and each symbol looks for the sorted
//! addresses that it could name. DWARF is walked only in units that hold an address, each once and
//! all in parallel.
//!
//! Addresses are those of the file's own symbols. A perf.data file from another system is read like
//! any other. Only the vdso and running processes need Linux.
//!
//! Damaged files never fail. They yield fewer names, which is counted ([`Functions::broken_units`],
//! [`Loader::warnings`]). Start with [`module`](Module), then read `table` and `dwarf`.
//!
//! ```no_run
//! # use flamepipe::symbols::{Config, Identity, Loader, Naming};
//! let loader = Loader::new(Config::default());
//! if let Some(module) = loader.module(&Identity::of_path(b"/usr/bin/rg"), None) {
//!     let functions = module.functions(&[0x1000, 0x2000], Naming::INLINES);
//!     for function in functions.at(0) {
//!         assert!(function.inlined || function.start <= Some(0x1000));
//!     }
//! }
//! ```

#[cfg(target_os = "linux")]
mod build_ids;
mod chain;
mod code;
mod config;
mod debug_file;
mod debuginfod;
mod demangle;
mod dlang;
mod dwarf;
mod elf;
mod entries;
mod extent;
mod functions;
mod gopclntab;
mod identity;
mod jit_process;
mod jitdump;
mod kallsyms;
mod kernel_table;
mod lines;
mod loader;
mod module;
mod origin;
mod part;
mod path;
mod perf_map;
mod plt;
mod split;
mod table;
mod units;
mod vdso;
mod vmlinux;

#[cfg(target_os = "linux")]
pub(crate) use build_ids::BuildIds;
pub(crate) use code::{ends_in_call, loads_stack_pointer};
pub use config::Config;
pub use demangle::demangle;
pub(crate) use elf::Segment;
pub use functions::Naming;
pub(crate) use functions::{Function, Functions};
pub use identity::Identity;
pub(crate) use identity::Inode;
pub(crate) use jit_process::{Folders, JitProcess, inner_of};
#[cfg(target_os = "linux")]
pub(crate) use jit_process::{map_of, number_in_our_tmp};
pub use jitdump::Jitdump;
#[cfg(target_os = "linux")]
pub(crate) use kallsyms::running_build_id;

#[cfg(target_os = "linux")]
pub(crate) use kernel_table::KernelTable;
pub(crate) use kernel_table::{KernelSymbol, KernelSymbols, Reference};
pub use loader::Loader;
pub(crate) use loader::{Doubt, MOST_MISSING, Warnings};
pub use module::Module;
pub(crate) use origin::Origin;
pub(crate) use path::is_anonymous;
pub use perf_map::PerfMap;
