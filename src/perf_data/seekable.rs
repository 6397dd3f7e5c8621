//! A recording as a file, made of one as a stream: where everything is stands at the start, as readers that know no streams want it.
//!
//! The layout is told in `header.rs`. The records stay as they are; those that only streams have, of events, features
//! and build ids, become sections.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::feature::number;
use super::header::{FILE_SIZE, PIPE_SIZE};
use super::record::kind;

/// Makes a file of the stream that was written to one, as perf writes files and other readers want them. Where there is no room for both it
/// stays a stream, which perf reads too. What is no regular file, or no stream of ours, is left as it is.
///
/// Fails where the file cannot be read or written; what was recorded is then lost, so it must not be one that the user had.
pub fn in_place(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut stream = match tempfile::tempfile_in(folder.unwrap_or(Path::new("."))) {
        Ok(stream) if path.metadata()?.is_file() => stream,
        _ => return Ok(()),
    };
    if io::copy(&mut File::open(path)?, &mut stream).is_err() {
        return Ok(());
    }
    stream.rewind()?;
    let mut out = File::options().write(true).truncate(true).open(path)?;
    let made = write(BufReader::new(&stream), BufWriter::new(&out));
    if !matches!(made, Ok(true)) {
        stream.rewind()?;
        out.set_len(0)?;
        out.rewind()?;
        io::copy(&mut stream, &mut out)?;
    }
    Ok(())
}

/// What a stream told of an event.
struct Event {
    attr: Vec<u8>,
    ids: Vec<u8>,
    name: Vec<u8>,
}

/// Writes what is in `stream`, in the machine's byte order, as a file to `out`, which must be empty. False, and nothing was written, if it is no
/// such stream.
///
/// Memory: a record. Fails where reading or writing does.
pub fn write(mut stream: impl Read, mut out: impl Write + Seek) -> io::Result<bool> {
    let mut start = [0; PIPE_SIZE as usize];
    stream.read_exact(&mut start)?;
    let (magic, size) = start.split_at(8);
    if magic != super::write::MAGIC.to_ne_bytes() || size != PIPE_SIZE.to_ne_bytes() {
        return Ok(false);
    }
    out.write_all(&[0; FILE_SIZE as usize])?;
    let (mut events, mut features) = (Vec::<Event>::new(), BTreeMap::<u64, Vec<u8>>::new());
    let (mut attrs, mut data) = (None, 0);
    let mut record = Vec::new();
    while next(&mut stream, &mut record)? {
        let body = record.get(8..).unwrap_or_default();
        match record.first_chunk().map(|word| u32::from_ne_bytes(*word)) {
            Some(kind::HEADER_ATTR) => events.push(event(body)),
            Some(kind::EVENT_UPDATE) => {
                let Some((id, name)) = body.get(8..).and_then(|rest| rest.split_at_checked(8))
                else {
                    continue;
                };
                let of = |event: &&mut Event| event.ids.chunks(8).any(|known| known == id);
                if let Some(event) = events.iter_mut().find(of) {
                    event.name = name.to_vec();
                }
            }
            Some(kind::HEADER_FEATURE) => {
                if let Some((&feature, content)) = body.split_first_chunk() {
                    features.insert(u64::from_ne_bytes(feature), content.to_vec());
                }
            }
            Some(kind::HEADER_BUILD_ID) => {
                features.entry(number::BUILD_ID).or_default().extend_from_slice(&record);
            }
            _ => {
                if attrs.is_none() {
                    attrs = Some(write_attrs(&events, &mut out)?);
                }
                out.write_all(&record)?;
                data += record.len() as u64;
            }
        }
    }
    let (attrs, attr_size) = match attrs {
        Some(attrs) => attrs,
        None => write_attrs(&events, &mut out)?,
    };
    features.insert(number::EVENT_DESC, describe(&events));
    let start = attrs.1 + attrs.0;
    let mut at = start + data + 16 * features.len() as u64;
    for content in features.values() {
        out.write_all(&words(&[at, content.len() as u64]))?;
        at += content.len() as u64;
    }
    features.values().try_for_each(|content| out.write_all(content))?;
    let mut bits = [0; 4];
    for feature in features.keys() {
        if let Some(word) = bits.get_mut((feature / 64) as usize) {
            *word |= 1 << (feature % 64);
        }
    }
    out.seek(SeekFrom::Start(8))?;
    out.write_all(&words(&[FILE_SIZE, attr_size, attrs.0, attrs.1, start, data, 0, 0]))?;
    out.write_all(&words(&bits))?;
    // Last: until here it is no recording.
    out.seek(SeekFrom::Start(0))?;
    out.write_all(magic)?;
    out.flush()?;
    Ok(true)
}

/// Reads a record; false at the end, and where the stream is cut.
fn next(stream: &mut impl Read, record: &mut Vec<u8>) -> io::Result<bool> {
    record.clear();
    stream.take(8).read_to_end(record)?;
    let Some(&[.., low, high]) = record.first_chunk::<8>() else { return Ok(false) };
    let size = u16::from_ne_bytes([low, high]);
    stream.take(u64::from(size).saturating_sub(8)).read_to_end(record)?;
    Ok(size >= 8 && record.len() == usize::from(size))
}

/// A `perf_event_attr`, which tells its own size in its second word, then ids.
fn event(body: &[u8]) -> Event {
    let size = body
        .get(4..8)
        .and_then(|word| word.first_chunk())
        .map_or(0, |word| u32::from_ne_bytes(*word));
    let (attr, ids) = body.split_at_checked(size as usize).unwrap_or((body, b""));
    Event { attr: attr.to_vec(), ids: ids.to_vec(), name: Vec::new() }
}

/// The ids of all events, then their attrs. Answers where these are, and the size of one.
fn write_attrs(events: &[Event], out: &mut impl Write) -> io::Result<((u64, u64), u64)> {
    events.iter().try_for_each(|event| out.write_all(&event.ids))?;
    let mut ids = FILE_SIZE;
    let size = events.first().map_or(0, |event| event.attr.len() as u64 + 16);
    for event in events {
        out.write_all(&event.attr)?;
        out.write_all(&words(&[ids, event.ids.len() as u64]))?;
        ids += event.ids.len() as u64;
    }
    Ok(((ids, size * events.len() as u64), size))
}

/// The feature that names the events.
fn describe(events: &[Event]) -> Vec<u8> {
    let number = |value: usize| (value as u32).to_ne_bytes();
    let size = events.first().map_or(0, |event| event.attr.len());
    let mut all = [number(events.len()), number(size)].concat();
    for Event { attr, ids, name } in events {
        all.extend_from_slice(attr);
        all.extend_from_slice(&number(ids.len() / 8));
        all.extend_from_slice(&number(name.len()));
        all.extend_from_slice(name);
        all.extend_from_slice(ids);
    }
    all
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
