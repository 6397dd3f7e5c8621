//! The names of all frames of a table, each made once by the rules of `name.rs`.

use std::ops::Range;

use hashbrown::HashMap;
use rayon::prelude::*;

use super::{Config, name};
use crate::sample::{Frame, FrameId, FrameTable};

/// The names of all frames of a table.
#[derive(Default)]
pub(super) struct FrameNames {
    /// The name by frame id, if there is one: for threads of other programs, and of Java programs.
    known: [Vec<Option<FrameId>>; 2],
    /// The range in `all` of a frame that has several names, because it holds inlined Java methods.
    several: [HashMap<FrameId, Range<usize>>; 2],
    all: Vec<FrameId>,
    /// Buffers for the names of one frame, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl FrameNames {
    /// The names of all `frames`, and if `has_java`, also those in threads of Java programs. If
    /// `parallel`, all of rayon's threads help.
    pub(super) fn of(
        frames: &mut FrameTable,
        has_java: bool,
        config: &Config,
        parallel: bool,
    ) -> FrameNames {
        let mut names = FrameNames::default();
        let many = frames.len();
        for java in [false, true].into_iter().filter(|java| !java || has_java) {
            names.known[usize::from(java)] = vec![None; many];
            let has_symbol = |id| name::is_symbol(&frames.get(FrameId::at(id)), java, config);
            let named_by_symbol: Vec<bool> = if parallel {
                (0..many).into_par_iter().map(has_symbol).collect()
            } else {
                Vec::new()
            };
            for at in 0..many {
                let id = FrameId::at(at);
                match named_by_symbol.get(at) {
                    Some(true) if !config.lines => {
                        names.known[usize::from(java)][at] = Some(frames.named(id))
                    }
                    _ => names.make(frames, id, java, config),
                }
            }
        }
        names
    }

    /// Whether names in threads of Java programs are known.
    pub(super) fn has_java(&self) -> bool {
        !self.known[1].is_empty()
    }

    /// Appends the names of `id` to `stack`, root first.
    #[inline]
    pub(super) fn push(&self, id: FrameId, java: bool, stack: &mut Vec<FrameId>) {
        match self.known[usize::from(java)].get(id.index()) {
            Some(&Some(name)) => stack.push(name),
            _ => self.push_several(id, java, stack),
        }
    }

    #[cold]
    fn push_several(&self, id: FrameId, java: bool, stack: &mut Vec<FrameId>) {
        if let Some(names) = self.several[usize::from(java)].get(&id) {
            stack.extend_from_slice(&self.all[names.clone()]);
        }
    }

    fn make(&mut self, frames: &mut FrameTable, id: FrameId, java: bool, config: &Config) {
        self.text.clear();
        self.ends.clear();
        name::names(&frames.get(id), java, config, |name| {
            self.text.extend_from_slice(name);
            self.ends.push(self.text.len());
        });
        if let [_] = self.ends[..] {
            let is_symbol = *self.text == **frames.symbol(id);
            let name =
                if is_symbol { frames.named(id) } else { frames.intern(Frame::named(&self.text)) };
            let name = if config.lines { frames.with_line(name, id) } else { name };
            self.known[usize::from(java)][id.index()] = Some(name);
            return;
        }
        let start = self.all.len();
        let mut at = 0;
        for &end in &self.ends {
            self.all.push(frames.intern(Frame::named(&self.text[at..end])));
            at = end;
        }
        self.several[usize::from(java)].insert(id, start..self.all.len());
    }
}
