//! Turns registers and the bytes of a stack into the addresses of the functions on it. The recorder
//! unwinds while a program runs; the scripter unwinds the copied stacks of a recording.
//!
//! ```text
//!  Spaces         the address space of each process          spaces, space, modules, gone, …
//!    └ Unwinder   one stack, from the leaf to the root       unwinder
//!        ├ Cfi    a module's tables for an address           cfi        ─┐
//!        ├ exits  how code returns, from its instructions    exits      ─┼▶ Row: finds the caller
//!        └ Generated   code that a JIT generated             generated  ─┘
//!  Live           the same while the program runs            live, memory, stack_extent
//! ```
//!
//! # What the caller provides
//!
//! - Every MMAP, COMM, FORK and EXIT record of the processes in order of time, for [`Spaces::map`]
//!   and its siblings. If a map comes late, all samples in it are wrong.
//! - Registers and a copy of the stack from the same moment. The copy begins at the stack pointer.
//! - A [`Loader`](crate::symbols::Loader) that finds the files of modules.
//!
//! # What it guarantees
//!
//! - Addresses come leaf first: the instruction of the thread, then return addresses. [`At`] tells
//!   them apart.
//! - [`End::Root`] means that the stack was followed to where the thread began. Otherwise it ends
//!   in [`End::Lost`], which the caller marks with `[truncated]`. No caller is invented: a return
//!   address in a file must be behind a call, or be a known entry.
//! - It never panics or fails on damaged tables or stacks. They only make stacks shorter.
//!
//! It knows x86-64, 32-bit x86 and AArch64. Everything but [`Live`] is compiled on all systems.

mod cfi;
mod exits;
mod generated;
mod gone;
#[cfg(target_os = "linux")]
mod live;
mod memory;
mod modules;
mod processes;
mod registers;
mod row;
mod space;
mod spaces;
#[cfg(target_os = "linux")]
mod stack_extent;
mod unwinder;
mod value;

#[cfg(target_os = "linux")]
pub(crate) use live::Live;
pub(crate) use modules::ModuleId;
pub(crate) use processes::Processes;
pub(crate) use registers::{Machine, Registers};
pub(crate) use space::Found;
pub(crate) use spaces::Spaces;
#[cfg(target_os = "linux")]
pub(crate) use spaces::identity;
#[cfg(target_os = "linux")]
pub(crate) use stack_extent::StackExtent;
pub(crate) use unwinder::{At, End};
