//! Recordings as of `perf record --call-graph fp,defer`: user parts come in records of their own.

use flamepipe::perf_data::write::{NewSample, Writer, chains_only};
use flamepipe::perf_data::{Ksymbol, kind};

use crate::harness::Dir;

const KERNEL: u64 = 128u64.wrapping_neg();
/// The address of the kernel's functions `f1`, `f2`, …, of 16 bytes each.
const KERNEL_CODE: u64 = 0xffff_ffff_c0a0_0000;
const USER: u64 = 512u64.wrapping_neg();
const USER_DEFERRED: u64 = 640u64.wrapping_neg();

/// Writes the stream of a thread 7 and a thread 8 of one process, in order of time.
struct Recording {
    writer: Writer<Vec<u8>>,
    time: u64,
}

impl Recording {
    fn new() -> Recording {
        // cpu-clock, with IDENTIFIER, TID, TIME and CPU at the end of other records.
        let words = [1u64 | 112 << 32, 0, 997, 0xffff, 0, 1 << 10 | 1 << 18];
        let mut attr: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        attr.resize(112, 0);
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.event(b"cpu-clock", &chains_only(&attr), &[11]).unwrap();
        for function in 1..5 {
            let name = format!("f{function}");
            let start = KERNEL_CODE + 0x10 * function;
            let name = name.as_bytes().into();
            let gone = false;
            writer.ksymbol(&Ksymbol { start, len: 16, kind: 1, gone, name }, 11).unwrap();
        }
        writer.comm(7, 7, b"seven", 11).unwrap();
        writer.comm(7, 8, b"eight", 11).unwrap();
        Recording { writer, time: 100 }
    }

    fn sample(&mut self, tid: u32, period: u64, chain: &[u64]) {
        self.time += 1;
        let (misc, ip) = if chain[0] == KERNEL { (1, chain[1]) } else { (2, 0x9999) };
        let time = self.time;
        let sample = NewSample { misc, id: 11, ip, pid: 7, tid, time, cpu: 0, period, chain };
        self.writer.sample(&sample).unwrap();
    }

    fn record(&mut self, kind: u32, tid: u32, body: &[u64]) {
        self.time += 1;
        let mut record = Vec::new();
        record.extend(kind.to_ne_bytes());
        record.extend(0u16.to_ne_bytes());
        record.extend((8 + 8 * (body.len() as u16) + 32).to_ne_bytes());
        body.iter().for_each(|word| record.extend(word.to_ne_bytes()));
        record.extend([7, tid].map(u32::to_ne_bytes).concat());
        record.extend([self.time, 0, 11].map(u64::to_ne_bytes).concat());
        self.writer.record(&record, 11).unwrap();
    }

    fn deferred(&mut self, tid: u32, cookie: u64, chain: &[u64]) {
        let body = [&[cookie, chain.len() as u64], chain].concat();
        self.record(kind::CALLCHAIN_DEFERRED, tid, &body);
    }

    fn exit(&mut self, tid: u64) {
        self.record(kind::EXIT, tid as u32, &[7 | 1 << 32, tid | tid << 32, self.time]);
    }

    fn write(mut self, dir: &Dir) {
        self.writer.finished_round().unwrap();
        dir.write("perf.data", self.writer.get_mut());
    }
}

/// The folded stacks and the quality line, with addresses for names.
fn folded(dir: &Dir, options: &[&str]) -> (String, String, i32) {
    let fold = dir.cmd("fg-fold").args(["--no-unit", "--addrs", "--all"]).args(options);
    let outcome = fold.arg("perf.data").run();
    (outcome.stdout.to_string(), outcome.stderr.to_string(), outcome.status.code().unwrap())
}

#[test]
fn the_user_part_is_that_of_the_thread_and_the_cookie() {
    let dir = Dir::new();
    let mut recording = Recording::new();
    recording.sample(7, 1, &[KERNEL, KERNEL_CODE + 0x10, USER_DEFERRED, 41]);
    // The same cookie of another thread; a sample of it that has its user part.
    recording.sample(8, 2, &[KERNEL, KERNEL_CODE + 0x20, USER_DEFERRED, 41]);
    recording.sample(8, 4, &[USER, 0x8000]);
    recording.sample(7, 8, &[KERNEL, KERNEL_CODE + 0x30, USER_DEFERRED, 41]);
    recording.deferred(7, 41, &[USER, 0x7000, 0x7101]);
    // Behind the record, in the same system call still.
    recording.sample(7, 16, &[KERNEL, KERNEL_CODE + 0x40, USER_DEFERRED, 41]);
    recording.deferred(8, 41, &[USER, 0x8100]);
    // Interrupted in user space.
    recording.sample(7, 32, &[USER_DEFERRED, 42]);
    recording.deferred(7, 42, &[USER, 0x7200, 0x7101]);
    recording.write(&dir);
    let (stacks, line, _) = folded(&dir, &[]);
    assert_eq!(
        stacks,
        "eight;[unknown <8000>] 4\n\
         eight;[unknown <8100>];f2_[k] 2\n\
         seven;[unknown <7101>];[unknown <7000>];f1_[k] 1\n\
         seven;[unknown <7101>];[unknown <7000>];f3_[k] 8\n\
         seven;[unknown <7101>];[unknown <7000>];f4_[k] 16\n\
         seven;[unknown <7101>];[unknown <7200>] 32\n"
    );
    assert!(!line.contains("deferred"), "{line}");
}

#[test]
fn what_has_no_user_part_is_marked_and_counted() {
    let dir = Dir::new();
    let mut recording = Recording::new();
    // Its record was lost: the thread has another cookie by now.
    recording.sample(7, 1, &[KERNEL, KERNEL_CODE + 0x10, USER_DEFERRED, 41]);
    recording.sample(7, 2, &[KERNEL, KERNEL_CODE + 0x20, USER_DEFERRED, 42]);
    recording.deferred(7, 42, &[USER, 0x7000]);
    // The thread ends in the kernel.
    recording.sample(8, 4, &[KERNEL, KERNEL_CODE + 0x30, USER_DEFERRED, 43]);
    recording.exit(8);
    // The recording ends.
    recording.sample(7, 8, &[USER_DEFERRED, 44]);
    recording.sample(7, 16, &[KERNEL, KERNEL_CODE + 0x40, USER_DEFERRED]);
    recording.write(&dir);
    let (stacks, line, status) = folded(&dir, &["--strict"]);
    assert_eq!(
        stacks,
        "eight;[truncated];f3_[k] 4\n\
         seven;[truncated];[unknown <9999>] 8\n\
         seven;[truncated];f1_[k] 1\n\
         seven;[unknown <7000>];f2_[k] 2\n\
         seven;f4_[k] 16\n"
    );
    assert!(line.contains(" · 3 without their deferred user stacks"), "{line}");
    assert_eq!(status, 3, "{line}");
}
