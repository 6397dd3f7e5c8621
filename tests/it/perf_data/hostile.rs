//! Reads recordings that are cut or have changed bytes: without a panic, a hang, or more memory
//! than their size justifies.

use std::fs::{self, File};
use std::io::Cursor;

use flamepipe::perf_data::{Reader, Record};
use flamepipe::tally::Tally;
use proptest::prelude::*;

use super::{perf_record, recorded};
use crate::harness::{Dir, processor_time};

/// Reads what may be anything to its end; answers how many records came out.
fn survive(bytes: &[u8]) -> usize {
    let begin = processor_time();
    let whole = Reader::bytes(bytes.to_vec(), "hostile").ok();
    let stream = Reader::stream(Box::new(Cursor::new(bytes.to_vec())), "hostile").ok();
    let mut counts = Vec::new();
    for mut reader in [whole, stream].into_iter().flatten() {
        let mut count = 0;
        while let Some(item) = reader.next_item().unwrap() {
            count += 1;
            if let Record::Sample(sample) = item.record {
                assert!(item.event.is_some());
                let _ = sample.callchain.iter().flat_map(|chain| chain.iter()).max();
                let _ = sample.read.iter().flat_map(|read| read.values()).count();
                let _ = sample.branches.iter().flat_map(|branches| branches.iter()).count();
            }
        }
        let mut tally = Tally::default();
        reader.tally(&mut tally);
        assert!(reader.warnings().len() <= 8);
        counts.push(count);
    }
    assert!(processor_time() - begin < 10.0, "{} bytes took too long", bytes.len());
    assert!(
        counts.windows(2).all(|pair| pair[0] == pair[1]),
        "{counts:?}: whole and stream differ"
    );
    counts.pop().unwrap_or(0)
}

/// A file, a stream and a compressed file, each small.
fn small_recordings(test: &str) -> Option<Vec<Vec<u8>>> {
    let mut recordings = Vec::new();
    for way in [
        &["-g"][..],
        &["--call-graph", "dwarf,1024"],
        &["-z", "-g"],
        &["-e", "{cpu-clock,task-clock}:S"],
    ] {
        let dir = Dir::new();
        let path = perf_record(test, &dir, way, "ls -R /usr/include > /dev/null")?;
        recordings.push(fs::read(path).unwrap());
        let path = dir.path("stream");
        let mut perf = dir.cmd("perf").args(["record", "-q", "-o", "-"]).args(way);
        perf.command
            .args(["sh", "-c", "ls -R /usr/include > /dev/null"])
            .stdout(File::create(&path).unwrap());
        recordings.push(fs::read(recorded(test, perf.command, &path)?).unwrap());
    }
    Some(recordings)
}

#[test]
fn a_recording_cut_anywhere_is_read_as_far_as_it_goes() {
    for bytes in small_recordings("perf_data::cut").into_iter().flatten() {
        let whole = survive(&bytes);
        let mut before = 0;
        // Ascending: the last page may start within the last 100 bytes.
        let end = bytes.len().saturating_sub(100);
        for cut in (0..end).step_by(4096).chain(end..bytes.len()) {
            let count = survive(&bytes[..cut]);
            assert!(
                count >= before && count <= whole,
                "{cut} of {} bytes: {before} <= {count} <= {whole}",
                bytes.len()
            );
            before = count;
        }
        for cut in 0..300.min(bytes.len()) {
            survive(&bytes[..cut]);
        }
    }
}

#[test]
fn flipped_bytes_neither_panic_nor_hang_nor_swell() {
    let Some(recordings) = small_recordings("perf_data::flips") else { return };
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    // Half of the flips hit the first KB, where the header and the attrs are.
    let at = prop_oneof![0usize..1024, any::<usize>()];
    let flips = prop::collection::vec((at, any::<u8>()), 1..40);
    let strategy = (0..recordings.len(), flips);
    runner
        .run(&strategy, |(which, flips)| {
            let mut bytes = recordings[which].clone();
            for (at, byte) in flips {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            let peak = peak::of(|| survive(&bytes));
            // Two copies of the input, two windows each, the queue, and zstd's own; zstd's pages
            // are not in here.
            let warranted = 40 * bytes.len() + (8 << 20);
            prop_assert!(peak < warranted, "{peak} bytes of memory for {}", bytes.len());
            Ok(())
        })
        .unwrap();
}

/// How much memory a piece of code holds at most.
mod peak {
    #![expect(unsafe_code, reason = "an allocator is")]

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local! {
        static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
    }

    struct Counting;

    fn count(bytes: isize) {
        let _ = HELD.try_with(|held| {
            let now = held.get().0 + bytes;
            held.set((now, held.get().1.max(now)));
        });
    }

    // SAFETY: everything is passed on to the system's allocator unchanged.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count(layout.size() as isize);
            // SAFETY: the caller's promise is passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            count(-(layout.size() as isize));
            // SAFETY: as above.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[global_allocator]
    static COUNTING: Counting = Counting;

    /// The most bytes that this thread held at once while `run` ran.
    pub(super) fn of<T>(run: impl FnOnce() -> T) -> usize {
        HELD.set((0, 0));
        run();
        HELD.get().1.try_into().unwrap()
    }
}
