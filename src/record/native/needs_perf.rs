//! The requests that only the perf program may be able to record.

/// Why a request is left to perf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NeedsPerf {
    #[error("groups of events need perf")]
    Group,
    #[error("fg-record does not know the event {0}")]
    UnknownEvent(String),
    #[error("the modifier {modifier} of {event} needs perf")]
    Modifier { modifier: char, event: String },
    #[error("only root may look up the tracepoint {0}")]
    HiddenTracepoint(String),
    #[error("there is no event {0}")]
    NoTracepoint(String),
    #[error("cannot look up the tracepoint {0}: tracefs is not mounted")]
    NoTracefs(String),
    #[error("this machine has no PMU {0}")]
    NoPmu(String),
    #[error("the PMU {pmu} has no {term}")]
    NoTerm { pmu: String, term: String },
    #[error("{value} in {term} is not a number")]
    Value { value: String, term: String },
    #[error("the PMU {pmu} has an unknown format for {field}")]
    Format { pmu: String, field: String },
    #[error("fg-record does not know the call graph {0}")]
    CallGraph(String),
    #[error("cannot copy {bytes} bytes of a stack, only 8 to {most}")]
    StackSize { bytes: String, most: u32 },
}

impl NeedsPerf {
    /// What the user can do if there is no perf.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            NeedsPerf::HiddenTracepoint(_) => "record with --root",
            _ => {
                "perf may support it: install perf (package linux-perf or linux-tools), or set \
                 PERF to its path"
            }
        }
    }
}
