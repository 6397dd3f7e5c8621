//! Reads the identity of a record: its thread, time, event and CPU.
//!
//! A sample has these fields near its start. With `sample_id_all`, every other record of the kernel
//! ends in `struct sample_id`: those of TID, TIME, ID, STREAM_ID, CPU and IDENTIFIER that samples
//! have too. Its length is known, so it is found from the end.

use super::attr::{Attr, sample_type as has};
use super::bytes::{Cursor, Endian};
use super::head::Head;
use super::sample::RawSample;

/// The thread, time, event and CPU of a record. A field that the event did not ask for is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleId {
    /// The process.
    pub pid: Option<u32>,
    /// The thread.
    pub tid: Option<u32>,
    /// When, in nanoseconds of the recording's clock.
    pub time: Option<u64>,
    /// The event's id.
    pub id: Option<u64>,
    /// The CPU.
    pub cpu: Option<u32>,
}

const TRAILING: u64 = has::TID | has::TIME | has::ID | has::STREAM_ID | has::CPU | has::IDENTIFIER;

impl SampleId {
    pub(super) fn of_sample(sample: &RawSample<'_>) -> SampleId {
        let &RawSample { pid, tid, time, id, cpu, .. } = sample;
        SampleId { pid, tid, time, id, cpu }
    }

    /// Splits the body of a record from the identity at its end.
    pub(super) fn split<'a>(
        body: &'a [u8],
        endian: Endian,
        attr: &Attr,
    ) -> Option<(&'a [u8], SampleId)> {
        let mut id = SampleId::default();
        if !attr.sample_id_all() {
            return Some((body, id));
        }
        let length = 8 * (attr.sample_type & TRAILING).count_ones() as usize;
        let (body, trailer) = body.split_at(body.len().checked_sub(length)?);
        let mut c = Cursor::new(trailer, endian);
        if attr.has(has::TID) {
            id.pid = Some(c.u32()?);
            id.tid = Some(c.u32()?);
        }
        id.time = c.u64_if(attr.has(has::TIME))?;
        id.id = c.u64_if(attr.has(has::ID))?;
        c.u64_if(attr.has(has::STREAM_ID))?;
        if attr.has(has::CPU) {
            id.cpu = Some(c.u32()?);
            c.skip(4)?;
        }
        id.id = c.u64_if(attr.has(has::IDENTIFIER))?.or(id.id);
        Some((body, id))
    }
}

// The functions below read the id or the time alone. All events of a recording have the id in the
// same place, because otherwise their samples could not be told apart. The time is read once the
// event is known.

/// The word at byte `at` of a record.
fn word(bytes: &[u8], endian: Endian, at: Option<usize>) -> Option<u64> {
    Some(endian.u64(*bytes.get(at?..)?.first_chunk()?))
}

/// Where the field `bit` starts in a sample that has it, behind those of `fields` that it has.
fn before(attr: &Attr, bit: u64, fields: u64) -> Option<usize> {
    attr.has(bit).then(|| Head::SIZE + 8 * (attr.sample_type & fields).count_ones() as usize)
}

/// Where the field `bit` starts in another record that has it, before those of `fields` that it
/// has.
fn from_end(bytes: &[u8], attr: &Attr, bit: u64, fields: u64) -> Option<usize> {
    let words = 1 + (attr.sample_type & fields).count_ones() as usize;
    let at = bytes.len().checked_sub(8 * words)?;
    (attr.sample_id_all() && attr.has(bit) && at >= Head::SIZE).then_some(at)
}

/// The event's id in a SAMPLE record.
pub(super) fn id_of_sample(bytes: &[u8], endian: Endian, attr: &Attr) -> Option<u64> {
    let fields = has::IP | has::TID | has::TIME | has::ADDR;
    let at = before(attr, has::IDENTIFIER, 0).or_else(|| before(attr, has::ID, fields));
    word(bytes, endian, at)
}

pub(super) fn time_of_sample(bytes: &[u8], endian: Endian, attr: &Attr) -> Option<u64> {
    let at = before(attr, has::TIME, has::IDENTIFIER | has::IP | has::TID);
    word(bytes, endian, at)
}

/// The event's id in another record.
pub(super) fn id_of_other(bytes: &[u8], endian: Endian, attr: &Attr) -> Option<u64> {
    let at = from_end(bytes, attr, has::IDENTIFIER, 0)
        .or_else(|| from_end(bytes, attr, has::ID, has::STREAM_ID | has::CPU));
    word(bytes, endian, at)
}

/// The time of another record.
pub(super) fn time_of_other(bytes: &[u8], endian: Endian, attr: &Attr) -> Option<u64> {
    let behind = has::ID | has::STREAM_ID | has::CPU | has::IDENTIFIER;
    word(bytes, endian, from_end(bytes, attr, has::TIME, behind))
}
