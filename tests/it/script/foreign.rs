//! Recordings of another machine: neither its kernel nor its programs have the names of this one's.

use bstr::ByteSlice;
use flamepipe::perf_data::write::{NewSample, Writer, chains_only};
use flamepipe::perf_data::{CpuMode, FileId, Mmap};

use crate::harness::{Dir, bin};

/// The machine of a recording, as the recording describes it.
struct Machine {
    hostname: String,
    release: String,
    arch: &'static str,
}

impl Machine {
    fn here() -> Machine {
        let read = |what: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/kernel/{what}")).unwrap();
            text.trim_end().to_owned()
        };
        let hostname = read("hostname");
        let release = read("osrelease");
        Machine { hostname, release, arch: std::env::consts::ARCH }
    }
}

/// A recording, without build ids, of one of our programs, which calls into the kernel.
fn recording(dir: &Dir, machine: &Machine, inode: u64) {
    let mut attr = vec![0u8; 112];
    attr[0] = 1; // software
    attr[4] = 112;
    attr[40..48].copy_from_slice(&(1u64 << 18).to_le_bytes()); // sample_id_all
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.event(b"cpu-clock", &chains_only(&attr), &[1]).unwrap();
    writer.feature(3, machine.hostname.as_bytes()).unwrap();
    writer.feature(4, machine.release.as_bytes()).unwrap();
    writer.feature(6, machine.arch.as_bytes()).unwrap();
    writer.comm(7, 7, b"program", 1).unwrap();
    let path = bin("fg-fold");
    let mmap = Mmap {
        pid: 7,
        tid: 7,
        start: 0x10000,
        len: 0x4000_0000,
        offset: 0,
        file: FileId::Inode { major: 8, minor: 1, inode, generation: 0 },
        prot: Some(5),
        flags: Some(2),
        executable: true,
        mode: CpuMode::User,
        path: path.as_os_str().as_encoded_bytes().into(),
    };
    writer.mmap2(&mmap, 1).unwrap();
    let kernel = 128u64.wrapping_neg();
    let user = 512u64.wrapping_neg();
    let kernels = 0xffff_ffff_8110_0000;
    let chain = [kernel, kernels, user, 0x0080_0000, 0x0090_0000];
    for time in [100, 200] {
        let sample = NewSample {
            misc: 1,
            id: 1,
            ip: kernels,
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
    dir.write("x", writer.get_mut());
}

#[test]
fn another_machines_kernel_and_programs_have_no_names_of_ours() {
    let dir = Dir::new();
    let here = Machine::here;
    let elsewhere = [
        Machine { hostname: "some-other-machine".into(), ..here() },
        Machine {
            arch: if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" },
            ..here()
        },
    ];
    for machine in elsewhere {
        recording(&dir, &machine, 1);
        let folded = dir.cmd("fg-fold").args(["--strict", "x"]).run().code(3);
        let folded = folded.says("so their names were not used: [kernel.kallsyms]");
        assert_eq!(
            folded.stdout,
            "# unit: ns 0\nprogram;[fg-fold];[fg-fold];[[kernel.kallsyms]] 2\n",
            "{}",
            folded.everything()
        );
        let named = folded.stderr.lines().filter(|line| line.contains_str("/fg-fold"));
        assert_eq!(named.count(), 1, "{}", folded.everything());
    }
}

#[test]
fn another_kernel_of_this_machine_has_no_names_of_this_one() {
    let dir = Dir::new();
    let older = Machine { release: "2.6.32".into(), ..Machine::here() };
    for (machine, options) in [(older, &[][..]), (Machine::here(), &["--symfs", "."])] {
        recording(&dir, &machine, 0);
        let folded = dir.cmd("fg-fold").args(["--strict", "x"]).args(options).run().code(3);
        let folded = folded.says("so their names were not used: [kernel.kallsyms]");
        assert!(folded.stdout.contains_str(";[[kernel.kallsyms]] 2"), "{}", folded.everything());
    }
}
