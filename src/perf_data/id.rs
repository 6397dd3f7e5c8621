//! Whose a record is: the identity that samples carry in front and other records at their end.
//!
//! With `sample_id_all`, every record of the kernel but SAMPLE ends in `struct sample_id`: those of TID, TIME, ID,
//! STREAM_ID, CPU and IDENTIFIER that samples have too. As its length is known, it is found from the end.

use super::attr::{Attr, sample_type as has};
use super::bytes::{Cursor, Endian};
use super::head::Head;
use super::sample::RawSample;

/// The thread, time, event and CPU of a record, as far as told.
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
    /// The id of the file descriptor.
    pub stream_id: Option<u64>,
    /// The CPU.
    pub cpu: Option<u32>,
}

const TRAILING: u64 = has::TID | has::TIME | has::ID | has::STREAM_ID | has::CPU | has::IDENTIFIER;

impl SampleId {
    pub(super) fn of_sample(sample: &RawSample<'_>) -> SampleId {
        let &RawSample { pid, tid, time, id, stream_id, cpu, .. } = sample;
        SampleId { pid, tid, time, id, stream_id, cpu }
    }

    /// The body without the identity at its end, and the identity.
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
            (id.pid, id.tid) = (Some(c.u32()?), Some(c.u32()?));
        }
        id.time = c.u64_if(attr.has(has::TIME))?;
        id.id = c.u64_if(attr.has(has::ID))?;
        id.stream_id = c.u64_if(attr.has(has::STREAM_ID))?;
        if attr.has(has::CPU) {
            id.cpu = Some(c.u32()?);
            c.skip(4)?;
        }
        id.id = c.u64_if(attr.has(has::IDENTIFIER))?.or(id.id);
        Some((body, id))
    }
}

/// Where in a record the event's id is and, once the event is known, its time; without reading all of it.
///
/// All events of a recording have the id in the same place, or their samples could not be told apart.
fn word(bytes: &[u8], endian: Endian, at: Option<usize>) -> Option<u64> {
    Some(endian.u64(*bytes.get(at?..)?.first_chunk()?))
}

/// How many words of a sample come before the field `bit`, if the sample has that field.
fn before(attr: &Attr, bit: u64, fields: u64) -> Option<usize> {
    attr.has(bit).then(|| Head::SIZE + 8 * (attr.sample_type & fields).count_ones() as usize)
}

/// How far from the end of another record the field `bit` starts, where `fields` stand behind it.
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

/// The time of a SAMPLE record.
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
