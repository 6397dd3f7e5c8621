//! Stores every distinct frame once, under a small number.

use bstr::{BStr, ByteSlice};
use hashbrown::HashMap;

use super::{Frame, FrameId, Kind, SourceLine};
use crate::intern::Interner;
use crate::prefetch::prefetch;

/// All distinct frames of a run.
///
/// Memory: each string once, 16 bytes for each frame and 8 for each string.
#[derive(Clone, Default)]
pub struct FrameTable {
    strings: Interner,
    keys: Vec<Key>,
    /// The first frames of each symbol.
    symbols: Vec<Frames>,
    /// All other frames.
    others: HashMap<Key, FrameId>,
    /// The details in keys.
    details: Vec<Detail>,
    detail_ids: HashMap<Detail, u32>,
}

/// The first frames of a symbol. Most symbols have only one.
#[derive(Clone, Copy, Default)]
struct Frames {
    /// The frame with only a name, as in folded text.
    named: Option<FrameId>,
    /// The first other frame.
    first: Option<FrameId>,
}

/// A frame as numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    symbol: u32,
    module: u32,
    kind: Kind,
    /// The index of the detail in the table's list, plus 1; 0 is none.
    detail: u32,
}

/// Details that few frames have: an address, and a file and the line in it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Detail {
    address: Option<u64>,
    line: Option<(u32, u32)>,
}

impl FrameTable {
    /// The id of `frame`. Stores it if it is new.
    pub fn intern(&mut self, frame: Frame<'_>) -> FrameId {
        let symbol = self.strings.intern(frame.symbol);
        let detail = self.detail(&frame);
        if frame.module.is_empty() && frame.kind == Kind::User && detail == 0 {
            return self.name(symbol);
        }
        let module = self.strings.intern(frame.module);
        self.find(Key { symbol, module, kind: frame.kind, detail })
    }

    /// Prefetches the slot of a symbol that will be interned.
    #[inline]
    pub(crate) fn prefetch_symbol(&self, symbol: &[u8]) {
        self.strings.prefetch_string(symbol);
    }

    /// The index of the detail of `frame` in the list, plus 1; 0 if it has none.
    fn detail(&mut self, &Frame { address, line, .. }: &Frame<'_>) -> u32 {
        if address.is_none() && line.is_none() {
            return 0;
        }
        let line = line.map(|SourceLine { file, line }| (self.strings.intern(file), line));
        self.detail_id(Detail { address, line })
    }

    fn detail_id(&mut self, detail: Detail) -> u32 {
        let next = self.details.len() as u32 + 1;
        *self.detail_ids.entry(detail).or_insert_with(|| {
            self.details.push(detail);
            next
        })
    }

    fn detail_of(&self, key: &Key) -> Detail {
        self.details.get((key.detail as usize).wrapping_sub(1)).copied().unwrap_or_default()
    }

    /// The frame of a key with more than a name.
    fn find(&mut self, key: Key) -> FrameId {
        let next = FrameId::at(self.keys.len());
        let first = *self.of(key.symbol).first.get_or_insert(next);
        let id = match self.keys.get(first.index()) {
            Some(known) if *known == key => first,
            Some(_) => *self.others.entry(key).or_insert(next),
            None => next,
        };
        if id == next {
            self.keys.push(key);
        }
        id
    }

    /// Makes `id` mean `frame`, also in samples that were pushed already. Only the caller may have
    /// [interned](FrameTable::intern) `id`. It stays another id than that of `frame`.
    pub(crate) fn replace(&mut self, id: FrameId, frame: Frame<'_>) {
        let symbol = self.strings.intern(frame.symbol);
        let module = self.strings.intern(frame.module);
        let detail = self.detail(&frame);
        if let Some(key) = self.keys.get_mut(id.index()) {
            *key = Key { symbol, module, kind: frame.kind, detail };
        }
    }

    fn of(&mut self, symbol: u32) -> &mut Frames {
        let at = symbol as usize;
        if self.symbols.len() <= at {
            self.symbols.resize(at + 1, Frames::default());
        }
        &mut self.symbols[at]
    }

    /// The frame with only the symbol of `id`.
    pub fn named(&mut self, id: FrameId) -> FrameId {
        self.keys.get(id.index()).map(|key| key.symbol).map_or(id, |symbol| self.name(symbol))
    }

    /// The frame with only the name of `named`, and the line of `id` if it has one.
    pub(crate) fn with_line(&mut self, named: FrameId, id: FrameId) -> FrameId {
        let key = |id: FrameId| self.keys.get(id.index());
        let Some(&Key { symbol, module, kind, .. }) = key(named) else { return named };
        let Some(line) = key(id).and_then(|key| self.detail_of(key).line) else { return named };
        let detail = self.detail_id(Detail { address: None, line: Some(line) });
        self.find(Key { symbol, module, kind, detail })
    }

    fn name(&mut self, symbol: u32) -> FrameId {
        let next = FrameId::at(self.keys.len());
        let id = *self.of(symbol).named.get_or_insert(next);
        if id == next {
            let module = self.strings.intern(b"");
            self.keys.push(Key { symbol, module, kind: Kind::User, detail: 0 });
        }
        id
    }

    /// The frame of `id`, which must be of this table.
    pub fn get(&self, id: FrameId) -> Frame<'_> {
        let Some(key) = self.keys.get(id.index()) else { return Frame::default() };
        let detail = self.detail_of(key);
        let text = |id| self.strings.get(id).as_bstr();
        Frame {
            symbol: text(key.symbol),
            module: text(key.module),
            kind: key.kind,
            address: detail.address,
            line: detail.line.map(|(file, line)| SourceLine { file: text(file), line }),
        }
    }

    /// The line of `id`.
    pub(crate) fn line(&self, id: FrameId) -> Option<SourceLine<'_>> {
        let (file, line) = self.detail_of(self.keys.get(id.index())?).line?;
        Some(SourceLine { file: self.strings.get(file).as_bstr(), line })
    }

    /// Whether some frames have lines.
    pub(crate) fn has_lines(&self) -> bool {
        self.details.iter().any(|detail| detail.line.is_some())
    }

    /// The symbol of `id`.
    #[inline]
    pub fn symbol(&self, id: FrameId) -> &BStr {
        self.keys.get(id.index()).map_or(&b""[..], |key| self.strings.get(key.symbol)).as_bstr()
    }

    /// The same number for all frames of one symbol.
    #[inline]
    pub(crate) fn symbol_number(&self, id: FrameId) -> Option<u32> {
        self.keys.get(id.index()).map(|key| key.symbol)
    }

    /// Prefetches one step of the way to the symbol of `id`: with 2 `links` the frame, with 1 the
    /// end of its symbol, with 0 the symbol. Each step needs the result of the one before.
    #[inline]
    pub(crate) fn prefetch(&self, id: FrameId, links: u8) {
        match self.keys.get(id.index()) {
            Some(key) if links == 2 => prefetch(Some(key)),
            Some(key) => self.strings.prefetch(key.symbol, links),
            None => {}
        }
    }

    /// The kind of `id`.
    #[inline]
    pub fn kind(&self, id: FrameId) -> Kind {
        self.keys.get(id.index()).map_or(Kind::User, |key| key.kind)
    }

    /// All ids in order of their frames' first appearance.
    pub fn ids(&self) -> impl Iterator<Item = FrameId> + use<> {
        (0..self.keys.len()).map(FrameId::at)
    }

    /// How many distinct frames there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are no frames.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Interns every frame of `other`. Returns the new ids by the other's indices.
    pub(crate) fn absorb(&mut self, other: &FrameTable) -> Vec<FrameId> {
        let strings = self.strings.absorb(&other.strings);
        let here = |string: u32| strings.get(string as usize).copied().unwrap_or_default();
        let mut ids = Vec::with_capacity(other.len());
        for (at, key) in other.keys.iter().enumerate() {
            // Prefetch the frames of the symbol here, then the frame that this most likely is.
            let ahead = |steps: usize| {
                let key = other.keys.get(at + steps)?;
                self.symbols.get(here(key.symbol) as usize)
            };
            prefetch(ahead(12));
            prefetch(ahead(6).and_then(|frames| self.keys.get(frames.first?.index())));
            let frame = other.get(FrameId::at(at));
            let detail = self.detail(&frame);
            let symbol = here(key.symbol);
            let module = here(key.module);
            let is_name = frame.module.is_empty() && key.kind == Kind::User && detail == 0;
            ids.push(if is_name {
                self.name(symbol)
            } else {
                self.find(Key { symbol, module, kind: key.kind, detail })
            });
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_interned_by_all_they_are() {
        let mut frames = FrameTable::default();
        let main = Frame { symbol: b"main".into(), module: b"/bin/a".into(), ..Frame::default() };
        let id = frames.intern(main);
        assert_eq!(frames.intern(main), id);
        assert_ne!(frames.intern(Frame { kind: Kind::Inlined, ..main }), id);
        assert_ne!(frames.intern(Frame { address: Some(1), ..main }), id);
        assert_eq!(frames.get(id), main);
        assert_eq!(frames.len(), 3);
    }

    #[test]
    fn a_frame_can_come_to_mean_another() {
        let mut frames = FrameTable::default();
        let jit = |symbol: &'static str| Frame {
            symbol: symbol.into(),
            module: b"/m".into(),
            kind: Kind::Jit,
            ..Frame::default()
        };
        let [stand_in, other] = [jit("\0"), jit("x")].map(|frame| frames.intern(frame));
        frames.replace(stand_in, jit("x"));
        assert_eq!([stand_in, other].map(|id| frames.get(id)), [jit("x"); 2]);
        assert_eq!([frames.intern(jit("x")), frames.intern(jit("y"))].map(FrameId::index), [1, 2]);
        assert_eq!(frames.named(stand_in), frames.named(other));
    }

    #[test]
    fn frames_of_one_function_are_apart_by_line() {
        let mut frames = FrameTable::default();
        let at = |line| Frame {
            module: b"/m".into(),
            line: Some(SourceLine { file: b"a.c".into(), line }),
            ..Frame::named(b"f")
        };
        let [one, two] = [1, 2].map(|line| frames.intern(at(line)));
        assert_ne!(one, two);
        assert_eq!((frames.get(two), frames.line(two)), (at(2), at(2).line));
        let plain = frames.named(two);
        assert_eq!(frames.named(one), plain);
        assert_eq!(frames.get(plain), Frame::named(b"f"));
        let lined = frames.with_line(plain, two);
        assert_eq!(frames.get(lined), Frame { module: b"".into(), ..at(2) });
        assert_eq!(frames.with_line(plain, plain), plain);
        let mut other = FrameTable::default();
        let ids = other.absorb(&frames);
        assert_eq!(other.get(ids[two.index()]), at(2));
    }

    #[test]
    fn absorbing_keeps_frames() {
        let mut a = FrameTable::default();
        let mut b = FrameTable::default();
        let plain = Frame::named(b"x");
        let more = Frame { module: b"/m".into(), ..plain };
        let others = [
            Frame::named(b"y"),
            plain,
            more,
            Frame { kind: Kind::Inlined, ..more },
            Frame { address: Some(7), ..more },
            Frame { kind: Kind::Kernel, ..plain },
        ];
        let known = [plain, Frame { address: Some(9), ..more }, others[3]];
        for frame in known {
            a.intern(frame);
        }
        for frame in others {
            b.intern(frame);
        }
        let map = a.absorb(&b);
        assert_eq!(map.iter().map(|&id| a.get(id)).collect::<Vec<_>>(), others);
        assert!(map.iter().zip(others).all(|(&id, frame)| a.intern(frame) == id));
        assert_eq!(a.len(), 7);
    }
}
