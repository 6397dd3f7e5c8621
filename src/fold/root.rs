//! Makes the root frames of a stack: its thread, and whatever else profiles are split by.
//!
//! ```text
//! --split event,cpu,tid    cycles;cpu 3;java-123/456;main;…
//! ```

use std::borrow::Cow;

use bstr::{BStr, BString, ByteSlice};
use hashbrown::HashMap;

use super::Config;
use super::event::base_event;
use crate::intern::Interner;
use crate::sample::{Frame, FrameId, FrameTable, Sample};

/// Root frames, each made once.
#[derive(Default)]
pub(super) struct Roots {
    comms: Interner,
    threads: HashMap<Thread, FrameId>,
    /// The last thread, which most samples have too.
    last: Option<(Thread, FrameId)>,
    cpus: HashMap<Option<u32>, FrameId>,
    events: HashMap<BString, FrameId>,
}

/// A comm, and the process and thread if they are part of the frame's name.
type Thread = (u32, Option<u32>, Option<u32>);

impl Roots {
    /// How many root frames a stack has.
    pub(super) fn depth(config: &Config) -> usize {
        1 + usize::from(config.cpu) + usize::from(config.by_event)
    }

    /// Appends the root frames of `sample` to its `stack`, leaf first: the thread's, the CPU's, the
    /// event's.
    pub(super) fn push(
        &mut self,
        stack: &mut Vec<FrameId>,
        sample: &Sample<'_>,
        config: &Config,
        frames: &mut FrameTable,
    ) {
        stack.push(self.thread(sample, config, frames));
        if config.cpu {
            let name = || format!("cpu {}", number(sample.cpu.map(u64::from)));
            let cpu = self.cpus.entry(sample.cpu);
            stack.push(*cpu.or_insert_with(|| frames.intern(Frame::named(name().as_bytes()))));
        }
        if config.by_event {
            stack.push(self.event(sample.event, frames));
        }
    }

    /// Whether there are threads of Java programs.
    pub(super) fn has_java(&self) -> bool {
        (0..self.comms.len()).any(|id| is_java(self.comms.get(id as u32)))
    }

    fn thread(&mut self, sample: &Sample<'_>, config: &Config, frames: &mut FrameTable) -> FrameId {
        let with_pid = config.pid || config.tid;
        let pid = sample.pid.filter(|_| with_pid);
        let tid = sample.tid.filter(|_| config.tid);
        if let Some((thread, root)) = self.last
            && (thread.1, thread.2) == (pid, tid)
            && self.comms.get(thread.0) == sample.comm
        {
            return root;
        }
        let thread = (self.comms.intern(sample.comm), pid, tid);
        let make = || {
            let ids = [pid, tid].map(|id| id.map(u64::from));
            frames.intern(Frame::named(&thread_name(sample.comm, ids[0], ids[1], config)))
        };
        let root = *self.threads.entry(thread).or_insert_with(make);
        self.last = Some((thread, root));
        root
    }

    fn event(&mut self, event: &BStr, frames: &mut FrameTable) -> FrameId {
        if let Some(&known) = self.events.get(event) {
            return known;
        }
        let name = match base_event(event) {
            b"" => b"[unknown]".to_vec(),
            event => event.iter().map(|&byte| root_byte(byte)).collect(),
        };
        let root = frames.intern(Frame::named(&name));
        self.events.insert(event.into(), root);
        root
    }
}

/// Whether a thread with this name, as a comm or a frame, belongs to a Java program.
/// stackcollapse-perf.pl decides it in the same way.
pub(crate) fn is_java(thread: &[u8]) -> bool {
    thread.starts_with(b"java")
}

/// `java`, `java-123`, `java-123/456`.
pub(crate) fn thread_name(
    comm: &BStr,
    pid: Option<u64>,
    tid: Option<u64>,
    config: &Config,
) -> Vec<u8> {
    let comm = if config.merge_threads { without_numbers(comm) } else { comm.as_bytes().into() };
    let mut name: Vec<u8> = comm.iter().map(|&byte| root_byte(byte)).collect();
    // `perf script -F -comm`
    if name.is_empty() {
        name.extend_from_slice(b"[unknown]");
    }
    if config.pid || config.tid {
        name.extend_from_slice(format!("-{}", number(pid)).as_bytes());
    }
    if config.tid {
        name.extend_from_slice(format!("/{}", number(tid)).as_bytes());
    }
    // Without frames, its line would be a comment: `# 12`.
    if name == b"#" {
        name = b"?".to_vec();
    }
    name
}

fn number(id: Option<u64>) -> String {
    id.map_or("?".to_owned(), |id| id.to_string())
}

/// A comm is one frame: a `;` in it must not make two.
fn root_byte(byte: u8) -> u8 {
    match byte {
        b' ' => b'_',
        b';' => b':',
        other => other,
    }
}

/// Replaces each number in a comm by `*`. Digits stay at the start, and behind a letter, a digit or
/// a dot, because there they are part of a word or a version.
fn without_numbers(comm: &[u8]) -> Cow<'_, [u8]> {
    let starts = |at: usize| {
        let before = comm[at - 1];
        let is_word = before.is_ascii_alphanumeric() || before == b'.' || !before.is_ascii();
        comm[at].is_ascii_digit() && !is_word
    };
    let mut name = Vec::with_capacity(comm.len());
    let mut at = 0;
    while at < comm.len() {
        if at > 0 && starts(at) {
            name.push(b'*');
            at += comm[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        } else {
            name.push(comm[at]);
            at += 1;
        }
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_threads_become_stars() {
        for (comm, merged) in [
            ("worker-17", "worker-*"),
            ("tokio-runtime-w", "tokio-runtime-w"),
            ("rayon-3", "rayon-*"),
            ("kworker/0:1-events", "kworker/*:*-events"),
            ("kworker/u8:2", "kworker/u8:*"),
            ("kworker/1:1H-kblockd", "kworker/*:*H-kblockd"),
            ("pool-1-thread-20", "pool-*-thread-*"),
            ("GC Thread#3", "GC Thread#*"),
            ("Thread (9)", "Thread (*)"),
            ("python3.11", "python3.11"),
            ("x264", "x264"),
            ("7z", "7z"),
            ("12", "12"),
            ("é1", "é1"),
            ("", ""),
        ] {
            assert_eq!(without_numbers(comm.as_bytes()).as_bstr(), merged, "{comm}");
        }
    }

    #[test]
    fn roots_are_in_order() {
        let mut frames = FrameTable::default();
        let mut roots = Roots::default();
        let sample = Sample {
            comm: "a b-1".into(),
            pid: Some(7),
            cpu: Some(3),
            event: "cycles:u".into(),
            ..Sample::default()
        };
        let config = Config { tid: true, cpu: true, by_event: true, ..Config::default() };
        let merged = Config { merge_threads: true, pid: true, ..Config::default() };
        for (config, expected) in
            [(config, &["a_b-1-7/?", "cpu 3", "cycles"][..]), (merged, &["a_b-*-7"])]
        {
            let mut stack = Vec::new();
            roots.push(&mut stack, &sample, &config, &mut frames);
            let names: Vec<_> = stack.iter().map(|&id| frames.symbol(id).to_string()).collect();
            assert_eq!(names, expected);
            assert_eq!(names.len(), Roots::depth(&config));
            roots = Roots::default();
        }
    }
}
