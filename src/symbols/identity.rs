//! Identifies the file that was mapped, and decides whether a file of today is still that one.
//!
//! A path proves nothing: programs are rebuilt, replaced during a recording, or are in a container.
//! The proofs, best first:
//!
//! 1. The build id, if the recording has it: the file must have the same. perf before 6.17 writes
//!    it by path at the end. If two files had that path, it is that of the last one, so an inode
//!    that came later is another file. GNU ld leaves `.symtab` out of build ids, but not debug
//!    information. So a file without debug information must not have been modified since, either.
//! 2. Otherwise the file must not have changed since it was mapped: it was not modified later, and
//!    it is neither another inode of the same device nor one that came to this path later. Overlays
//!    and btrfs show other device and inode numbers in maps than in stat(2), so an inode of another
//!    device proves nothing.
//! 3. If the recording was made on another machine, without `--symfs`, it must also be the same
//!    inode: a file that only has the same path is some other program.

use std::fs::Metadata;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bstr::BString;

/// A mapped file, as the recording describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The path as recorded: `/usr/bin/rg`, `/tmp/a (deleted)`, `[vdso]`.
    pub path: BString,
    /// The build id, if the recording has it.
    pub build_id: Option<Vec<u8>>,
    /// perf read the build id from the path when the recording ended, so it may be that of another
    /// file.
    pub is_by_path: bool,
    /// Device, inode and its generation, if the recording has them.
    pub inode: Option<Inode>,
    /// A time by which it was mapped, in nanoseconds since 1970, if that is known. If the build id
    /// is by path, this is the end of the recording.
    pub mapped: Option<u64>,
    /// The addresses where it was mapped: the first, and one past the last.
    pub range: (u64, u64),
}

impl Identity {
    /// A file with nothing but a path.
    pub fn of_path(path: &[u8]) -> Identity {
        Identity { path: path.into(), ..Identity::default() }
    }
}

/// A file within its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Inode {
    /// The device's major and minor number.
    pub device: (u32, u32),
    /// The inode's number.
    pub number: u64,
    /// How often the number was used before, on file systems that count.
    pub generation: u64,
}

/// The state of a file. If two stamps are equal, nobody changed the file in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// When its content changed, in nanoseconds since 1970.
    modified: i128,
    /// When its content, its name or its rights changed, in nanoseconds since 1970.
    changed: i128,
    /// When the inode was created, on file systems that record it.
    born: Option<i128>,
}

/// Times that are closer than this count as equal. The clock of file systems ticks every few
/// milliseconds, and the time of a map depends on two clocks.
const SLACK: i128 = 10_000_000;

impl Stamp {
    /// The stamp of the file at `path`.
    pub(crate) fn of(path: &Path) -> Option<Stamp> {
        std::fs::metadata(path).ok().map(|metadata| Stamp::from(&metadata))
    }

    /// Whether the file can be the one that was mapped, build ids aside. `is_elsewhere` means that
    /// another machine mapped it.
    pub(super) fn may_be(&self, identity: &Identity, is_elsewhere: bool) -> bool {
        let Some(inode) = identity.inode.filter(|inode| inode.number != 0) else {
            return !is_elsewhere && !self.is_modified_since(identity.mapped);
        };
        let is_other = !self.is_inode(inode);
        if is_elsewhere && is_other || self.is_modified_since(identity.mapped) {
            return false;
        }
        let came_later = |mapped| self.changed > i128::from(mapped) + SLACK;
        let is_replaced = self.is_on(inode.device) || identity.mapped.is_some_and(came_later);
        !(is_other && is_replaced)
    }

    /// Whether it is certainly another file: another inode of the same device.
    pub(super) fn is_another_than(&self, identity: &Identity) -> bool {
        identity.inode.is_some_and(|inode| self.is_on(inode.device) && !self.is_inode(inode))
    }

    /// Whether this file replaced the mapped one during the recording, so that the build id by path
    /// is that of this file.
    pub(super) fn took_the_path(&self, identity: &Identity) -> bool {
        // perf links files into its cache, which counts as a change.
        let was_there = |ended| self.born.unwrap_or(self.changed) <= i128::from(ended) + SLACK;
        identity.is_by_path
            && self.is_another_than(identity)
            && identity.mapped.is_some_and(was_there)
    }

    /// Whether it is on this device of a map.
    fn is_on(&self, (major, minor): (u32, u32)) -> bool {
        #[cfg(target_os = "linux")]
        return libc::makedev(major, minor) == self.device;
        #[cfg(not(target_os = "linux"))]
        return (major, minor) == (0, 0) && self.device == 0;
    }

    /// Whether this is the file of `before` with new content.
    pub(super) fn overwrites(&self, before: &Stamp) -> bool {
        (self.device, self.inode) == (before.device, before.inode)
            && (self.size, self.modified) != (before.size, before.modified)
    }

    /// Whether the file has this inode number.
    pub(super) fn is_inode(&self, inode: Inode) -> bool {
        self.inode == inode.number
    }

    /// Whether it is known that the file was written after it was mapped.
    pub(super) fn is_modified_since(&self, mapped: Option<u64>) -> bool {
        mapped.is_some_and(|mapped| self.modified > i128::from(mapped) + SLACK)
    }
}

/// Nanoseconds since 1970.
fn since_1970(time: SystemTime) -> Option<i128> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_nanos().cast_signed())
}

#[cfg(unix)]
impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Stamp {
        use std::os::unix::fs::MetadataExt;
        let nanoseconds =
            |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            born: metadata.created().ok().and_then(since_1970),
        }
    }
}

#[cfg(not(unix))]
impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Stamp {
        let modified = metadata.modified().ok().and_then(since_1970).unwrap_or(0);
        Stamp { size: metadata.len(), modified, changed: modified, ..Stamp::default() }
    }
}

/// Whether two build-ids are equal. perf pads those shorter than 20 bytes with zeros.
pub(super) fn same_build(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    !short.is_empty()
        && long.strip_prefix(short).is_some_and(|rest| rest.iter().all(|&byte| byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_ids_may_be_padded() {
        assert!(same_build(&[1, 2, 0, 0], &[1, 2]));
        assert!(same_build(&[1, 2], &[1, 2]));
        assert!(!same_build(&[1, 2], &[1, 2, 3]));
        assert!(!same_build(&[], &[0, 0]));
    }

    const NOW: u64 = 1_700_000_000_000_000_000;

    fn stamp(inode: u64, modified: i128, changed: i128) -> Stamp {
        let now = i128::from(NOW);
        Stamp { inode, modified: now + modified, changed: now + changed, ..Stamp::default() }
    }

    fn mapped(inode: u64) -> Identity {
        let inode = Inode { device: (8, 1), number: inode, generation: 3 };
        Identity { inode: Some(inode), mapped: Some(NOW), ..Identity::of_path(b"/a") }
    }

    #[test]
    fn a_file_that_changed_later_is_another() {
        let second = 1_000_000_000;
        assert!(stamp(1, -second, -second).may_be(&mapped(1), false));
        assert!(stamp(1, -second, second).may_be(&mapped(1), false), "renamed, or linked");
        assert!(stamp(1, 1_000_000, 1_000_000).may_be(&mapped(1), false), "clocks tick slowly");
        assert!(!stamp(1, second, second).may_be(&mapped(1), false), "overwritten in place");
        assert!(!stamp(2, -second, second).may_be(&mapped(1), false), "an older file moved here");
        assert!(stamp(2, -second, -second).may_be(&mapped(1), false), "inodes of an overlay");
        #[cfg(target_os = "linux")]
        {
            let same_device = Stamp { device: libc::makedev(8, 1), ..stamp(2, -second, -second) };
            assert!(!same_device.may_be(&mapped(1), false));
        }
        let unknown = Identity { mapped: None, ..mapped(1) };
        assert!(stamp(2, second, second).may_be(&unknown, false), "nothing is known against it");
    }

    #[test]
    fn a_file_of_another_machine_is_another() {
        assert!(!stamp(2, -9, -9).may_be(&mapped(1), true));
        assert!(stamp(1, -9, -9).may_be(&mapped(1), true), "the machine has another name now");
        assert!(!stamp(1, -9, -9).may_be(&Identity::of_path(b"/a"), true));
    }
}
