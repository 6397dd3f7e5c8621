//! Tests the kernel's own file: a small one, linked at a kernel's address, and a recording of a
//! kernel that was moved.

use std::process::Command;

use bstr::ByteSlice;
use flamepipe::perf_data::write::{NewSample, Writer, chains_only};
use flamepipe::perf_data::{CpuMode, FileId, Mmap};
use object::{Object, ObjectSymbol};

use crate::harness::{Dir, cannot_run};

const KERNEL: &str = r#"
__asm__(".globl _text\n.text\n_text:\n nop\n");
volatile int state;
static inline __attribute__((always_inline)) void inlined_deep(void) { state += 7; __asm__ volatile("nop; nop; nop; nop"); }
static inline __attribute__((always_inline)) void inlined(void) { state++; inlined_deep(); }
__attribute__((noinline)) void do_work(void) { inlined(); state--; }
__attribute__((noinline)) void entry(void) { do_work(); state = 3; }
"#;

/// The address where it is linked, and how far the recorded kernel was moved.
const TEXT: u64 = 0xffff_ffff_8100_0000;
const MOVED: u64 = 0x0700_0000;

/// Builds it; the addresses of `do_work` and its end, and of `entry`.
fn build(dir: &Dir, test: &str) -> Option<(u64, u64, u64)> {
    let source = dir.write("kernel.c", KERNEL);
    let flags = "-O1 -g -ffreestanding -nostdlib -static -no-pie -fno-pie -fcf-protection=none -fno-asynchronous-unwind-tables";
    let mut cc = Command::new("cc");
    cc.args(flags.split(' ')).args(["-mcmodel=kernel", "-Wl,--build-id,-e,entry"]);
    cc.arg(format!("-Wl,-Ttext={TEXT:#x}")).arg(source).arg("-o").arg(dir.path("vmlinux"));
    match cc.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            cannot_run(test, &output.stderr.to_str_lossy());
            return None;
        }
        Err(error) => {
            cannot_run(test, &format!("no cc: {error}"));
            return None;
        }
    }
    let bytes = std::fs::read(dir.path("vmlinux")).unwrap();
    let elf = object::File::parse(&*bytes).unwrap();
    let symbol = |name: &str| elf.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap();
    let work = symbol("do_work");
    Some((work.address(), work.address() + work.size(), symbol("entry").address()))
}

/// A recording of samples in every byte of `do_work`, called by `entry`.
fn recording(dir: &Dir, (start, end, entry): (u64, u64, u64), build_id: Option<&[u8]>) {
    let mut attr = vec![0u8; 112];
    attr[0] = 1; // software
    attr[4] = 112;
    attr[40..48].copy_from_slice(&(1u64 << 18).to_le_bytes()); // sample_id_all
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.event(b"cpu-clock", &chains_only(&attr), &[1]).unwrap();
    let mmap = Mmap {
        pid: u32::MAX,
        tid: 0,
        start: TEXT + MOVED,
        len: 0x100_0000,
        offset: TEXT + MOVED,
        mode: CpuMode::Kernel,
        path: b"[kernel.kallsyms]_text".into(),
        file: FileId::Path,
        prot: None,
        flags: None,
        executable: true,
    };
    writer.mmap2(&mmap, 1).unwrap();
    writer.comm(7, 7, b"web", 1).unwrap();
    for ip in start..end {
        const KERNEL: u64 = -128i64 as u64;
        let chain = [KERNEL, ip + MOVED, entry + 1 + MOVED];
        let sample = NewSample {
            misc: 1,
            id: 1,
            ip: ip + MOVED,
            pid: 7,
            tid: 7,
            time: 1_000_000_000 + ip - start,
            period: 1,
            chain: &chain,
            ..NewSample::default()
        };
        writer.sample(&sample).unwrap();
    }
    if let Some(id) = build_id {
        writer.build_id(1, u32::MAX, id, b"[kernel.kallsyms]").unwrap();
    }
    dir.write("perf.data", std::mem::take(writer.get_mut()));
}

#[test]
fn the_kernels_own_file_names_its_functions_and_inlines() {
    let dir = Dir::new();
    let test = "the_kernels_own_file_names_its_functions_and_inlines";
    if !cfg!(target_arch = "x86_64") {
        return cannot_run(test, "its code model is that of x86-64");
    }
    let Some(places) = build(&dir, test) else { return };
    recording(&dir, places, None);
    let fold = |more: &[&str]| {
        dir.cmd("fg-fold").arg("--no-unit").args(more).arg("perf.data").run().success()
    };
    let plain = fold(&["-q", "--vmlinux", "vmlinux", "--no-inline"]).stdout;
    assert_eq!(plain, format!("web;entry;do_work {}\n", places.1 - places.0));
    let perf = dir.cmd("perf").args(["script", "--no-inline", "-k", "vmlinux", "-i", "perf.data"]);
    let perfs = perf.run();
    if perfs.stdout.is_empty() {
        cannot_run(test, &perfs.everything());
    } else {
        assert_eq!(
            dir.cmd("fg-fold").args(["-q", "--no-unit"]).stdin(&perfs.stdout).stdout(),
            plain,
            "{}",
            perfs.stdout
        );
    }
    let whole = fold(&["-q", "--vmlinux", "vmlinux"]).stdout;
    for stack in [
        "web;entry;do_work ",
        "web;entry;do_work;inlined ",
        "web;entry;do_work;inlined;inlined_deep ",
    ] {
        assert!(whole.lines().any(|line| line.starts_with_str(stack)), "{stack}: {whole}");
    }

    // It is found by its build id, and not used if that differs.
    let bytes = std::fs::read(dir.path("vmlinux")).unwrap();
    let elf = object::File::parse(&*bytes).unwrap();
    let id = elf.build_id().unwrap().unwrap();
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    dir.write(&format!("debug/.build-id/{}/{}.debug", &hex[..2], &hex[2..]), &bytes);
    recording(&dir, places, Some(id));
    assert_eq!(fold(&["-q", "--debug-dir", "debug"]).stdout, whole);
    recording(&dir, places, Some(&[7; 20]));
    let other = fold(&["--vmlinux", "vmlinux"])
        .says("so their names were not used: [kernel.kallsyms], vmlinux");
    assert!(!other.stdout.contains_str("do_work"), "{}", other.everything());
}
