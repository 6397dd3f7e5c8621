//! Registers and the bytes of a stack → the addresses of the functions on it. The recorder unwinds
//! with it while a program runs, the scripter when it reads a recording of copied stacks.
//!
//! ```text
//!  Spaces         who mapped what: the address space of each process        address_space, modules, processes
//!    └ Unwinder   one stack, from the innermost function to the root        unwinder
//!        ├ Cfi    what a module's tables say of an address                  cfi    ─┐
//!        ├ exits  what the code itself does until it returns                exits  ─┼▶ Row: how to find the caller
//!        └ Made   code that was made at run time, by a JIT                  made   ─┘
//!  Live           the same while the program runs, with its memory          live, memory, stack_extent
//! ```
//!
//! # What the caller provides
//!
//! - Every MMAP, COMM, FORK and EXIT record of the processes, in order of time ([`Spaces::map`] and its like): a map that comes late makes
//!   nonsense of all samples that were taken in it.
//! - Registers and a copy of the stack from the same moment. The copy begins at the stack pointer.
//! - A [`Loader`](crate::symbols::Loader) that finds the files of modules.
//!
//! # What it guarantees
//!
//! - Addresses come leaf first: where the thread was, then the addresses of calls, which are return addresses less one
//!   ([`At`] knows which is which).
//! - An answer of [`End::Root`] was followed to where the thread began. Whatever cannot be followed ends in
//!   [`End::Lost`], which the caller marks with `[truncated]`. No caller is invented: a return address of a file
//!   must stand behind a call, or be a known entry.
//! - It never panics and never fails on damaged tables or stacks. They only make stacks shorter.
//!
//! x86-64, 32-bit x86 and AArch64 are known. Everything but [`Live`] is compiled on all systems.

mod address;
mod address_space;
mod cfi;
mod exits;
#[cfg(target_os = "linux")]
mod live;
mod made;
mod memory;
mod modules;
mod processes;
mod registers;
mod row;
mod signal;
#[cfg(target_os = "linux")]
mod stack_extent;
mod unwinder;
mod value;

pub(crate) use address::At;
#[cfg(target_os = "linux")]
pub(crate) use address_space::identity;
pub(crate) use address_space::{Found, Spaces};
#[cfg(target_os = "linux")]
pub(crate) use live::Live;
pub(crate) use modules::ModuleId;
pub(crate) use processes::Processes;
pub(crate) use registers::{Machine, Registers};
#[cfg(target_os = "linux")]
pub(crate) use stack_extent::Reach;
pub(crate) use unwinder::End;
