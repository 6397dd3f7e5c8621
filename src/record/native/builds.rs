//! Notes which build of each mapped file is recorded, so that a later reader does not take names
//! from a file that was built anew.
//!
//! The kernel's record of a map has the file's inode. If the file has a build id, we write that
//! instead, as `perf record --buildid-mmap` does: it says more, also on another machine, and the
//! record has room for only one of them. The kernel could write it itself (`attr.build_id`). But
//! then Linux, up to 6.18 at least, marks the maps of others who record the same process as if they
//! had ids, too, and perf 6.1 crashes on that.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use bstr::BString;

use super::sys;
use crate::perf_data::write::Writer;
use crate::perf_data::{Clock, Mmap};
use crate::symbols::BuildIds;
use crate::unwind::identity;

/// The most files whose build ids are written again at the end of a recording. Each record of a map
/// has them, too.
const MOST_TOLD: usize = 1 << 14;

pub(super) struct Builds {
    pub(super) clock: Clock,
    ids: BuildIds,
    /// Paths and their build ids.
    told: BTreeSet<(BString, Vec<u8>)>,
}

impl Builds {
    /// For a recording that begins now.
    pub(super) fn new() -> Builds {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        let clock = Clock { wall, time: sys::now() };
        Builds { clock, ids: BuildIds::default(), told: BTreeSet::new() }
    }

    /// The build id of the code that was mapped at `time`, if it has one and is still there.
    pub(super) fn of(&mut self, mmap: &Mmap<'_>, time: u64) -> Option<Vec<u8>> {
        if !mmap.executable {
            return None;
        }
        let mut file = identity(mmap);
        file.mapped = Some(self.clock.wall_at(time));
        let id = self.ids.of(&file, mmap.pid)?;
        let told = (file.path, id);
        if self.told.len() < MOST_TOLD && !self.told.contains(&told) {
            self.told.insert(told.clone());
        }
        Some(told.1)
    }

    /// Writes all build ids again, for readers that look for them only at the end of a recording.
    pub(super) fn write<W: Write>(&self, writer: &mut Writer<W>) -> io::Result<()> {
        const USER: u16 = 2;
        const OF_ALL: u32 = u32::MAX;
        self.told.iter().try_for_each(|(path, id)| writer.build_id(USER, OF_ALL, id, path))
    }
}
