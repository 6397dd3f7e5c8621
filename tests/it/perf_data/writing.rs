//! What we write, read again.

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
    writer.finished_round().unwrap();
    writer.sample(&NewSample { time: 500, id: 12, chain: &[0x99; 9000], ..sample }).unwrap();
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
    if Command::new("perf").arg("version").output().is_err() {
        return cannot_run("perf_data::write", "no perf");
    }
    let perfs = by_perf(&dir, &path, true);
    // Of chains that are longer than /proc/sys/kernel/perf_event_max_stack perf shows a part.
    let short = |lines: Vec<String>| {
        comparable(lines)
            .into_iter()
            .filter(|record| record.len() < 99 && !record[0].contains("BUILD_ID"))
    };
    assert!(short(ours).eq(short(perfs)));
}
