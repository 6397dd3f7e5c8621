//! Turns the frame lines of a sample into its stack, in the fastest way that the lines allow.
//!
//! If all lines of a sample are as perf prints them, they are read together, up to the blank line.
//! The [callers](super::callers) that the sample shares with the one before are skipped. In a
//! program that repeats itself, most other lines are [predicted](super::lines).
//!
//! If a program does not repeat itself, the table of lines is larger than the caches. Then the
//! reader prefetches the slots of all lines of a sample before it needs the first, which saves 15 %
//! of the CPU.
//!
//! Other lines are read one by one.

use std::ops::Range;

use bstr::ByteSlice;
use hashbrown::HashMap;
use memchr::{memchr, memchr_iter};

use super::callers::Callers;
use super::config::Config;
use super::digests::Digest;
use super::line::{self, ADDRESS_END};
use super::lines::Lines;
use super::pending::Pending;
use crate::sample::{Frame, FrameId, FrameTable, Kind, Place};

/// The frame lines that are known.
pub(super) struct FrameLines {
    /// [`Config::places`]
    places: bool,
    /// [`Config::addresses`]
    addresses: bool,
    lines: Lines,
    callers: Callers,
    /// Unknown frames with an address, if the sink tells them apart.
    addressed: HashMap<(FrameId, u64), FrameId>,
    /// `[unknown] ([unknown])` in user space and in the kernel. Only the address says which it is.
    unknown: Option<[FrameId; 2]>,
    /// The lines that are looked up together.
    ahead: Vec<Ahead>,
}

/// A line of a sample that is being looked up.
#[derive(Clone, Copy)]
struct Ahead {
    /// Where it starts.
    at: usize,
    /// Where the next one starts.
    next: usize,
    digest: Digest,
    /// Its id, if the line is known.
    id: Option<u32>,
}

impl FrameLines {
    /// Without any known lines.
    pub(super) fn new(config: &Config) -> Self {
        FrameLines {
            places: config.places,
            addresses: config.addresses,
            lines: Lines::new(config.places),
            callers: Callers::default(),
            addressed: HashMap::new(),
            unknown: None,
            ahead: Vec::new(),
        }
    }

    /// Begins another chunk, because positions hold for one chunk.
    pub(super) fn begin_chunk(&mut self) {
        self.callers.forget();
    }

    /// Reads all frame lines of a sample, which start `at`, and returns where they end. `None`,
    /// with the sample unchanged, if they must be read one by one.
    pub(super) fn all(
        &mut self,
        chunk: &[u8],
        at: usize,
        sample: &mut Pending,
        frames: &mut FrameTable,
    ) -> Option<usize> {
        if self.places || !sample.stack.is_empty() {
            return None;
        }
        let end = self.callers.end(chunk, at)?;
        if self.whole(chunk, at..end, sample, frames).is_some() {
            return Some(end);
        }
        sample.stack.clear();
        self.callers.give_up(end);
        None
    }

    /// Reads the frame line that starts `at`, if its address is in perf's column. Returns where the
    /// next line starts.
    #[inline]
    pub(super) fn one(
        &mut self,
        chunk: &[u8],
        at: usize,
        sample: &mut Pending,
        frames: &mut FrameTable,
    ) -> Option<usize> {
        if !has_plain_address(&chunk[at..]) {
            return None;
        }
        let address = &chunk[at + 1..at + ADDRESS_END];
        let start = at + ADDRESS_END + 1;
        let (id, len) = self.lines.find(&chunk[start..], frames);
        let frame = self.lines.frame(id)?;
        self.note_place(id, address, sample);
        self.push(frame, address, sample, frames);
        Some(start + len)
    }

    /// Reads a frame line of any form: its address, and the rest. Returns false if it is not a
    /// frame.
    pub(super) fn loose(
        &mut self,
        (address, tail): (&[u8], &[u8]),
        sample: &mut Pending,
        frames: &mut FrameTable,
    ) -> bool {
        let (id, _) = self.lines.find(tail, frames);
        let Some(frame) = self.lines.frame(id) else { return false };
        self.note_place(id, address, sample);
        self.push(frame, address, sample, frames);
        true
    }

    /// Reads a frame line without a module: its address, and maybe a symbol.
    pub(super) fn bare(
        &mut self,
        (address, tail): (&[u8], &[u8]),
        sample: &mut Pending,
        frames: &mut FrameTable,
    ) {
        let line::Frame { symbol, offset, module } = line::Frame::without_module(tail);
        let mut kind = Kind::of(symbol, module);
        let address = line::address(address);
        if kind == Kind::User && Kind::is_kernel_address(address) {
            kind = Kind::Kernel;
        }
        let mut frame = frames.intern(Frame { symbol, module, kind, ..Frame::default() });
        if self.addresses {
            frame = self.with_address(frame, address, frames);
        }
        if self.places {
            sample.places.push(Place { address, offset });
        }
        sample.stack.push(frame);
    }

    /// Reads all `lines` of a sample. `None`, with the sample half read, if one is not a plain
    /// frame.
    fn whole(
        &mut self,
        chunk: &[u8],
        lines: Range<usize>,
        sample: &mut Pending,
        frames: &mut FrameTable,
    ) -> Option<()> {
        let mut at = lines.start;
        let end = lines.end;
        let leaf = chunk.get(at..at + ADDRESS_END)?;
        let at_once = self.lines.gave_up();
        let mut leaves = 0;
        while at < end && chunk[at..].starts_with(leaf) {
            at = if at_once {
                at + memchr(b'\n', &chunk[at..end])? + 1
            } else {
                self.one(chunk, at, sample, frames)?
            };
            leaves += 1;
        }
        let callers = at..end;
        let from = if at_once { lines.start } else { at };
        let shared = self.callers.shared(chunk, &callers);
        self.many(chunk, from..shared.start, sample, frames)?;
        sample.stack.extend_from_slice(self.callers.shared_frames(shared.lines));
        self.callers.note(callers, &sample.stack[leaves..]);
        Some(())
    }

    /// Reads some `lines` of a sample, in the same way.
    fn many(
        &mut self,
        chunk: &[u8],
        lines: Range<usize>,
        sample: &mut Pending,
        frames: &mut FrameTable,
    ) -> Option<()> {
        let mut at = lines.start;
        if !self.lines.gave_up() {
            while at < lines.end {
                at = self.one(chunk, at, sample, frames)?;
            }
            return Some(());
        }
        self.ahead.clear();
        for newline in memchr_iter(b'\n', &chunk[lines.clone()]) {
            let next = lines.start + newline + 1;
            if !has_plain_address(&chunk[at..next]) {
                return None;
            }
            let digest = self.lines.prefetch(&chunk[at + ADDRESS_END + 1..next]);
            self.ahead.push(Ahead { at, next, digest, id: None });
            at = next;
        }
        for Ahead { at, next, digest, id } in &mut self.ahead {
            *id = self.lines.known(*digest);
            if id.is_none() {
                Lines::prefetch_new(&chunk[*at + ADDRESS_END + 1..*next], frames);
            }
        }
        for ahead in 0..self.ahead.len() {
            let Ahead { at, next, digest, id } = self.ahead[ahead];
            let tail = &chunk[at + ADDRESS_END + 1..next];
            let id = id.unwrap_or_else(|| self.lines.find_by(digest, tail, frames));
            let frame = self.lines.frame(id)?;
            self.push(frame, &chunk[at + 1..at + ADDRESS_END], sample, frames);
        }
        Some(())
    }

    #[inline]
    fn push(
        &mut self,
        mut frame: FrameId,
        address: &[u8],
        sample: &mut Pending,
        frames: &mut FrameTable,
    ) {
        let [unknown, in_kernel] = *self.unknown.get_or_insert_with(|| unknown(frames));
        if frame == unknown && Kind::is_kernel_address(line::address(address.trim_ascii_start())) {
            frame = in_kernel;
        }
        if self.addresses {
            frame = self.with_address(frame, line::address(address.trim_ascii_start()), frames);
        }
        sample.stack.push(frame);
    }

    fn note_place(&mut self, id: u32, address: &[u8], sample: &mut Pending) {
        if self.places {
            let address = line::address(address.trim_ascii_start());
            sample.places.push(Place { address, offset: self.lines.offset(id) });
        }
    }

    /// Gives an unknown frame its address, so that unknown frames differ by their addresses.
    fn with_address(&mut self, frame: FrameId, address: u64, frames: &mut FrameTable) -> FrameId {
        if frames.symbol(frame) != "[unknown]" {
            return frame;
        }
        *self.addressed.entry((frame, address)).or_insert_with(|| {
            let Frame { symbol, module, kind, .. } = frames.get(frame);
            let symbol = symbol.to_owned();
            let module = module.to_owned();
            frames.intern(Frame {
                symbol: symbol.as_bstr(),
                module: module.as_bstr(),
                kind,
                address: Some(address),
                line: None,
            })
        })
    }
}

/// The frame `[unknown]`, in user space and in the kernel.
fn unknown(frames: &mut FrameTable) -> [FrameId; 2] {
    [Kind::User, Kind::Kernel].map(|kind| {
        let unknown = b"[unknown]".as_bstr();
        frames.intern(Frame { symbol: unknown, module: unknown, kind, ..Frame::default() })
    })
}

/// Whether `line` starts as perf prints frames: a tab, blanks, up to 16 bytes without a blank, and
/// a blank.
#[inline]
fn has_plain_address(line: &[u8]) -> bool {
    let Some((&[b'\t', ref column @ ..], rest)) = line.split_first_chunk::<ADDRESS_END>() else {
        return false;
    };
    if rest.first() != Some(&b' ') {
        return false;
    }
    const ONES: u128 = u128::from_le_bytes([1; 16]);
    let bytes = u128::from_le_bytes(*column);
    let blanks = (bytes ^ (ONES * b' ' as u128)).trailing_zeros() & !7;
    if blanks >= 128 {
        return false;
    }
    // The leading blanks become digits. Then no byte may be below `!` or above ASCII.
    let word = bytes | (((1u128 << blanks) - 1) & (ONES * 0x10));
    let high = ONES * 0x80;
    (word.wrapping_sub(ONES * 0x21) & !word & high) | (word & high) == 0
}
