//! Reads recordings that are built by hand in both byte orders, which must yield the same records.

use super::sample::{Branch, RawSample, Value};
use super::*;
use crate::tally::{Loss, Tally};

/// Writes numbers in one byte order.
#[derive(Clone)]
struct Build {
    endian: Endian,
    bytes: Vec<u8>,
}

impl Build {
    fn new(endian: Endian) -> Build {
        Build { endian, bytes: Vec::new() }
    }

    /// A number of `size` bytes.
    fn number(mut self, size: usize, value: u64) -> Build {
        match self.endian {
            Endian::Little => self.bytes.extend(&value.to_le_bytes()[..size]),
            Endian::Big => self.bytes.extend(&value.to_be_bytes()[8 - size..]),
        }
        self
    }

    fn u16(self, value: u16) -> Build {
        self.number(2, value.into())
    }

    fn u32(self, value: u32) -> Build {
        self.number(4, value.into())
    }

    fn u64s(self, values: impl IntoIterator<Item = u64>) -> Build {
        values.into_iter().fold(self, |build, value| build.number(8, value))
    }

    fn raw(mut self, bytes: &[u8]) -> Build {
        self.bytes.extend(bytes);
        self
    }

    /// Text with a NUL, padded to words.
    fn text(mut self, text: &str) -> Build {
        self.bytes.extend(text.as_bytes());
        let padded = (self.bytes.len() + 1).next_multiple_of(8);
        self.bytes.resize(padded, 0);
        self
    }

    /// A record whose body `body` builds.
    fn record(self, kind: u32, misc: u16, body: impl FnOnce(Build) -> Build) -> Build {
        let body = body(Build::new(self.endian)).bytes;
        self.u32(kind).u16(misc).u16(8 + body.len() as u16).raw(&body)
    }

    /// An attr of 112 bytes with these fields and the given bits of the bit field.
    fn attr(self, config: u64, sample_type: u64, read_format: u64, flags: &[usize]) -> Build {
        let mut bits = [0u8; 8];
        for bit in flags {
            bits[bit / 8] |= match self.endian {
                Endian::Little => 1 << (bit % 8),
                Endian::Big => 0x80 >> (bit % 8),
            };
        }
        self.u32(1)
            .u32(112)
            .u64s([config, 4000, sample_type, read_format])
            .raw(&bits)
            .u64s([0, 0, 0])
            .u64s([1 << 17 | 1 << 3, 0b1010_0001])
            .u32(16)
            .u32(0)
            .u64s([0b11])
            .u64s([0])
    }

    /// The end of records other than samples: tid, time, id, cpu, identifier.
    fn id(self, tid: u32, time: u64, id: u64) -> Build {
        self.u32(7).u32(tid).u64s([time, id, 3]).u32(1).u32(0).u64s([id])
    }
}

/// Every field but WEIGHT_STRUCT, which excludes WEIGHT.
const ALL: u64 = (1 << 24) - 1;
const SAMPLE_ID_ALL: usize = 18;
const FREQ: usize = 10;

/// A sample with every field there is.
fn full_sample(build: Build, time: u64, id: u64) -> Build {
    build.record(kind::SAMPLE, 2, |b| {
        b.u64s([id, 0x4000])
            .u32(7)
            .u32(8)
            .u64s([time, 0xadd, id, 33])
            .u32(1)
            .u32(0)
            .u64s([1000])
            .u64s([2, 50, 40]) // a group of two: enabled, running
            .u64s([11, 101, 0, 22, 102, 5])
            .u64s([3, sample::CONTEXT_USER, 0x4000, 0x5000])
            .u32(4)
            .raw(b"rawr")
            .u64s([1, 9, 0xa, 0xb, 0xc])
            .u64s([2, 1, 2, 3])
            .u64s([16])
            .raw(b"0123456789abcdef")
            .u64s([10])
            .u64s([77, 88, 99])
            .u64s([1, 4, 5])
            .u64s([0xf00, 0xc6, 4096, 8192])
            .u64s([8])
            .raw(b"auxiliar")
    })
}

fn records(build: Build) -> Build {
    let build = build
        .record(kind::COMM, 1 << 13 | 2, |b| b.u32(7).u32(8).text("comm").id(8, 50, 101))
        .record(kind::MMAP, 2, |b| {
            b.u32(7).u32(8).u64s([0x1000, 0x2000, 0]).text("/bin/a").id(8, 20, 101)
        })
        .record(kind::MMAP2, 2, |b| {
            let b = b.u32(7).u32(8).u64s([0x1000, 0x2000, 0]).u32(8).u32(1);
            b.u64s([99, 3]).u32(5).u32(2).text("/bin/b c").id(8, 30, 102)
        })
        .record(kind::MMAP2, 1 << 14 | 2, |b| {
            let b = b.u32(7).u32(8).u64s([0x1000, 0x2000, 0]).raw(&[4, 0, 0, 0]);
            b.raw(b"idididididididididid").u32(5).u32(2).text("/bin/b").id(8, 31, 102)
        });
    full_sample(full_sample(build, 60, 102), 10, 101)
        .record(kind::FORK, 0, |b| b.u32(9).u32(7).u32(9).u32(8).u64s([70]).id(9, 70, 101))
        .record(kind::EXIT, 0, |b| b.u32(9).u32(7).u32(9).u32(8).u64s([71]).id(9, 71, 101))
        .record(kind::LOST, 0, |b| b.u64s([101, 5]).id(0, 72, 101))
        .record(kind::LOST_SAMPLES, 0, |b| b.u64s([4]).id(0, 73, 101))
        .record(kind::TRACING_DATA, 0, |b| b.u32(16).u32(0))
        .raw(&[0xff; 16])
        .record(kind::AUXTRACE, 0, |b| b.u64s([24, 0, 0]).u32(0).u32(0).u32(0).u32(0))
        .raw(&[0xff; 24])
        .record(kind::SWITCH_CPU_WIDE, 1 << 13, |b| b.u32(1).u32(2).id(8, 80, 101))
        .record(kind::KSYMBOL, 0, |b| {
            b.u64s([0xf0]).u32(64).u16(1).u16(1).text("bpf").id(0, 81, 101)
        })
        .record(kind::CGROUP, 0, |b| b.u64s([6]).text("/x").id(0, 82, 101))
        .record(kind::THROTTLE, 0, |b| b.u64s([83, 1, 1]).id(0, 83, 101))
        .record(kind::CALLCHAIN_DEFERRED, 0, |b| b.u64s([5, 2, 0xa, 0xb]).id(0, 84, 101))
        .record(kind::NAMESPACES, 0, |b| b.u64s([0, 0]).id(0, 85, 101))
        .record(kind::SAMPLE, 0, |b| b.u64s([999])) // of no event
        .record(kind::COMM, 0, |b| b.u32(1)) // too short
        .record(kind::FINISHED_ROUND, 0, |b| b)
}

const READ_FORMAT: u64 = 0b11111;

fn pipe(endian: Endian) -> Vec<u8> {
    let b = Build::new(endian).u64s([0x3245_4c49_4652_4550, 16]);
    let b = b.record(kind::HEADER_ATTR, 0, |b| {
        b.attr(0, ALL, READ_FORMAT, &[SAMPLE_ID_ALL, FREQ]).u64s([101])
    });
    let b = b.record(kind::HEADER_ATTR, 0, |b| {
        b.attr(1, ALL, READ_FORMAT, &[SAMPLE_ID_ALL, FREQ]).u64s([102, 103])
    });
    let b = b.record(kind::EVENT_UPDATE, 0, |b| b.u64s([2, 103]).text("named"));
    let b = b.record(kind::HEADER_FEATURE, 0, |b| b.u64s([6]).u32(8).raw(b"s390x\0\0\0"));
    let b = b.record(kind::HEADER_BUILD_ID, 1 << 15, |b| {
        b.u32(u32::MAX).raw(&[1; 20]).raw(&[16, 0, 0, 0]).text("/bin/a")
    });
    records(b).bytes
}

fn file(endian: Endian) -> Vec<u8> {
    let attr = |config| Build::new(endian).attr(config, ALL, READ_FORMAT, &[SAMPLE_ID_ALL, FREQ]);
    let entry = 112 + 16;
    let ids = 104 + 2 * entry;
    let data = ids + 24;
    let records = records(Build::new(endian)).bytes;
    let features = data + records.len() as u64;
    let desc = Build::new(endian).u32(2).u32(112);
    let desc = desc.raw(&attr(0).bytes).u32(1).u32(16).raw(b"cpu-clock\0\0\0\0\0\0\0").u64s([101]);
    let desc = desc.raw(&attr(1).bytes).u32(2).u32(8).raw(b"named\0\0\0").u64s([102, 103]).bytes;
    Build::new(endian)
        .u64s([0x3245_4c49_4652_4550, 104, entry, 104, 2 * entry, data, records.len() as u64, 0, 0])
        .u64s([1 << 6 | 1 << 12, 0, 0, 0])
        .raw(&attr(0).u64s([ids, 8]).bytes)
        .raw(&attr(1).u64s([ids + 8, 16]).bytes)
        .u64s([101, 102, 103])
        .raw(&records)
        .u64s([features + 32, 12, features + 44, desc.len() as u64])
        .u32(8)
        .raw(b"s390x\0\0\0")
        .raw(&desc)
        .bytes
}

/// Everything that comes out, as text.
fn dump(bytes: Vec<u8>) -> (Vec<String>, Reader) {
    let mut reader = Reader::bytes(bytes, "built").unwrap();
    let mut lines = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        let event = item.event.map(|event| event.name.clone());
        lines.push(format!("{:?} {event:?} {:?}", item.id.time, item.record));
    }
    (lines, reader)
}

#[test]
fn both_byte_orders_and_both_modes_say_the_same() {
    let (lines, reader) = dump(pipe(Endian::Little));
    assert_eq!(lines.len(), 16);
    for (bytes, what) in [
        (pipe(Endian::Big), "big-endian pipe"),
        (file(Endian::Little), "file"),
        (file(Endian::Big), "big-endian file"),
    ] {
        assert!(sniff(&bytes));
        let (others, other) = dump(bytes);
        assert_eq!(others, lines, "{what}");
        assert_eq!(other.events(), reader.events(), "{what}");
        assert_eq!(other.features().arch, reader.features().arch, "{what}");
        assert_eq!(other.warnings(), [""; 0], "{what}");
    }
    assert!(lines.is_sorted_by_key(|line| {
        line.trim_start_matches("Some(").split(')').next().unwrap().parse::<u64>().unwrap()
    }));
    assert_eq!(
        reader.events().iter().map(|e| e.name.to_string()).collect::<Vec<_>>(),
        ["cpu-clock", "named"]
    );
    assert_eq!(reader.features().arch, Some("s390x".into()));
    assert_eq!(reader.features().build_ids[0].id, [1; 16]);
    let mut tally = Tally::default();
    reader.tally(&mut tally);
    let items = |loss| tally.lost(loss).items;
    assert_eq!((items(Loss::Lost), items(Loss::Odd), items(Loss::CutShort)), (5, 2, 0));
}

#[test]
fn every_field_of_a_sample() {
    let mut reader = Reader::bytes(pipe(Endian::Big), "built").unwrap();
    let mut shares = Shares::default();
    let mut periods = Vec::new();
    let first = loop {
        let item = reader.next_item().unwrap().unwrap();
        shares.of(&item, |event, period| periods.push((event.index, period)));
        if let (Record::Sample(sample), Some(10)) = (item.record, item.id.time) {
            break check(&sample);
        }
    };
    assert_eq!(first, Some(()));
    assert_eq!(periods, [(0, 11), (1, 22)]);
}

fn check(s: &RawSample<'_>) -> Option<()> {
    assert_eq!((s.ip, s.pid, s.tid, s.addr), (Some(0x4000), Some(7), Some(8), Some(0xadd)));
    assert_eq!((s.id, s.cpu, s.period), (Some(101), Some(1), Some(1000)));
    let read = s.read?;
    let value = |value, id, lost| Value { value, id: Some(id), lost: Some(lost) };
    assert!(read.values().eq([value(11, 101, 0), value(22, 102, 5)]));
    assert!(s.callchain?.iter().eq([sample::CONTEXT_USER, 0x4000, 0x5000]));
    assert!(s.branches?.iter().eq([Branch { from: 0xa, to: 0xb, flags: 0xc }]));
    let regs = s.regs_user?;
    assert_eq!(regs.mask, 1 << 0 | 1 << 5 | 1 << 7);
    assert!(regs.values.iter().eq([1, 2, 3]));
    assert_eq!((s.stack_user?.bytes, s.stack_user?.reserved), (&b"0123456789"[..], 16));
    Some(())
}

#[test]
fn counters_outside_of_a_group_have_their_times_in_the_middle() {
    let b = Build::new(Endian::Little).u64s([500, 50, 40, 101, 3]);
    let attr = Attr { sample_type: sample_type::READ, read_format: 0b10111, ..Attr::default() };
    let sample = RawSample::parse(Cursor::new(&b.bytes, Endian::Little), &attr).unwrap();
    let read = sample.read.unwrap();
    assert!(read.values().eq([Value { value: 500, id: Some(101), lost: Some(3) }]));
}

#[test]
fn compressed_records_straddle_their_pieces() {
    let plain = records(Build::new(Endian::Little)).bytes;
    // A record with a payload behind it cannot be compressed.
    let start = plain.windows(4).position(|w| w == 66u32.to_le_bytes()).unwrap();
    let packed = zstd::encode_all(&plain[..start], 3).unwrap();
    let header = Build::new(Endian::Little).u64s([0x3245_4c49_4652_4550, 16]);
    let attrs = |b: Build| {
        let b = b.record(kind::HEADER_ATTR, 0, |b| {
            b.attr(0, ALL, READ_FORMAT, &[SAMPLE_ID_ALL, FREQ]).u64s([101])
        });
        b.record(kind::HEADER_ATTR, 0, |b| {
            b.attr(1, ALL, READ_FORMAT, &[SAMPLE_ID_ALL, FREQ]).u64s([102, 103])
        })
    };
    let (lines, _) = dump(attrs(header.clone()).raw(&plain[..start]).bytes);
    let mut build = attrs(header);
    for (at, piece) in packed.chunks(40).enumerate() {
        build = if at % 2 == 0 {
            build.record(kind::COMPRESSED, 0, |b| b.raw(piece))
        } else {
            build.record(kind::COMPRESSED2, 0, |b| {
                b.u64s([piece.len() as u64]).raw(piece).raw(&[0; 3])
            })
        };
    }
    let (unpacked, reader) = dump(build.bytes.clone());
    assert_eq!(unpacked, lines);
    assert_eq!(reader.warnings(), [""; 0]);

    // A broken first piece makes the others unreadable. One warning says so, and each is counted.
    let magic = build.bytes.windows(4).position(|window| window == &packed[..4]).unwrap();
    build.bytes[magic] ^= 0xff;
    let (none, reader) = dump(build.bytes);
    assert_eq!((none.len(), reader.warnings().len()), (0, 1), "{:?}", reader.warnings());
    let mut tally = Tally::default();
    reader.tally(&mut tally);
    assert_eq!(tally.lost(Loss::CutShort).items, 1);
    assert_eq!(tally.lost(Loss::Odd).items, packed.chunks(40).count() as u64 - 1);
}
