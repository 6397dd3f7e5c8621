//! The bodies of the fuzz targets. Each takes any bytes and must neither panic nor hang.
//!
//! `tests/it/fuzz.rs` runs them too, over seeds and a few mutations, on stable Rust.

use std::cell::LazyCell;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use flamepipe::filter::Predicate;
use flamepipe::fold::{self, Folder, Merge};
use flamepipe::folded::{self, FoldedSink, Writer};
use flamepipe::input::{Config, Format, Input, Source};
use flamepipe::perf_data::{Reader, Seekable, Shares};
use flamepipe::render::color::PaletteMap;
use flamepipe::render::{self, Renderer};
use flamepipe::sample::{FrameTable, SampleSink};
use flamepipe::script;
use flamepipe::symbols::{Jitdump, Module, Naming, PerfMap};
use flamepipe::tally::Tally;
use flate2::Compression;
use flate2::write::DeflateEncoder;

/// A reader of any bytes.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 13] = [
    ("any_input", any_input),
    ("embedded_stacks", embedded_stacks),
    ("filter_language", filter_language),
    ("folded_text", folded_text),
    ("foreign", foreign),
    ("jitdump", jitdump),
    ("kallsyms", kallsyms),
    ("modules", modules),
    ("palette", palette),
    ("perf_data", perf_data),
    ("perf_map", perf_map),
    ("script_text", script_text),
    ("unwinding", unwinding),
];

/// Folds what `input` holds, as fg-fold does.
fn fold(input: Input, config: &Config) {
    let mut frames = FrameTable::default();
    let mut tally = Tally::default();
    let merge = Merge::new(Writer::new(Vec::new(), "memory"));
    let mut folder = Folder::new(fold::Config::default(), "fuzz", merge);
    let fed = Source::new(config).feed([input], &mut folder, &mut frames, &mut tally);
    if fed.is_ok() {
        let _ = folder.finish(&mut frames, &mut tally);
    }
}

/// Whatever fg-fold may be given, of any format.
pub fn any_input(bytes: &[u8]) {
    // The reader would hand such inputs to the perf program.
    if !bytes.starts_with(b"PERFFILE") {
        fold(Input::new("fuzz", Cursor::new(bytes.to_vec())), &Config::default());
    }
}

/// The stacks inside a picture, behind the base64 and deflate that they are wrapped in.
pub fn embedded_stacks(code: &[u8]) {
    let mut deflater = DeflateEncoder::new(Vec::new(), Compression::fast());
    let Ok(()) = deflater.write_all(code) else { return };
    let Ok(packed) = deflater.finish() else { return };
    let data = BASE64_STANDARD.encode(packed);
    let svg = format!("<svg><metadata id=\"flamepipe-graph-3\">{data}</metadata></svg>");
    fold(Input::new("fuzz", Cursor::new(svg.into_bytes())), &Config::default());
}

/// The filter's language. What it reads it shows so that it is read as the same.
pub fn filter_language(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(parsed) = text.parse::<Predicate>() else { return };
    let again = parsed.to_string().parse::<Predicate>();
    assert_eq!(again.map(|again| again.to_string()).ok(), Some(parsed.to_string()));
}

/// Folded text. Merging what was merged changes nothing.
pub fn folded_text(text: &[u8]) {
    fn pass<S: FoldedSink>(text: &[u8], mut sink: S) -> Option<S> {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        folded::read(text, "fuzz", &mut frames, &mut sink, &mut tally).ok()?;
        sink.finish(&mut frames, &mut tally).ok()?;
        Some(sink)
    }
    let merged = |text: &[u8]| {
        let merge = pass(text, Merge::new(Writer::new(Vec::new(), "memory")))?;
        Some(merge.into_next().into_inner())
    };
    if let Some(once) = merged(text) {
        assert_eq!(merged(&once), Some(once));
    }
    pass(text, Renderer::new(render::Config::default(), "fuzz", Vec::new(), "memory"));
}

/// Reads the output of another profiler: the name of its format, a line feed, and the output. The
/// stacks are written as folded text, which must be read as the same stacks.
pub fn foreign(bytes: &[u8]) {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let name = &bytes[..end];
    let profile = bytes.get(end + 1..).unwrap_or_default();
    let format = Format::all().find(|format| format.name().as_bytes() == name);
    let Some(format @ Format::Foreign(_)) = format else { return };
    let merged = |text: &[u8], format: Option<Format>| {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let merge = Merge::new(Writer::new(Vec::new(), "memory"));
        let mut folder = Folder::new(fold::Config::default(), "fuzz", merge);
        let input = Input::new("fuzz", Cursor::new(text.to_vec()));
        let config = Config { format, ..Config::default() };
        Source::new(&config).feed([input], &mut folder, &mut frames, &mut tally).ok()?;
        folder.finish(&mut frames, &mut tally).ok()?;
        Some(folder.into_next().into_next().into_inner())
    };
    if let Some(folded) = merged(profile, Some(format)) {
        assert_eq!(merged(&folded, Some(Format::Folded)), Some(folded));
    }
}

/// The dump of a JIT.
pub fn jitdump(bytes: &[u8]) {
    if let Some(dump) = Jitdump::from_bytes(bytes.to_vec()) {
        dump.find(0x1000, Some(1));
        dump.changes(0x1000);
    }
}

/// A list of the kernel's functions, for a recording that was in the kernel.
pub fn kallsyms(text: &[u8]) {
    SCRATCH.with(|scratch| {
        let list = scratch.file("kallsyms", text);
        let mut config = Config::default();
        config.script.symbols.kallsyms = Some(list);
        config.script.symbols.symfs = Some(scratch.folder.path().into());
        fold(golden("off-cpu.data"), &config);
    });
}

/// Modules: tables of symbols, DWARF, Go's table.
pub fn modules(bytes: &[u8]) {
    let Ok(module) = Module::from_bytes(Path::new("fuzz"), bytes.to_vec()) else { return };
    let code = module.segments().iter().filter(|segment| segment.executable);
    let near = |address: u64| [0, 16, 256].map(|at| address.saturating_add(at));
    let mut addresses: Vec<u64> = code.flat_map(|code| near(code.address)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    module.functions(&addresses, Naming { starts: true, ..Naming::INLINES });
}

/// The colours of functions that `--cp` keeps.
pub fn palette(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let _ = PaletteMap::from_reader(&mut text.as_bytes());
}

/// Every record type, of files and streams, of both byte orders, and files made of streams.
pub fn perf_data(bytes: &[u8]) {
    let read = |bytes: Vec<u8>| {
        let Ok(mut reader) = Reader::bytes(bytes, "fuzz") else { return };
        let mut shares = Shares::default();
        while let Ok(Some(item)) = reader.next_item() {
            shares.of(&item, |_, _| {});
        }
    };
    read(bytes.to_vec());
    let mut file = Seekable::new(Cursor::new(Vec::new()));
    let _ = file.write_all(bytes);
    if let Ok(file) = file.finish() {
        read(file.into_inner());
    }
}

/// The map of a JIT.
pub fn perf_map(text: &[u8]) {
    PerfMap::read(text).find(0x1000);
}

/// perf-script text. It folds to the same bytes in whatever pieces it arrives, and what fg-script
/// copies of it folds alike.
pub fn script_text(text: &[u8]) {
    /// Gives one to seven bytes at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.1 = self.1 % 7 + 1;
            let len = self.1.min(into.len());
            self.0.read(&mut into[..len])
        }
    }

    fn fold(text: impl Read) -> Option<Vec<u8>> {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let merge = Merge::new(Writer::new(Vec::new(), "memory"));
        let mut folder = Folder::new(fold::Config::default(), "fuzz", merge);
        script::Reader::new(&script::Config::default())
            .read(text, "fuzz", &mut frames, &mut folder, &mut tally)
            .ok()?;
        folder.finish(&mut frames, &mut tally).ok()?;
        Some(folder.into_next().into_next().into_inner())
    }

    fn copy(text: &[u8]) -> Option<Vec<u8>> {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let mut writer = script::Writer::new(Vec::new(), "memory");
        let config = script::Config { places: true, text: true, ..script::Config::default() };
        script::Reader::new(&config)
            .read(text, "fuzz", &mut frames, &mut writer, &mut tally)
            .ok()?;
        writer.finish(&mut frames, &mut tally).ok()?;
        Some(writer.into_inner())
    }

    let whole = fold(text);
    assert_eq!(whole, fold(Pieces(text, 0)));
    if let (Some(whole), Some(copy)) = (whole, copy(text)) {
        assert_eq!(Some(whole), fold(&copy[..]));
    }
}

/// The program of a recording with copied stacks: its tables and its code lead from frame to frame.
pub fn unwinding(program: &[u8]) {
    SCRATCH.with(|scratch| {
        scratch.file("tmp/flamepipe-golden/unchained", program);
        let mut config = Config::default();
        config.script.symbols.kallsyms = Some("/dev/null".into());
        config.script.symbols.symfs = Some(scratch.folder.path().into());
        fold(golden("stacks.data"), &config);
    });
}

/// A recording that is checked in.
fn golden(name: &str) -> Input {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = Path::new("tests/data/golden").join(name);
    // This file is compiled as a part of two crates.
    let read =
        std::fs::read(root.join(&data)).or_else(|_| std::fs::read(root.join("..").join(data)));
    Input::new("fuzz", Cursor::new(read.unwrap_or_default()))
}

thread_local! {
    /// Files that can only be given by their names.
    static SCRATCH: LazyCell<Scratch> = const { LazyCell::new(Scratch::new) };
}

struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Scratch {
        let folder =
            tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        Scratch { folder }
    }

    /// Writes a file below the folder.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        let folder = path.parent().unwrap_or(&path);
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, bytes));
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }
}
