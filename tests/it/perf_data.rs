//! Compares our reader of perf.data with perf: the same records in the same order. Broken
//! recordings must do no harm.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[cfg(unix)]
use crate::harness::wait_until;
use crate::harness::{Dir, cannot_run};
use flamepipe::perf_data::Seekable;
use flamepipe::perf_data::write::{NewSample, Writer, chains_only, with_limit};
use flamepipe::perf_data::{CpuMode, FileId, Item, Mmap, Reader, Record, Shares, kind, sniff};
use flamepipe::tally::{Loss, Tally};

mod hostile;
mod writing;

/// Forks, execs, a pipeline and a little work, some of it in the shell itself, because perf records
/// groups of events without the shell's children.
const WORKLOAD: &str = "for i in 1 2 3; do /bin/ls -R /usr/include >/dev/null; done; \
     i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; \
     (awk 'BEGIN { for (i = 0; i < 300000; i++) x += i }'); sort /etc/passwd | uniq > /dev/null";

/// Runs `perf record` and answers the recording, or says that this machine cannot.
fn perf_record(test: &str, dir: &Dir, args: &[&str], workload: &str) -> Option<PathBuf> {
    let path = dir.path("perf.data");
    let perf = dir.cmd("perf").args(["record", "-q", "-o", "perf.data"]).args(args);
    recorded(test, perf.args(["--", "sh", "-c", workload]).command, &path)
}

fn recorded(test: &str, mut perf: Command, path: &Path) -> Option<PathBuf> {
    match perf.stderr(Stdio::piped()).output() {
        Ok(output) if output.status.success() && path.exists() => return Some(path.to_owned()),
        Ok(output) => cannot_run(test, &String::from_utf8_lossy(&output.stderr)),
        Err(error) => cannot_run(test, &format!("perf: {error}")),
    }
    None
}

/// The records as `perf script -D` shows them, without those that are not in the kernel's layout.
/// Each has a line, and one for each address, register and counter of a sample.
fn by_perf(dir: &Dir, path: &Path, pipe: bool) -> Vec<String> {
    let mut command = dir.cmd("perf").args(["script", "-D", "-F", "pid", "-i"]);
    command =
        if pipe { command.arg("-").stdin(fs::read(path).unwrap()) } else { command.arg(path) };
    let dump = command.run().stdout.to_string();
    // A half record at the end may kill perf. Then the text that it did not flush is lost, from the
    // middle of a line on.
    let whole = dump.rfind('\n').map_or("", |end| &dump[..end]);
    let mut lines = Vec::new();
    for line in whole.lines() {
        let words: Vec<&str> =
            line.split_whitespace().map(|word| word.trim_end_matches(',')).collect();
        if let Some((place, what)) = line.split_once("]: PERF_RECORD_") {
            // `1 2530159449222 0x410 [0x28]: PERF_RECORD_SAMPLE(IP, 0x2): 28514/28514: 0x5596`
            let mut place = place.rsplit([' ', '[']);
            let size = place.next().unwrap();
            let time = place.nth(2).unwrap();
            let perfs_own = ["ID_INDEX", "THREAD_MAP", "CPU_MAP", "FINISHED_", "ATTR", "FEATURE"];
            let perfs_own = perfs_own.iter().chain(&["EVENT_UPDATE", "TIME_CONV", "COMPRESSED"]);
            if perfs_own.into_iter().any(|own| what.starts_with(own)) {
                continue;
            }
            // The commonest are compared in full, the others by their names.
            let in_full = ["SAMPLE(", "MMAP", "COMM", "FORK", "EXIT"];
            let name = what.split([' ', ':']).next().unwrap();
            let what = if in_full.iter().any(|kind| what.starts_with(kind)) { what } else { name };
            lines.push(format!("{time} {size} {}", what.trim_end()));
        } else if let [".....", "id", id, "value", value, rest @ ..] = words.as_slice() {
            lines.push(format!("id {id} value {value} lost {}", rest.last().unwrap_or(&"-")));
        } else if let [".....", _, address] = words[..] {
            lines.push(format!("chain {address}"));
        } else if let ["....", _, value] = words[..] {
            lines.push(format!("register {value}"));
        } else if let ["...", "ustack:", "size", size, ..] = words[..] {
            lines.push(format!("stack {size}"));
        }
    }
    lines
}

/// All records, in the form of [`by_perf`].
fn by_us(mut reader: Reader) -> (Vec<String>, Reader) {
    let mut lines = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        show(&item, &mut lines);
    }
    (lines, reader)
}

fn show(item: &Item<'_>, lines: &mut Vec<String>) {
    let mut line = format!("{} {:#x} ", item.id.time.unwrap_or(0), item.head.size);
    let hex = |number: u64| if number == 0 { "0".into() } else { format!("{number:#x}") };
    let mut samples = Vec::new();
    let body = match item.record {
        Record::Sample(sample) => {
            for value in sample.read.iter().flat_map(|read| read.values()) {
                let lost = value.lost.map_or("-".into(), |lost| lost.to_string());
                let id = value.id.unwrap();
                samples.push(format!("id {id:016x} value {:016x} lost {lost}", value.value));
            }
            let chain = sample.callchain.iter().flat_map(|chain| chain.iter());
            let chain: Vec<String> = chain.map(|address| format!("chain {address:016x}")).collect();
            let registers = sample.regs_user.iter().flat_map(|regs| regs.values.iter());
            samples.splice(0..0, registers.map(|value| format!("register 0x{value:016x}")));
            samples.splice(0..0, chain);
            let stack = sample.stack_user.filter(|stack| stack.reserved > 0);
            samples.extend(stack.map(|stack| format!("stack {}", stack.bytes.len())));
            format!(
                "SAMPLE(IP, {}): {}/{}: {} period: {} addr: {}",
                hex(item.head.misc.into()),
                sample.pid.unwrap().cast_signed(),
                sample.tid.unwrap().cast_signed(),
                hex(sample.ip.unwrap()),
                // Samples of an event with a fixed period do not repeat it.
                sample.period.unwrap_or(item.event.unwrap().attr.period_or_freq),
                hex(sample.addr.unwrap_or(0)),
            )
        }
        Record::Mmap(map) => {
            let place = format!("{}({}) @ {}", hex(map.start), hex(map.len), hex(map.offset));
            let pid = map.pid.cast_signed();
            let tid = map.tid;
            if let (FileId::Inode { major, minor, inode, generation }, Some(prot)) =
                (map.file, map.prot)
            {
                let bit = |bit: u32, letter| if prot & bit != 0 { letter } else { '-' };
                let shared = if map.flags.unwrap() & 1 != 0 { 's' } else { 'p' };
                format!(
                    "MMAP2 {pid}/{tid}: [{place} {major:02x}:{minor:02x} {inode} {generation}]: {}{}{}{shared} {}",
                    bit(1, 'r'),
                    bit(2, 'w'),
                    bit(4, 'x'),
                    map.path
                )
            } else if let (FileId::BuildId(id), Some(0b101), Some(2)) =
                (map.file, map.prot, map.flags)
            {
                let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("MMAP2 {pid}/{tid}: [{place} <{id}>]: r-xp {}", map.path)
            } else {
                let letter = if map.executable { 'x' } else { 'r' };
                format!("MMAP {pid}/{tid}: [{place}]: {letter} {}", map.path)
            }
        }
        Record::Comm { pid, tid, comm, exec } => {
            format!("COMM{}: {comm}:{pid}/{tid}", if exec { " exec" } else { "" })
        }
        Record::Fork(task) | Record::Exit(task) => {
            let name = if item.head.kind == kind::FORK { "FORK" } else { "EXIT" };
            format!("{name}({}:{}):({}:{})", task.pid, task.tid, task.ppid, task.ptid)
        }
        _ => match item.head.kind {
            kind::READ => "READ".into(),
            kind::NAMESPACES => "NAMESPACES".into(),
            kind::SWITCH => "SWITCH".into(),
            kind::SWITCH_CPU_WIDE => "SWITCH_CPU_WIDE".into(),
            kind::CGROUP => "CGROUP".into(),
            kind::KSYMBOL => "KSYMBOL".into(),
            kind::LOST => "LOST".into(),
            kind::LOST_SAMPLES => "LOST_SAMPLES".into(),
            kind::THROTTLE => "THROTTLE".into(),
            kind::UNTHROTTLE => "UNTHROTTLE".into(),
            other => format!("{other}"),
        },
    };
    write!(line, "{body}").unwrap();
    lines.push(line.trim_end().into());
    lines.append(&mut samples);
}

/// perf prints a sample's chain, registers, stack and counters in its own order, so they are sorted
/// within each record.
fn comparable(lines: Vec<String>) -> Vec<Vec<String>> {
    let mut records: Vec<Vec<String>> = Vec::new();
    for line in lines {
        let part = ["id ", "chain ", "register ", "stack "].iter().any(|p| line.starts_with(p));
        match records.last_mut() {
            Some(record) if part => record.push(line),
            _ => records.push(vec![line]),
        }
    }
    for record in &mut records {
        record[1..].sort_by_key(|line| line.split(' ').next().map(str::to_owned));
    }
    records
}

#[track_caller]
fn assert_same(ours: Vec<String>, perfs: Vec<String>, what: &str) {
    let ours = comparable(ours);
    let perfs = comparable(perfs);
    assert!(perfs.iter().any(|record| record[0].contains("SAMPLE")), "{what}: perf has no samples");
    for (at, (ours, perfs)) in ours.iter().zip(&perfs).enumerate() {
        assert_eq!(ours, perfs, "{what}: record {at}");
    }
    assert_eq!(ours.len(), perfs.len(), "{what}: the number of records");
}

fn names(reader: &Reader) -> Vec<String> {
    reader.events().iter().map(|event| event.name.to_string()).collect()
}

fn open(path: &Path) -> Reader {
    Reader::open(&File::open(path).unwrap(), "perf.data").unwrap()
}

/// The options of perf that are compared: plain, chains, stacks, groups, several events,
/// compressed, all fields.
const WAYS: [&[&str]; 8] = [
    &["-F", "997"],
    &["-F", "1997", "-g"],
    &["-F", "499", "--call-graph", "dwarf,16384"],
    &["-e", "{cpu-clock,task-clock}:S", "-F", "997"],
    &["-e", "cpu-clock,task-clock:u", "-g", "-a"],
    &["-F", "1997", "-g", "-z", "-a"],
    &[
        "-F",
        "997",
        "-d",
        "--phys-data",
        "-T",
        "-P",
        "-R",
        "-s",
        "--data-page-size",
        "--code-page-size",
    ],
    &["-e", "cpu-clock", "-c", "1000000", "--switch-events", "--namespaces", "--all-cgroups"],
];

#[test]
fn files_are_read_as_perf_reads_them() {
    for way in WAYS {
        let dir = Dir::new();
        let what = way.join(" ");
        let Some(path) = perf_record("perf_data::files", &dir, way, WORKLOAD) else { return };
        let perfs = by_perf(&dir, &path, false);
        let (ours, reader) = by_us(open(&path));
        assert_same(ours, perfs, &what);
        assert_eq!(reader.warnings(), [""; 0], "{what}");
        let mut tally = Tally::default();
        reader.tally(&mut tally);
        assert_eq!(
            (tally.lost(Loss::Odd).items, tally.lost(Loss::CutShort).items),
            (0, 0),
            "{what}"
        );
        let evlist = dir.cmd("perf").args(["evlist", "-i"]).arg(&path).stdout().to_string();
        let perfs: Vec<&str> = evlist.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(names(&reader), perfs, "{what}");
        assert!(reader.features().arch.is_some(), "{what}");
        assert!(what.contains("-a") || !reader.features().build_ids.is_empty(), "{what}");
    }
}

#[test]
fn streams_are_read_as_perf_reads_them_and_chunks_are_invisible() {
    for way in WAYS {
        let dir = Dir::new();
        let what = way.join(" ");
        let path = dir.path("stream");
        let mut perf = dir.cmd("perf").args(["record", "-q", "-o", "-"]).args(way);
        perf.command.args(["--", "sh", "-c", WORKLOAD]).stdout(File::create(&path).unwrap());
        let Some(path) = recorded("perf_data::streams", perf.command, &path) else { return };
        let (mapped, reader) = by_us(open(&path));
        assert_same(mapped.clone(), by_perf(&dir, &path, true), &what);
        assert_eq!(reader.warnings(), [""; 0], "{what}");

        let stream = Reader::stream(Box::new(File::open(&path).unwrap()), "stream").unwrap();
        let (streamed, stream) = by_us(stream);
        assert_eq!(streamed, mapped, "{what}");
        assert_eq!((names(&stream), stream.features()), (names(&reader), reader.features()));

        let bytes = fs::read(&path).unwrap();
        let slow = Reader::stream(Box::new(Drops(Cursor::new(bytes))), "stream").unwrap();
        assert_eq!(by_us(slow).0, mapped, "{what}, byte by byte");
    }
}

/// Gives one byte for each read.
struct Drops(Cursor<Vec<u8>>);

impl Read for Drops {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let some = buffer.len().min(1);
        self.0.read(&mut buffer[..some])
    }
}

#[test]
fn a_sample_of_a_group_counts_for_every_member() {
    let dir = Dir::new();
    let way = ["-e", "{cpu-clock,task-clock}:S", "-F", "997"];
    // Groups are not inherited: the shell itself must work.
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";
    let Some(path) = perf_record("perf_data::group", &dir, &way, busy) else { return };
    let fields = "pid,tid,time,period,event,ip";
    let perfs = dir.cmd("perf").args(["script", "--ns", "-F", fields, "-i"]).arg(&path).stdout();
    let perfs: Vec<String> = perfs.to_string().lines().map(words).collect();
    let mut reader = open(&path);
    let mut shares = Shares::default();
    let mut ours = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        let Record::Sample(sample) = item.record else { continue };
        let pid = sample.pid.unwrap();
        let tid = sample.tid.unwrap();
        let time = sample.time.unwrap();
        shares.of(&item, |event, period| {
            let seconds = time / 1_000_000_000;
            let nanos = time % 1_000_000_000;
            let ip = sample.ip.unwrap();
            let place = format!("{pid}/{tid} {seconds}.{nanos:09}: {period}");
            ours.push(words(&format!("{place} {}: {ip:x}", event.name)));
        });
    }
    assert!(perfs.len() > 10);
    assert_eq!(ours, perfs);
}

/// A line with single spaces and without symbols.
fn words(line: &str) -> String {
    line.split_whitespace().take(5).collect::<Vec<_>>().join(" ")
}

/// The attr of a recorder: cpu-clock at 997 Hz with everything in its samples, and `sample_id_all`.

#[test]
fn a_file_through_a_pipe_is_read_all_the_same() {
    let dir = Dir::new();
    let way = ["-F", "997", "-g"];
    let Some(path) = perf_record("perf_data::spool", &dir, &way, WORKLOAD) else { return };
    let bytes = fs::read(&path).unwrap();
    assert!(sniff(&bytes));
    let (mapped, _) = by_us(open(&path));
    let spooled = Reader::stream(Box::new(File::open(&path).unwrap()), "pipe").unwrap();
    assert_eq!(by_us(spooled).0, mapped);
    assert_eq!(by_us(Reader::bytes(bytes, "bytes").unwrap()).0, mapped);
}

#[cfg(unix)]
#[test]
fn a_killed_recorder_leaves_a_readable_recording() {
    use std::os::unix::process::CommandExt;
    // Large samples, so that some are written before the end.
    for way in [&["--call-graph", "dwarf,16384"][..], &["-z", "--call-graph", "dwarf,16384"]] {
        let dir = Dir::new();
        let mut perf =
            dir.cmd("perf").args(["record", "-q", "-F", "299", "-o", "perf.data"]).args(way);
        // One process that computes: what is short-lived may end before its first sample is due.
        let busy = "while :; do :; done";
        perf.command
            .args(["timeout", "--foreground", "600", "sh", "-c", busy])
            .stderr(Stdio::null());
        // timeout must not make a process group of its own, so that the workload is killed with
        // perf.
        let Ok(mut child) = perf.command.process_group(0).spawn() else {
            return cannot_run("perf_data::killed", "no perf");
        };
        let has_sample = || {
            let file = File::open(dir.path("perf.data")).ok();
            let reader = file.and_then(|file| Reader::open(&file, "perf.data").ok());
            reader.is_some_and(|reader| by_us(reader).0.iter().any(|it| it.contains("SAMPLE")))
        };
        let mut early = None;
        wait_until(|| {
            early = child.try_wait().unwrap();
            early.is_some() || has_sample()
        });
        let group = format!("-{}", child.id());
        Command::new("kill").args(["-KILL", "--", &group]).status().unwrap();
        child.wait().unwrap();
        if let Some(status) = early {
            return cannot_run("perf_data::killed", &format!("perf ended early: {status}"));
        }
        let path = dir.path("perf.data");
        let (mut ours, reader) = by_us(open(&path));
        assert!(ours.iter().any(|line| line.contains("SAMPLE")), "{} lines", ours.len());
        // perf gives up at the first half record and then keeps what was waiting for its turn.
        // Compressed records it does not read at all without the features that were never written.
        if !way.contains(&"-z") {
            let perfs = by_perf(&dir, &mended(&dir, &path), false);
            assert!(ours.len() >= perfs.len(), "{} records, perf has {}", ours.len(), perfs.len());
            ours.truncate(perfs.len());
            assert_same(ours, perfs, "killed");
        }
        assert!(reader.warnings().iter().any(|w| w.contains("killed")), "{:?}", reader.warnings());
        let mut tally = Tally::default();
        reader.tally(&mut tally);
        assert_eq!(tally.lost(Loss::CutShort).items, 1);
        assert_eq!(names(&reader).len(), 1);
    }
}

#[cfg(unix)]
/// A copy of a killed recorder's recording that perf 6.1 reads too: with the size of the data, and
/// without features.
fn mended(dir: &Dir, path: &Path) -> PathBuf {
    let mut bytes = fs::read(path).unwrap();
    let data = u64::from_ne_bytes(bytes[40..48].try_into().unwrap());
    let size = bytes.len() as u64 - data;
    bytes[48..56].copy_from_slice(&size.to_ne_bytes());
    bytes[72..104].fill(0);
    dir.write("mended.data", bytes)
}
