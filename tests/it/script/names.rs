//! Names from recordings of anybody's programs: they forge no line of text, and send a terminal
//! nothing but text.

use bstr::{BString, ByteSlice};
use flamepipe::perf_data::write::{NewSample, Writer, chains_only};
use flamepipe::perf_data::{CpuMode, FileId, Mmap};

use crate::harness::Dir;

/// A recording in which an event, a thread and a module have these names.
fn recording(event: &str, comm: &str, module: &str) -> BString {
    let mut attr = vec![0u8; 112];
    attr[0] = 1; // software
    attr[4] = 112;
    attr[40..48].copy_from_slice(&(1u64 << 18).to_le_bytes()); // sample_id_all
    let mut writer = Writer::new(Vec::new()).unwrap();
    for (id, name) in [(1, event.to_owned()), (2, format!("{event} too"))] {
        writer.event(name.as_bytes(), &chains_only(&attr), &[id]).unwrap();
    }
    writer.comm(7, 7, comm.as_bytes(), 1).unwrap();
    let mmap = Mmap {
        pid: 7,
        tid: 7,
        start: 0x10000,
        len: 0x10000,
        offset: 0,
        file: FileId::Inode { major: 8, minor: 1, inode: 0, generation: 0 },
        prot: Some(5),
        flags: Some(2),
        executable: true,
        mode: CpuMode::User,
        path: module.as_bytes().into(),
    };
    writer.mmap2(&mmap, 1).unwrap();
    for (time, id) in [(100, 1), (200, 1), (300, 2)] {
        let chain = [512u64.wrapping_neg(), 0x10080];
        let sample = NewSample {
            misc: 2,
            id,
            ip: chain[1],
            pid: 7,
            tid: 7,
            time,
            period: 1,
            cpu: 0,
            chain: &chain,
        };
        writer.sample(&sample).unwrap();
    }
    writer.finished_round().unwrap();
    std::mem::take(writer.get_mut()).into()
}

/// Everything that the programs write of the recording `x`, on stdout and in files.
fn texts(dir: &Dir) -> Vec<BString> {
    let mut texts = Vec::new();
    for line in [
        "fg-fold x",
        "fg-fold --event-filter all --split comm,event x",
        "fg-script x",
        "fg-script --header x",
        "fg-diff x x",
        "fg-diff --top 9 x x",
        "fg-render --no-embed x",
    ] {
        let mut words = line.split(' ');
        let outcome = dir.cmd(words.next().unwrap()).args(words).run().success();
        assert!(
            !outcome.stderr.to_str().unwrap().contains(|c: char| c.is_control() && c != '\n'),
            "{}",
            outcome.everything()
        );
        texts.push(outcome.stdout);
    }
    dir.cmd("fg-fold").args(["--split", "comm", "--split-files", "parts", "x"]).run().success();
    texts.push(dir.read("parts/index.tsv"));
    texts
}

#[test]
fn names_forge_nothing_and_are_counted() {
    let [event, comm, module] =
        ["ev\nroot;e 9\x1b[31m", "a\nroot;f 9\t", "/m\nroot;g 9\x1b]0;PWNED\x07"];
    let plain = |name: &str| name.replace(|c: char| c.is_control(), "?");
    let dir = Dir::new();
    dir.write("x", recording(&plain(event), &plain(comm), &plain(module)));
    let wanted = texts(&dir);
    dir.write("x", recording(event, comm, module));
    assert_eq!(texts(&dir), wanted);
    for program in ["fg-fold", "fg-script"] {
        let outcome = dir.cmd(program).arg("x").run().success();
        // Two events, a thread and a module.
        outcome.says("4 names with replaced bytes");
    }
}
