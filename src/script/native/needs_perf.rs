//! Refuses recordings that only perf can read, before the first sample is pushed.

use crate::error::{Error, Result};
use crate::perf_data::{Reader, sample_type};
use crate::unwind::Machine;

/// Fails if user stacks must be unwound for an unknown architecture.
pub(super) fn check_stacks(reader: &Reader) -> Result<()> {
    let arch = reader.features().arch.as_ref().map(|arch| arch.to_string());
    let stacks = sample_type::REGS_USER | sample_type::STACK_USER;
    let unwinds = reader.events().iter().any(|event| event.attr.has(stacks));
    if !unwinds || Machine::of(arch.as_deref()).is_some() {
        return Ok(());
    }
    let arch = arch.unwrap_or_else(|| std::env::consts::ARCH.into());
    Err(Error::needs_perf(
        reader.name(),
        &format!("has user stacks of {arch}, which cannot be unwound"),
    ))
}

/// Fails if a recording has no samples, but an instruction trace of which perf can make some.
pub(super) fn check_trace(reader: &Reader) -> Result<()> {
    if reader.features().traced {
        let why = "has an instruction trace and no samples";
        return Err(Error::needs_perf(reader.name(), why));
    }
    Ok(())
}
