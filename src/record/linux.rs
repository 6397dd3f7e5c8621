//! Linux: the kernel itself, or the perf program where it is asked for or knows more.

use super::perf::{self, Perf};
use super::{Config, Destination, Ended, Notice, Recorder, Workload, native};
use crate::error::{Error, Result};

/// Records natively, unless the config or `PERF` asks for perf. What only perf can do it does, and that is told.
pub(super) struct Linux;

impl Recorder for Linux {
    fn record(
        &self,
        workload: &Workload,
        config: &Config,
        to: Destination<'_>,
        tell: &mut dyn FnMut(Notice<'_>),
    ) -> Result<Ended> {
        if perf::is_wanted(config) {
            return Perf::from_env().record(workload, config, to, tell);
        }
        let perf = Perf::from_env();
        match native::Plan::new(workload, config) {
            Ok(plan) => plan.run(workload, config, to, tell),
            Err(problem) if perf.is_there() => {
                tell(Notice::Change(&format!("{problem}: recording with perf")));
                perf.record(workload, config, to, tell)
            }
            Err(what) => Err(Error::Unsupported {
                what,
                remedy:
                    "perf may know it: install it (linux-perf, linux-tools), or name it with PERF"
                        .into(),
            }),
        }
    }

    fn streams(&self, workload: &Workload, config: &Config) -> bool {
        !perf::is_wanted(config) && native::Plan::new(workload, config).is_ok()
    }
}
