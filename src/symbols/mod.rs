//! Names for addresses: symbol tables, DWARF inlines, the kernel's, JITs', and demangling.
//!
//! ```text
//!  what was recorded                     what names it
//!  /usr/bin/rg, build-id, pid ─▶ Loader ─▶ Module ─ .symtab, .dynsym ─ table ┐
//!  [vdso] ───────────────────────┘          │     ─ .plt ───────────── plt   ├─▶ Functions: the functions at each
//!    debug files, .dwp, shared files ───────┘     ─ .debug_info ───── dwarf  ┘    address, innermost first
//!  [kernel.kallsyms] ──▶ Loader::kernel ─▶ KernelSymbols
//!  perf-PID.map, jit-PID.dump ─▶ Loader ─▶ PerfMap, Jitdump
//! ```
//!
//! Everything is asked in batches. A profile has far fewer distinct addresses than a module has symbols, so a table is
//! never sorted: it is read once, and each symbol looks for the sorted addresses it could name. DWARF is walked
//! only in the units that hold an address, each once, all at the same time.
//!
//! Addresses are those of the file's own address space, as its symbols have them; [`Module::address_of`] makes one of
//! a place in the file. A perf.data file from another system is read like any other: nothing here depends on the
//! system it runs on, only the vdso and running processes are Linux's.
//!
//! Damaged files never fail: what cannot be read has fewer names, and is counted ([`Functions::broken_units`],
//! [`Warnings`]). Start with [`module`](Module), then read `table` and `dwarf`.
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
mod gopclntab;
mod identity;
mod jit;
mod jit_code;
mod jit_process;
mod kallsyms;
mod kernel_line;
#[cfg(target_os = "linux")]
mod kernel_table;
mod loader;
mod map;
mod module;
mod naming;
mod origin;
mod path;
mod plt;
mod running;
mod split;
mod table;
mod units;
mod vdso;
mod vmlinux;
mod warnings;

#[cfg(target_os = "linux")]
pub(crate) use build_ids::BuildIds;
pub(crate) use code::{ends_in_call, loads_stack_pointer};
pub use config::Config;
pub use demangle::demangle;
pub use elf::Segment;
pub use identity::{Identity, Inode};
pub use jit::{Jitdump, PerfMap};
pub(crate) use jit_code::JitCode;
pub use jit_process::JitProcess;
#[cfg(target_os = "linux")]
pub(crate) use kallsyms::running_build_id;
pub use kallsyms::{KernelSymbols, Reference};
pub use kernel_line::KernelSymbol;
#[cfg(target_os = "linux")]
pub(crate) use kernel_table::KernelTable;
pub use loader::Loader;
pub use module::{Function, Functions, Module};
pub use naming::Naming;
pub use origin::Origin;
pub use vmlinux::Vmlinux;
pub use warnings::{Doubt, Warnings};
