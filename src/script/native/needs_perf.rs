//! Recordings that we cannot make samples of, so that perf should: found out before the first sample is pushed.

use crate::error::{Error, Result};
use crate::perf_data::{Reader, sample_type};

use crate::unwind::Machine;

/// Fails where user stacks are to be unwound for an architecture whose registers and tables are not known here.
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

/// Fails if a recording without samples has a trace of which they could be made.
pub(super) fn check_trace(reader: &Reader) -> Result<()> {
    match reader.features().traced {
        true => Err(Error::needs_perf(reader.name(), "has an instruction trace and no samples")),
        false => Ok(()),
    }
}
