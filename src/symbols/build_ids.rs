//! Finds the build ids of the files that running processes map. A recorder writes them down while
//! the files still exist.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::elf::Elf;
use super::identity::{Identity, Stamp};
use super::path::{file_path, is_anonymous, process, relative, running};
use super::vdso;
use crate::mapped::Bytes;

/// The most files whose build ids are remembered. A build makes new ones without end.
const MOST: usize = 4096;

/// The build id of each file that running processes map.
#[derive(Default)]
pub(crate) struct BuildIds {
    known: HashMap<(PathBuf, Stamp), Option<Vec<u8>>>,
    vdso: Option<Option<Vec<u8>>>,
    /// The last process that had ended or was not visible when one of its files was looked for.
    gone: Option<u32>,
}

impl BuildIds {
    /// The build id of the file that process `pid` just mapped. `None` if the file has none, or if
    /// it is not certain which file it was.
    pub(crate) fn of(&mut self, identity: &Identity, pid: u32) -> Option<Vec<u8>> {
        let path = identity.path.as_slice();
        if path == b"[vdso]" {
            // The vdso of a 32-bit program differs from ours.
            let is_ours = identity.range.0 >= 1 << 32;
            let ours = || vdso::module()?.build_id().map(<[u8]>::to_vec);
            return self.vdso.get_or_insert_with(ours).clone().filter(|_| is_ours);
        }
        if is_anonymous(path) && !path.starts_with(b"/memfd:") {
            return None;
        }
        let plain = file_path(path.strip_suffix(b" (deleted)").unwrap_or(path));
        let recorded = file_path(path);
        let mut inside = None;
        if self.gone != Some(pid) {
            // These are the mapped file itself, unless the process runs another program now.
            for place in running(pid, &recorded, identity.range) {
                let it = Stamp::of(&place).filter(|stamp| !stamp.is_another_than(identity));
                if let Some(stamp) = it {
                    return self.read(&place, &plain, stamp);
                }
            }
            let root = process(pid).join("root");
            if root.exists() {
                inside = Some(root.join(relative(&plain)));
            } else {
                self.gone = Some(pid);
            }
        }
        let mut named = inside.into_iter().chain([plain.clone()]);
        let is_it = |stamp: &Stamp| {
            identity.inode.is_none_or(|inode| stamp.is_inode(inode))
                && stamp.may_be(identity, false)
        };
        let (place, stamp) =
            named.find_map(|place| Stamp::of(&place).filter(is_it).map(|stamp| (place, stamp)))?;
        self.read(&place, &plain, stamp)
    }

    fn read(&mut self, place: &Path, path: &Path, stamp: Stamp) -> Option<Vec<u8>> {
        let read = || {
            let bytes = Bytes::map(place).ok()?;
            Elf::parse(&bytes)?.build_id().map(<[u8]>::to_vec)
        };
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.entry((path.to_owned(), stamp)).or_insert_with(read).clone()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn files_are_remembered_up_to_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let mut ids = BuildIds::default();
        for n in 0..=MOST {
            let path = folder.path().join(n.to_string());
            std::fs::write(&path, "").unwrap();
            let identity = Identity::of_path(path.to_str().unwrap().as_bytes());
            assert_eq!(ids.of(&identity, u32::MAX), None);
            assert!((1..=MOST).contains(&ids.known.len()));
        }
        assert_eq!(ids.known.len(), 1);
    }
}
