//! Which file a module's name stands for: the name as recorded, its build-id, the process it was seen in.
//!
//! A name alone is no proof: files are replaced, deleted, or lie in a container. A file whose build-id is another
//! than the recorded one is not used, and that is counted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bstr::{BString, ByteSlice};

use super::debug_file::{attach, by_build_id, fetch, lacks, relative};
use super::debuginfod::{Artifact, Debuginfod};
use super::module::Module;
use super::{vdso, vmlinux};
use crate::lock::lock;

/// Where to look for files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The root of another system's files, under which every name is looked up (`--symfs`).
    pub symfs: Option<PathBuf>,
    /// The kernel's symbols instead of `/proc/kallsyms` (`--kallsyms`).
    pub kallsyms: Option<PathBuf>,
    /// The kernel's own file, which has its inlined functions (`--vmlinux`).
    pub vmlinux: Option<PathBuf>,
    /// Directories with debug files, `/usr/lib/debug` by default (`--debug-dir`).
    pub debug_dirs: Vec<PathBuf>,
    /// Where perf keeps copies of recorded modules: `~/.debug`.
    pub build_id_cache: Option<PathBuf>,
    /// Ask debuginfod servers for what is not found here, and take no longer than this for all of it (`--debuginfod`).
    pub debuginfod: Option<Duration>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            symfs: None,
            kallsyms: None,
            vmlinux: None,
            debug_dirs: vec!["/usr/lib/debug".into()],
            build_id_cache: std::env::var_os("HOME").map(|home| Path::new(&home).join(".debug")),
            debuginfod: None,
        }
    }
}

impl Config {
    /// The debug directories, under the other root if there is one.
    pub(super) fn debug_directories(&self) -> impl Iterator<Item = PathBuf> {
        self.debug_dirs.iter().flat_map(|directory| {
            // A directory that was named outright may lie outside of the other root.
            let under = self.symfs.as_ref().map(|root| root.join(relative(directory)));
            under.into_iter().chain([directory.clone()])
        })
    }
}

/// What went wrong while files were looked for, by the names as recorded, each once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    /// The file is there, but its build-id is not the recorded one: its names were not used.
    pub mismatched: Vec<BString>,
    /// There is no such file, or it is no ELF file.
    pub missing: Vec<BString>,
    /// The kernel shows us no addresses of its functions: `kernel.kptr_restrict`, and at 0 `kernel.perf_event_paranoid` too.
    pub kernel_hidden: bool,
}

/// A module as recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Key {
    path: BString,
    build_id: Vec<u8>,
    pid: Option<u32>,
}

/// Finds and opens modules, each once.
#[derive(Default)]
pub struct Loader {
    config: Config,
    debuginfod: Option<Debuginfod>,
    pub(super) vmlinux: vmlinux::Slot,
    opened: Mutex<HashMap<Key, Option<Arc<Module>>>>,
    /// Whether processes are in containers: each has many modules.
    contained: Mutex<HashMap<u32, bool>>,
    warnings: Mutex<Warnings>,
    /// Lists of the kernel's symbols that were read: a recording that is still going on asks again and again.
    pub(super) kernels: Mutex<HashMap<PathBuf, Arc<Vec<u8>>>>,
}

impl Loader {
    /// A loader that looks where `config` says.
    pub fn new(config: Config) -> Loader {
        let debuginfod = config.debuginfod.map(Debuginfod::new);
        Loader { config, debuginfod, ..Loader::default() }
    }

    /// Where it looks.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The module that was recorded as `path` (`/usr/bin/rg`, `/tmp/a (deleted)`, `[vdso]`) in process `pid`, together
    /// with the files that belong to it; `None` if it is not found.
    pub fn module(
        &self,
        path: &[u8],
        build_id: Option<&[u8]>,
        pid: Option<u32>,
    ) -> Option<Arc<Module>> {
        let mut key =
            Key { path: path.into(), build_id: build_id.unwrap_or_default().to_vec(), pid };
        if let Some(known) = lock(&self.opened).get(&key) {
            return known.clone();
        }
        // Processes of this machine's own files share them.
        if self.config.symfs.is_some()
            || pid.is_none_or(|pid| !self.is_contained(pid)) && !is_deleted(path)
        {
            key.pid = None;
        }
        if let Some(known) = lock(&self.opened).get(&key) {
            return known.clone();
        }
        // Found without the lock: mapping and looking around takes time, and twice does no harm.
        let (found, mismatched) = self.find(&key);
        // What a JIT maps as a mark is no module.
        if found.is_none() && !is_anonymous(path) && !path.ends_with(b".dump") {
            self.warn(path, mismatched);
        }
        lock(&self.opened).entry(key).or_insert(found).clone()
    }

    fn is_contained(&self, pid: u32) -> bool {
        *lock(&self.contained).entry(pid).or_insert_with(|| in_container(pid))
    }

    /// Forgets of a process what another program may have changed: it executes one.
    pub fn forget(&self, pid: u32) {
        lock(&self.contained).remove(&pid);
    }

    /// Asks for the debugging information of `module`, which is about to be needed, if it is not here and may be asked for.
    pub fn complete(&self, module: &Module) {
        if let Some(debuginfod) = &self.debuginfod
            && lacks(module)
        {
            let find = |id: &[u8]| debuginfod.find(Artifact::DebugInfo, id);
            module.fetched.get_or_init(|| fetch(module, &self.config, find));
        }
    }

    /// What went wrong so far.
    pub fn warnings(&self) -> Warnings {
        lock(&self.warnings).clone()
    }

    /// Remembers that there is no file of the right build called `name`, or none at all.
    pub(super) fn warn(&self, name: &[u8], mismatched: bool) {
        let mut warnings = lock(&self.warnings);
        let list = if mismatched { &mut warnings.mismatched } else { &mut warnings.missing };
        if !list.iter().any(|known| known == name) {
            list.push(name.into());
            list.sort_unstable();
        }
    }

    /// Remembers that the kernel keeps its addresses from us.
    pub(super) fn warn_hidden(&self) {
        lock(&self.warnings).kernel_hidden = true;
    }

    /// The module, and whether a file of another build was there.
    fn find(&self, key: &Key) -> (Option<Arc<Module>>, bool) {
        let is_it = |module: &Module| {
            key.build_id.is_empty()
                || module.build_id().is_some_and(|id| same_build(&key.build_id, id))
        };
        if key.path == "[vdso]" {
            let here = vdso::module().filter(|module| is_it(module));
            let found = here.or_else(|| {
                let cached = by_build_id(&key.build_id, &self.config);
                cached.iter().filter_map(|path| Module::open(path).ok()).find(is_it)
            });
            return (found.map(Arc::new), false);
        }
        let mut mismatched = false;
        let fetched = || {
            let known = !key.build_id.is_empty() && !is_anonymous(&key.path);
            self.debuginfod.as_ref().filter(|_| known)?.find(Artifact::Executable, &key.build_id)
        };
        let places = self.places(key).into_iter().map(Some);
        for path in places.chain(std::iter::once_with(fetched)).flatten() {
            let Ok(mut module) = Module::open(&path) else { continue };
            if is_it(&module) {
                attach(&mut module, &self.config);
                return (Some(Arc::new(module)), false);
            }
            mismatched = true;
        }
        (None, mismatched)
    }

    /// Where the file may be, best first.
    fn places(&self, key: &Key) -> Vec<PathBuf> {
        let mut places = Vec::new();
        // The running file, even if its name is gone, or it never had one: `/memfd:prog (deleted)`.
        let exe = key.pid.map(|pid| Path::new("/proc").join(pid.to_string()).join("exe"));
        let is_exe =
            |exe: &PathBuf| std::fs::read_link(exe).is_ok_and(|it| it == file_path(&key.path));
        places.extend(exe.filter(|exe| self.config.symfs.is_none() && is_exe(exe)));
        if !is_anonymous(&key.path) {
            let name = key.path.strip_suffix(b" (deleted)").unwrap_or(&key.path);
            let plain = file_path(name);
            if let Some(root) = &self.config.symfs {
                places.push(root.join(relative(&plain)));
            } else {
                if let Some(pid) = key.pid {
                    let root = Path::new("/proc").join(pid.to_string()).join("root");
                    places.push(root.join(relative(&plain)));
                }
                places.push(plain);
            }
            // Another file may have taken a deleted one's name: only a build-id can tell.
            if is_deleted(&key.path) && key.build_id.is_empty() {
                places.retain(|place| place.ends_with("exe"));
            }
        }
        if !key.build_id.is_empty() {
            places.extend(by_build_id(&key.build_id, &self.config));
        }
        places
    }
}

/// `path` under the other root, if there is one.
pub(super) fn rooted(config: &Config, path: &Path) -> PathBuf {
    config.symfs.as_ref().map_or_else(|| path.to_owned(), |root| root.join(relative(path)))
}

/// Whether a mapping's name is that of no file.
fn is_anonymous(path: &[u8]) -> bool {
    let prefixes: [&[u8]; 5] = [b"//", b"/memfd:", b"/SYSV", b"/anon_hugepage", b"/dev/"];
    !path.starts_with(b"/") || prefixes.iter().any(|prefix| path.starts_with(prefix))
}

fn is_deleted(path: &[u8]) -> bool {
    path.ends_with(b" (deleted)")
}

/// Whether a running process sees other files than we do: other mounts, or another root (`chroot`).
fn in_container(pid: u32) -> bool {
    let link = |process: &str, what| std::fs::read_link(format!("/proc/{process}/{what}")).ok();
    ["ns/mnt", "root"].into_iter().any(|what| {
        let its = link(&pid.to_string(), what);
        its.is_some_and(|its| link("self", what).is_some_and(|ours| ours != its))
    })
}

/// Whether two build-ids are one: perf pads those that are shorter than 20 bytes with zeros.
pub(super) fn same_build(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    !short.is_empty()
        && long.strip_prefix(short).is_some_and(|rest| rest.iter().all(|&byte| byte == 0))
}

/// A recorded name as a path of this machine.
pub(super) fn file_path(name: &[u8]) -> PathBuf {
    name.to_path().map_or_else(|_| name.to_str_lossy().into_owned().into(), Path::to_owned)
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

    #[test]
    fn what_is_no_file_is_not_looked_for() {
        let loader = Loader::new(Config::default());
        for name in ["[heap]", "[stack]", "//anon", "/memfd:x (deleted)", "", "relative"] {
            assert!(loader.module(name.as_bytes(), None, None).is_none());
        }
        assert_eq!(loader.warnings(), Warnings::default());
        assert!(loader.module(b"/no/such/file", None, None).is_none());
        assert!(loader.module(b"/no/such/file", Some(&[1]), None).is_none());
        assert_eq!(loader.warnings().missing, ["/no/such/file"]);
    }

    #[test]
    fn another_root_is_the_only_root() {
        let config = Config { symfs: Some("/target".into()), ..Config::default() };
        assert_eq!(config.debug_directories().next(), Some("/target/usr/lib/debug".into()));
        let loader = Loader::new(config);
        let key = Key { path: "/usr/bin/../bin/x".into(), ..Key::default() };
        assert_eq!(loader.places(&key), [Path::new("/target/usr/bin/bin/x")]);
    }
}
