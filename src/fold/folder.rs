//! Sums samples by their stacks and, at the end, gives each distinct stack its names.

use bstr::{BStr, BString};

use super::event::{EventFilter, Turn};
use super::quality::Quality;
use super::source::Stage;
use super::sums::{Sums, Weight};
use super::{Config, name};
use hashbrown::HashMap;

use crate::error::{Error, Result};
use crate::folded::{Folded, FoldedSink, OFF_CPU, ON_CPU};
use crate::intern::Interner;
use crate::sample::{Frame, FrameId, FrameTable, Sample, SampleSink};
use crate::tally::{Loss, Tally};

/// A sink of samples that pushes folded stacks into `S` when it is finished, in no particular order and possibly several
/// of the same name: [`super::Merge`] sorts that out.
///
/// Memory: the distinct stacks.
pub struct Folder<S> {
    config: Config,
    input: String,
    next: S,
    event: EventFilter,
    root: Root,
    skip_after: Vec<Option<bool>>,
    /// Stacks as they were sampled, leaf first, their thread's root frame last; see [`part`].
    stacks: [Sums; 4],
    key: Vec<FrameId>,
    no_stack: Weight,
    without_stack: u64,
}

impl<S: FoldedSink> Folder<S> {
    /// A folder of what errors call `input`, in front of `next`.
    pub fn new(config: Config, input: impl Into<String>, next: S) -> Self {
        Folder {
            event: EventFilter::new(config.event.clone()),
            config,
            input: input.into(),
            next,
            root: Root::default(),
            skip_after: Vec::new(),
            stacks: Default::default(),
            key: Vec::new(),
            no_stack: Weight::default(),
            without_stack: 0,
        }
    }

    /// The next sink.
    pub fn into_next(self) -> S {
        self.next
    }

    /// How samples are folded.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The event that is folded, once it is known.
    pub(super) fn event(&self) -> Option<BString> {
        self.event.wanted.clone()
    }

    /// Folds `event`, if none is known, as though it had been met already.
    pub(super) fn expect(&mut self, event: Option<BString>) {
        self.event.wanted = self.event.wanted.take().or(event);
    }

    /// Adds the sums of `other`, whose frames have the ids in `ids` here.
    pub(super) fn absorb<T>(&mut self, other: &Folder<T>, ids: &[FrameId]) {
        for (into, from) in self.stacks.iter_mut().zip(&other.stacks) {
            for (stack, weight) in from.iter() {
                self.key.clear();
                self.key.extend(stack.iter().map(|frame| ids[frame.index()]));
                into.add(&self.key, weight);
            }
        }
        self.without_stack += other.without_stack;
        self.no_stack.weight += other.no_stack.weight;
        self.event.absorb(&other.event);
    }

    /// How many frames of `stack`, from the leaf, are left when the callers of a `skip_after` symbol are cut off.
    fn cut_at(&mut self, frames: &FrameTable, stack: &[FrameId]) -> Option<usize> {
        if self.config.skip_after.is_empty() {
            return None;
        }
        self.skip_after.resize(frames.len().max(self.skip_after.len()), None);
        let wanted = &self.config.skip_after;
        let matches = |&frame: &FrameId| {
            *self.skip_after[frame.index()].get_or_insert_with(|| {
                let symbol = frames.symbol(frame);
                let symbol = name::readable(symbol);
                wanted.iter().any(|wanted| **wanted == *symbol)
            })
        };
        stack.iter().position(matches).map(|at| at + 1)
    }

    /// A profile without stacks is a mistake made somewhere before, and each mistake has its own name.
    fn diagnose(&self, tally: &Tally) -> Result<()> {
        let input = self.input.clone();
        let lost = |loss| tally.lost(loss).items;
        let (read, other, bare) = (tally.read.items, lost(Loss::OtherEvent), lost(Loss::NoStack));
        if read == 0 {
            let why = match lost(Loss::Odd) {
                0 => String::new(),
                odd => format!(", only {odd} odd lines"),
            };
            Err(Error::NoSamples { input, why })
        } else if read > other + bare {
            Ok(())
        } else if bare > 0 {
            Err(Error::NoCallChains { input, samples: bare })
        } else {
            let why = format!(" of the event that is wanted: all {read} are of others");
            Err(Error::NoSamples { input, why })
        }
    }

    fn name_all(&mut self, frames: &mut FrameTable, quality: &mut Quality) -> Result<()> {
        let mut names = Names::default();
        let mut stack = Vec::new();
        let has_off = self.event.has_off();
        let all = std::mem::take(&mut self.stacks);
        for (is_cut, is_off) in [(false, false), (true, false), (false, true), (true, true)] {
            let stacks = &all[part(is_cut, is_off)];
            if is_off && !has_off {
                continue;
            }
            let place = if is_off { OFF_CPU } else { ON_CPU };
            let place = has_off.then(|| frames.intern(Frame::named(place)));
            for (key, weight) in stacks.iter() {
                let Some((&root, sampled)) = key.split_last() else { continue };
                quality.look(frames, sampled, weight.weight);
                stack.clear();
                stack.extend(place);
                if !is_cut {
                    stack.push(root);
                }
                let java = frames.symbol(root).starts_with(b"java");
                for &frame in sampled.iter().rev() {
                    names.push(frames, frame, java, &self.config, &mut stack);
                }
                let folded = Folded { stack: &stack, weight: weight.weight, ..Folded::default() };
                self.next.folded(frames, &folded)?;
            }
        }
        Ok(())
    }
}

impl<S: FoldedSink> SampleSink for Folder<S> {
    fn sample(&mut self, frames: &mut FrameTable, sample: &Sample<'_>) -> Result<()> {
        let weight = Weight { weight: sample.weight(), after: None };
        let turn = self.event.turn(sample.event, weight.weight);
        if turn == Turn::Other {
            return Ok(());
        }
        if sample.stack.is_empty() {
            self.without_stack += 1;
            self.no_stack.weight += weight.weight;
            return Ok(());
        }
        let root = self.root.of(sample, &self.config, frames);
        let cut = self.cut_at(frames, sample.stack);
        self.key.clear();
        self.key.extend_from_slice(&sample.stack[..cut.unwrap_or(sample.stack.len())]);
        self.key.push(root);
        self.stacks[part(cut.is_some(), turn == Turn::Off)].add(&self.key, weight);
        Ok(())
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        let mut quality = Quality::default();
        self.name_all(frames, &mut quality)?;
        let mut mine = Tally::default();
        mine.lose(Loss::NoStack, self.without_stack, self.no_stack.weight);
        let other = self.event.other();
        mine.lose(Loss::OtherEvent, other.items, other.weight);
        if quality.stacks.weight > 0 {
            mine.stacks = Some(quality.stacks);
        }
        tally.absorb(mine);
        self.diagnose(tally)?;
        self.next.finish(frames, tally)
    }
}

impl<S: FoldedSink> Stage for Folder<S> {
    type Next = S;

    fn next_mut(&mut self) -> &mut S {
        &mut self.next
    }

    fn as_folder(&mut self) -> Option<&mut Folder<S>> {
        Some(self)
    }
}

/// Where sums are: stacks that were cut by `skip_after` go without their thread's frame; those of blocked threads are apart.
fn part(is_cut: bool, is_off: bool) -> usize {
    usize::from(is_cut) + 2 * usize::from(is_off)
}

/// The root frames of threads: their comms. Told once for each, and again only when another thread takes its turn.
#[derive(Default)]
struct Root {
    comms: Interner,
    known: HashMap<Thread, FrameId>,
    last: Option<(Thread, FrameId)>,
}

/// A comm, and the process and thread where they are part of the frame's name.
type Thread = (u32, Option<u32>, Option<u32>);

impl Root {
    fn of(&mut self, sample: &Sample<'_>, config: &Config, frames: &mut FrameTable) -> FrameId {
        let with_pid = config.pid || config.tid;
        let (pid, tid) = (sample.pid.filter(|_| with_pid), sample.tid.filter(|_| config.tid));
        if let Some((thread, root)) = self.last
            && (thread.1, thread.2) == (pid, tid)
            && self.comms.get(thread.0) == sample.comm
        {
            return root;
        }
        let thread = (self.comms.intern(sample.comm), pid, tid);
        let make = || frames.intern(Frame::named(&root_name(sample.comm, pid, tid, config)));
        let root = *self.known.entry(thread).or_insert_with(make);
        self.last = Some((thread, root));
        root
    }
}

/// `java`, `java-123`, `java-123/456`.
pub(super) fn root_name(
    comm: &BStr,
    pid: Option<u32>,
    tid: Option<u32>,
    config: &Config,
) -> Vec<u8> {
    let mut name: Vec<u8> = comm.iter().map(|&byte| root_byte(byte)).collect();
    let number = |id: Option<u32>| id.map_or("?".to_owned(), |id| id.to_string());
    if config.pid || config.tid {
        name.extend_from_slice(format!("-{}", number(pid)).as_bytes());
    }
    if config.tid {
        name.extend_from_slice(format!("/{}", number(tid)).as_bytes());
    }
    name
}

/// A comm is one frame: a `;` in it must not make two.
fn root_byte(byte: u8) -> u8 {
    match byte {
        b' ' => b'_',
        b';' => b':',
        other => other,
    }
}

/// The names of frames, made once per distinct frame.
#[derive(Default)]
pub(super) struct Names {
    /// By frame id, for threads of Java programs and others.
    known: [Vec<Name>; 2],
    /// Those of frames that have several, one behind the other.
    several: Vec<FrameId>,
    /// Room for the names of one frame, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Name {
    Unknown,
    One(FrameId),
    /// So many of `several`: inlined Java methods.
    Several {
        start: u32,
        count: u32,
    },
}

impl Names {
    /// Appends the names of `id` to `stack`, root first.
    #[inline]
    pub(super) fn push(
        &mut self,
        frames: &mut FrameTable,
        id: FrameId,
        java: bool,
        config: &Config,
        stack: &mut Vec<FrameId>,
    ) {
        match self.known[usize::from(java)].get(id.index()).copied().unwrap_or(Name::Unknown) {
            Name::One(name) => stack.push(name),
            Name::Several { start, count } => {
                let start = start as usize;
                stack.extend_from_slice(&self.several[start..start + count as usize]);
            }
            Name::Unknown => {
                let name = self.make(frames, id, java, config);
                let known = &mut self.known[usize::from(java)];
                if known.len() <= id.index() {
                    known.resize(frames.len().max(id.index() + 1), Name::Unknown);
                }
                known[id.index()] = name;
                self.push(frames, id, java, config, stack);
            }
        }
    }

    fn make(&mut self, frames: &mut FrameTable, id: FrameId, java: bool, config: &Config) -> Name {
        self.text.clear();
        self.ends.clear();
        name::names(&frames.get(id), java, config, |name| {
            self.text.extend_from_slice(name);
            self.ends.push(self.text.len());
        });
        if *self.text == **frames.symbol(id) && self.ends.len() == 1 {
            return Name::One(frames.named(id));
        }
        let (start, mut at) = (self.several.len() as u32, 0);
        for &end in &self.ends {
            self.several.push(frames.intern(Frame::named(&self.text[at..end])));
            at = end;
        }
        Name::Several { start, count: self.ends.len() as u32 }
    }
}
