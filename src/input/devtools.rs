//! Reads the profiles of JavaScript in a trace of Chrome's DevTools. They come in pieces:
//!
//! ```text
//! {"ph": "P", "name": "Profile", "id": "0x1", "args": {"data": {"startTime": 5}}, "pid": 1, …}
//! {"ph": "P", "name": "ProfileChunk", "id": "0x1", "pid": 1, "args": {"data": {"timeDeltas": [10],
//!  "cpuProfile": {"nodes": [{"id": 2, "parent": 1, "callFrame": {…}}], "samples": [2]}}}}
//! ```
//!
//! The other events of such a trace are the browser's own tasks, in which this JavaScript ran.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::foreign::{Stacks, whole};
use super::json::Text;
use super::v8::{CpuNode, CpuProfile};
use crate::error::Result;
use crate::folded::Moment;
use crate::tally::Loss;

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

/// The data that a piece adds to its profile.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Data<'a> {
    start_time: Option<f64>,
    end_time: Option<f64>,
    #[serde(borrow)]
    cpu_profile: Option<Piece<'a>>,
    time_deltas: Vec<f64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Piece<'a> {
    #[serde(borrow)]
    nodes: Vec<CpuNode<'a>>,
    samples: Vec<u64>,
}

/// The profiles of a trace, by process and id.
#[derive(Default)]
pub(super) struct Profiles<'a>(BTreeMap<(Text<'a>, Text<'a>), Profile<'a>>);

struct Profile<'a> {
    /// The thread that was profiled.
    tid: Text<'a>,
    whole: CpuProfile<'a>,
}

/// Whether an event of this phase and name is a piece of a profile.
pub(super) fn is_piece(phase: &Text<'_>, name: &Text<'_>) -> bool {
    &*phase.0 == "P" && matches!(&*name.0, "Profile" | "ProfileChunk")
}

impl<'a> Profiles<'a> {
    /// Whether the trace has no profiles.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a piece of the profile `id` of the process `pid`, from the thread `tid`.
    pub(super) fn add(
        &mut self,
        [name, pid, tid, id]: [Text<'a>; 4],
        args: Option<&'a RawValue>,
        to: &mut Stacks<'_>,
    ) {
        let parsed = args.map(|args| serde_json::from_str::<Arguments<'a>>(args.get()));
        let Some(Ok(arguments)) = parsed else {
            to.tally.lose(Loss::Odd, 1, 0);
            return;
        };
        let data = arguments.data.unwrap_or_default();
        let profile = self.0.entry((pid, id)).or_insert_with(|| Profile {
            tid: Text::default(),
            whole: CpuProfile {
                nodes: Vec::new(),
                start_time: None,
                end_time: None,
                samples: Some(Vec::new()),
                time_deltas: Some(Vec::new()),
            },
        });
        // A chunk comes from the thread that samples.
        if &*name.0 == "Profile" {
            profile.tid = tid;
        }
        let whole = &mut profile.whole;
        whole.start_time = data.start_time.or(whole.start_time);
        whole.end_time = data.end_time.or(whole.end_time);
        let piece = data.cpu_profile.unwrap_or_default();
        whole.nodes.extend(piece.nodes);
        whole.samples.get_or_insert_default().extend(piece.samples);
        whole.time_deltas.get_or_insert_default().extend(data.time_deltas);
    }

    /// Takes the stacks of all profiles. `first` is the microsecond at which the trace begins, and
    /// `thread_name` knows the name of a thread by its process and id.
    pub(super) fn push(
        self,
        first: f64,
        thread_name: impl Fn(&Text<'a>, &Text<'a>) -> String,
        to: &mut Stacks<'_>,
    ) -> Result<()> {
        for ((pid, _), Profile { tid, whole: profile }) in self.0 {
            if profile.samples.as_ref().is_none_or(Vec::is_empty) {
                continue;
            }
            let comm = thread_name(&pid, &tid);
            let start = whole((profile.start_time.unwrap_or(first) - first) * 1e3);
            let pid = pid.number();
            let tid = tid.number();
            let thread = to.thread(&comm, pid, tid);
            let moment = Moment { comm: &comm, pid, tid, start, end: start, root: None };
            profile.push(moment, thread, to)?;
        }
        Ok(())
    }
}
