//! Reads again what we write.

use std::io::{self, Seek, SeekFrom, Write};

use proptest::prelude::*;

use super::*;

fn attr() -> Vec<u8> {
    let words = [1 | 112 << 32, 0, 997, 0xffff, 0, 1 << 10 | 1 << 18];
    let mut attr: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_ne_bytes()).collect();
    attr.resize(112, 0);
    attr
}

#[test]
fn what_we_write_is_read_the_same_by_us_and_by_perf() {
    let dir = Dir::new();
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.event(b"cpu-clock", &chains_only(&attr()), &[11, 12]).unwrap();
    writer.event(b"other-clock", &chains_only(&attr()), &[21]).unwrap();
    writer.feature(6, b"x86_64").unwrap();
    writer.comm(7, 7, b"a program", 11).unwrap();
    let mut mmap = Mmap {
        pid: 7,
        tid: 7,
        start: 0x1000,
        len: 0x4000,
        offset: 0x1000,
        file: FileId::Inode { major: 8, minor: 1, inode: 99, generation: 0 },
        prot: Some(5),
        flags: Some(2),
        executable: true,
        mode: CpuMode::User,
        path: b"/bin/a program".into(),
    };
    writer.mmap2(&mmap, 11).unwrap();
    mmap.file = FileId::BuildId(&[7; 20]);
    writer.mmap2(&mmap, 11).unwrap();
    writer.build_id(1, u32::MAX, &[3; 16], b"[kernel.kallsyms]").unwrap();
    let chain = [512u64.wrapping_neg(), 0x1234, 0x2345];
    let sample = NewSample {
        misc: 2,
        ip: 0x1234,
        pid: 7,
        tid: 8,
        cpu: 1,
        chain: &chain,
        ..Default::default()
    };
    for (time, id) in [(300, 11), (200, 21), (100, 12), (400, 21)] {
        writer.sample(&NewSample { time, id, period: time * 10, ..sample }).unwrap();
    }
    let len = writer.get_mut().len();
    writer.finished_round_of_more().unwrap();
    let more = writer.get_mut()[len..].to_vec();
    writer.finished_round().unwrap();
    writer.sample(&NewSample { time: 500, id: 12, chain: &[0x99; 9000], ..sample }).unwrap();
    let cut = dir.write("cut", [&writer.get_mut()[..], &more].concat());
    assert_eq!(
        by_us(open(&cut)).1.warnings(),
        ["the recorder did not finish it; only what comes before is read"]
    );
    let path = dir.write("ours", writer.get_mut());

    let (ours, reader) = by_us(open(&path));
    assert_eq!(names(&reader), ["cpu-clock", "other-clock"]);
    assert_eq!(reader.features().arch, Some("x86_64".into()));
    let kernel = &reader.features().build_ids[0];
    assert_eq!((kernel.path.as_slice(), &kernel.id[..]), (&b"[kernel.kallsyms]"[..], &[3; 16][..]));
    assert_eq!(reader.warnings(), [""; 0]);
    let times: Vec<&str> =
        ours.iter().filter(|line| line.contains("SAMPLE")).map(|line| &line[..3]).collect();
    assert_eq!(times, ["100", "200", "300", "400", "500"]);
    assert!(ours.contains(&"0 0x40 COMM: a program:7/7".into()), "{ours:?}");
    let mut file = Seekable::new(std::io::Cursor::new(Vec::new()));
    file.write_all(writer.get_mut()).unwrap();
    let whole = file.finish().unwrap().into_inner();
    let file = dir.write("file", &whole);
    let (as_file, reader) = by_us(open(&file));
    // A file does not repeat in records what its header says.
    let records = |lines: &[String]| -> Vec<String> {
        let told = |line: &&String| !["HEADER", "EVENT_UPDATE"].iter().any(|it| line.contains(it));
        lines.iter().filter(told).cloned().collect()
    };
    assert_eq!(records(&as_file), records(&ours));
    assert_eq!(names(&reader), ["cpu-clock", "other-clock"]);
    assert_eq!(reader.features().arch, Some("x86_64".into()));
    assert_eq!(reader.features().build_ids[0].id, [3; 16]);
    for parts in [1, 7, 100, 4096] {
        let mut file = Seekable::new(std::io::Cursor::new(Vec::new()));
        writer.get_mut().chunks(parts).for_each(|part| file.write_all(part).unwrap());
        assert!(file.finish().unwrap().into_inner() == whole, "in parts of {parts} bytes");
    }
    let mut file = Seekable::new(std::io::Cursor::new(Vec::new()));
    assert!(file.write_all(b"PERFILE2 or not.").is_err());
    if Command::new("perf").arg("version").output().is_err() {
        return cannot_run("perf_data::write", "no perf");
    }
    let perfs = by_perf(&dir, &path, true);
    // perf shows only a part of a chain that is longer than /proc/sys/kernel/perf_event_max_stack.
    let short = |lines: Vec<String>| {
        comparable(lines)
            .into_iter()
            .filter(|record| record.len() < 99 && !record[0].contains("BUILD_ID"))
    };
    assert!(short(ours).eq(short(perfs)));
}

/// A record has room for some 8,180 addresses, the kernel's chains for 127.
#[test]
fn a_chain_that_lost_its_root_says_so() {
    let dir = Dir::new();
    let unlimited = chains_only(&attr());
    let mut limited = unlimited.clone();
    limited[108..110].fill(0);
    let other = with_limit(unlimited.clone(), 20);
    for (attr, length, is_cut) in [
        (&unlimited, 8179, false),
        (&unlimited, 9000, true),
        (&unlimited, 127, false),
        (&limited, 127, true),
        (&limited, 126, false),
        (&other, 20, true),
        (&other, 127, false),
    ] {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.event(b"cpu-clock", attr, &[11]).unwrap();
        writer.comm(7, 7, b"deep", 11).unwrap();
        let mut chain = vec![0x99; length + 1];
        chain[0] = 512u64.wrapping_neg();
        let sample = NewSample {
            misc: 2,
            ip: 0x99,
            pid: 7,
            tid: 7,
            id: 11,
            period: 5,
            ..Default::default()
        };
        writer.sample(&NewSample { chain: &chain, ..sample }).unwrap();
        writer.finished_round().unwrap();
        let path = dir.write("deep.data", writer.get_mut());
        let folded = dir.cmd("fg-fold").args(["--no-unit", "-q"]).arg(path).stdout().to_string();
        let start = if is_cut { "deep;[truncated];[unknown];" } else { "deep;[unknown];" };
        assert!(folded.starts_with(start), "{length}: {}", &folded[..40]);
        let frames = folded.matches("[unknown]").count();
        assert!(frames == length || is_cut && frames > 8000, "{frames} of {length}");
    }
}

/// A thread inherits its creator's name, so the record of its own name must come after the record
/// of its fork.
#[test]
fn a_thread_that_was_forked_is_named_behind_that() {
    let dir = Dir::new();
    for (named, expected) in [(0, "creator"), (101, "thread")] {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.event(b"cpu-clock", &chains_only(&attr()), &[11]).unwrap();
        writer.comm(7, 7, b"creator", 11).unwrap();
        writer.comm_at(named, 7, 8, b"thread", 11).unwrap();
        // PERF_RECORD_FORK: pid, ppid, tid, ptid, time; then whose it is, time, CPU, number.
        let mut fork: Vec<u8> = Vec::new();
        fork.extend(7u32.to_ne_bytes());
        fork.extend([0, 64].map(u16::to_ne_bytes).concat());
        fork.extend([7u32, 7, 8, 7].map(u32::to_ne_bytes).concat());
        fork.extend(100u64.to_ne_bytes());
        fork.extend([7u32, 7].map(u32::to_ne_bytes).concat());
        fork.extend([100u64, 0, 0].map(u64::to_ne_bytes).concat());
        writer.record(&fork, 11).unwrap();
        let chain = [512u64.wrapping_neg(), 0x1234];
        let sample =
            NewSample { misc: 2, ip: 0x1234, pid: 7, tid: 8, id: 11, ..Default::default() };
        writer.sample(&NewSample { time: 200, period: 5, chain: &chain, ..sample }).unwrap();
        writer.finished_round().unwrap();
        let path = dir.write("ours", writer.get_mut());
        let folded = dir.cmd("fg-fold").arg("--no-unit").arg(path).stdout();
        assert!(folded.starts_with(expected.as_bytes()), "{named}: {folded}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Law 5 for perf.data.
    #[test]
    fn whatever_is_written_is_read_the_same(
        comms in prop::collection::vec((1u32..5, "[ -~]{1,15}"), 0..4),
        samples in prop::collection::vec(
            (0usize..2, 1u32..5, 0u32..3, 1u64..1 << 40, prop::collection::vec(1u64..1 << 47, 0..30)), 1..20,
        ),
    ) {
        let dir = Dir::new();
        let mut writer = Writer::new(Vec::new()).unwrap();
        let ids = [11, 21];
        for (name, id) in [&b"cpu-clock"[..], b"other-clock"].into_iter().zip(ids) {
            writer.event(name, &chains_only(&attr()), &[id]).unwrap();
        }
        for (tid, comm) in &comms {
            writer.comm(7, *tid, comm.as_bytes(), 11).unwrap();
        }
        let mut written = Vec::new();
        for (i, (event, tid, cpu, period, chain)) in samples.iter().enumerate() {
            let time = 1000 - i as u64;
            let ip = chain.first().copied().unwrap_or(1);
            let sample = NewSample { misc: 2, id: ids[*event], ip, pid: 7, tid: *tid, time, cpu: *cpu, period: *period, chain };
            writer.sample(&sample).unwrap();
            written.push((time, *event, *tid, *cpu, *period, chain.clone()));
        }
        writer.finished_round().unwrap();
        let path = dir.write("ours", writer.get_mut());
        // In order of time, which is the other way round.
        written.reverse();
        let mut read = Vec::new();
        let mut reader = open(&path);
        while let Some(item) = reader.next_item().unwrap() {
            if let Record::Sample(sample) = &item.record {
                let chain: Vec<u64> = sample.callchain.iter().flat_map(|chain| chain.iter()).collect();
                let event = usize::from(item.event.unwrap().name != "cpu-clock");
                read.push((
                    sample.time.unwrap(), event, sample.tid.unwrap(), sample.cpu.unwrap(), sample.period.unwrap(), chain,
                ));
            }
        }
        prop_assert_eq!(read, written);
        let (ours, _) = by_us(open(&path));
        if Command::new("perf").arg("version").output().is_ok() {
            prop_assert_eq!(comparable(ours), comparable(by_perf(&dir, &path, true)));
        } else {
            cannot_run("perf_data::writing: beside perf", "no perf");
        }
    }
}

/// A file on a disk that has room for this many bytes.
struct Disk(Cursor<Vec<u8>>, u64);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.1.saturating_sub(self.0.position()) as usize;
        match bytes.len().min(room) {
            0 if !bytes.is_empty() => Err(io::ErrorKind::StorageFull.into()),
            some => self.0.write(&bytes[..some]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Disk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_file_on_a_full_disk_has_what_found_room() {
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.event(b"some-clock", &chains_only(&attr()), &[7]).unwrap();
    writer.feature(6, b"x86_64").unwrap();
    for time in 1..=3000 {
        let sample = NewSample { id: 7, time, chain: &[0x1000; 20], ..NewSample::default() };
        writer.sample(&sample).unwrap();
    }
    writer.finished_round().unwrap();
    let stream = &writer.get_mut()[..];
    let each = stream.len() / 3000;
    // The last is just too small for what stands at the end.
    for room in [100_000, 333_333, stream.len() - 100, stream.len() + 100] {
        let mut file = Seekable::new(Disk(Cursor::default(), room as u64));
        let mut parts = stream.chunks(60_000);
        let mut written = Ok(());
        while let (Ok(()), Some(part)) = (&written, parts.next()) {
            written = file.write_all(part);
        }
        assert_eq!(written.is_err(), room < stream.len(), "{room}");
        if written.is_err() {
            assert!(file.write_all(b"nothing more is taken").is_err());
        }
        let file = file.finish().unwrap().0.into_inner();
        let (ours, reader) = by_us(Reader::bytes(file, "full").unwrap());
        assert_eq!(reader.warnings(), [""; 0]);
        assert_eq!(
            (names(&reader), reader.features().arch.clone()),
            (vec!["some-clock".into()], Some("x86_64".into()))
        );
        let samples = ours.iter().filter(|line| line.contains("SAMPLE")).count();
        let fit = room.min(stream.len()) / each;
        assert!((fit - 100_000 / each..=fit).contains(&samples), "{samples} of {fit}");
    }
    let mut none = Seekable::new(Disk(Cursor::default(), 50));
    assert!(none.write_all(stream).is_err());
    assert!(none.finish().is_err());
    assert_eq!(Seekable::new(Cursor::<Vec<u8>>::default()).finish().unwrap().into_inner(), b"");
}
