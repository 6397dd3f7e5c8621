//! Finds the file of a recorded module: by its path, in the process that mapped it, by its build
//! id, or on a server.
//!
//! `identity.rs` says how a file is recognised as the recorded one. Any other file is not used,
//! with a warning.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use bstr::BString;

use super::config::Config;
use super::debug_file::{attach, by_build_id, fetch, lacks};
use super::debuginfod::{Artifact, Debuginfod};
use super::identity::{Identity, Stamp, same_build};
use super::kernel_table::KernelTable;
use super::module::Module;
use super::origin::Origin;
use super::path::{file_path, is_anonymous, is_deleted, relative, running};
use super::vdso;

use crate::lock::lock;

/// Why names are missing. The files have their recorded names, each once, in order; of each kind
/// the first few thousand that were met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    /// The file is not the recorded build, or it changed since, so its names were not used.
    pub mismatched: Vec<BString>,
    /// The recording was made on another machine and has no build id of the file, so the file of
    /// that name here was not used.
    pub elsewhere: Vec<BString>,
    /// The file does not exist, or is not an ELF file.
    pub missing: Vec<BString>,
    /// The kernel hides the addresses of its functions: `kernel.kptr_restrict`, and at 0 also
    /// `kernel.perf_event_paranoid`.
    pub kernel_hidden: bool,
    /// There is no `/proc/kallsyms`.
    pub no_kernel_list: bool,
    /// Maps of JITs that are not believed, and why.
    pub doubted: Vec<(PathBuf, Doubt)>,
}

/// The most files that are known to be missing, and the most names in each of the [`Warnings`].
pub(crate) const MOST_MISSING: usize = 4096;

/// Why a module has no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// There are only files of other builds.
    Mismatched,
    /// There is only this machine's file of that name, but the recording is from another machine.
    Elsewhere,
    /// There is no file.
    Missing,
}

/// Why a JIT's map is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// It was written before the process executed its program, so an earlier process of this number
    /// wrote it.
    Older,
    /// It was written after another process got the number.
    Newer,
    /// Its owner is neither the process's user, nor the reader, nor root.
    Stranger,
    /// It is a link, a pipe or a device.
    NoFile,
}

/// A path and a build id.
type Build = (BString, Vec<u8>);

/// Where a recording was made.
#[derive(Default)]
struct Recorded {
    origin: Origin,
    is_elsewhere: bool,
}

/// Finds and opens modules, each once.
#[derive(Default)]
pub struct Loader {
    config: Config,
    debuginfod: Option<Debuginfod>,
    /// The kernel's own file, once it was looked for.
    pub(super) vmlinux: OnceLock<Option<Module>>,
    recorded: Mutex<Recorded>,
    /// The modules that were opened by their paths.
    opened: Mutex<HashMap<(PathBuf, Stamp), Arc<Module>>>,
    /// The modules that were looked up by their build ids.
    kept: Mutex<HashMap<Build, Option<Arc<Module>>>>,
    /// Whether a process is in a container. Each process has many modules.
    contained: Mutex<HashMap<u32, bool>>,
    warnings: Mutex<Warnings>,
    /// The lists of kernels' symbols that were read. While a recording goes on, it asks many times.
    pub(super) kernels: Mutex<HashMap<PathBuf, Arc<KernelTable>>>,
}

impl Loader {
    /// A loader that looks where `config` says.
    pub fn new(config: Config) -> Loader {
        let debuginfod = config.debuginfod.map(Debuginfod::new);
        Loader { config, debuginfod, ..Loader::default() }
    }

    /// Where it looks.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Sets the machine of the recording, before the first module is asked for.
    pub(crate) fn learn(&self, origin: Origin) {
        let mut recorded = lock(&self.recorded);
        if recorded.origin != origin {
            recorded.is_elsewhere = origin.is_elsewhere();
            recorded.origin = origin;
        }
    }

    /// Whether the recording says that its kernel is the running one.
    pub(super) fn has_kernel_of_here(&self) -> bool {
        self.config.symfs.is_none() && lock(&self.recorded).origin.has_kernel_of_here()
    }

    /// Whether the recording says that its kernel is not the running one.
    pub(super) fn has_other_kernel(&self) -> bool {
        lock(&self.recorded).origin.has_other_kernel()
    }

    /// The module that was recorded as `identity` in process `pid`, with its debug files. `None` if
    /// it is not found.
    pub fn module(&self, identity: &Identity, pid: Option<u32>) -> Option<Arc<Module>> {
        let path = identity.path.as_slice();
        let found = self.find(identity, pid);
        if let Err(lack) = found
            // A JIT maps its dump so that recorders notice it, but that is not a module.
            && !is_anonymous(path)
            && !path.ends_with(b".dump")
        {
            self.warn(path, lack);
        }
        found.ok()
    }

    fn is_contained(&self, pid: u32) -> bool {
        *lock(&self.contained).entry(pid).or_insert_with(|| in_container(pid))
    }

    /// Forgets about a process what may have changed, because it executes another program.
    pub(crate) fn forget(&self, pid: u32) {
        lock(&self.contained).remove(&pid);
    }

    /// Closes the modules that nobody else holds.
    pub(crate) fn release(&self) {
        let is_held = |module: &Arc<Module>| Arc::strong_count(module) > 1;
        lock(&self.opened).retain(|_, module| is_held(module));
        let mut kept = lock(&self.kept);
        // A server is asked again only for what was missing long ago.
        let keeps_missing = kept.len() < MOST_MISSING;
        kept.retain(|_, module| module.as_ref().map_or(keeps_missing, is_held));
    }

    /// How many modules are open.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn len(&self) -> usize {
        lock(&self.opened).len() + lock(&self.kept).len()
    }

    /// Downloads the debugging information of `module` if it is not here and downloads are allowed.
    pub(crate) fn complete(&self, module: &Module) {
        if let Some(debuginfod) = &self.debuginfod
            && lacks(module)
        {
            let find = |id: &[u8]| debuginfod.find(Artifact::DebugInfo, id);
            module.fetched.get_or_init(|| fetch(module, &self.config, find));
        }
    }

    /// The warnings so far.
    pub fn warnings(&self) -> Warnings {
        lock(&self.warnings).clone()
    }

    /// Warns that the module called `name` has no file.
    pub(super) fn warn(&self, name: &[u8], lack: Lack) {
        let mut warnings = lock(&self.warnings);
        let list = match lack {
            Lack::Mismatched => &mut warnings.mismatched,
            Lack::Elsewhere => &mut warnings.elsewhere,
            Lack::Missing => &mut warnings.missing,
        };
        if let Err(place) = list.binary_search_by(|known| known.as_slice().cmp(name))
            && list.len() < MOST_MISSING
        {
            list.insert(place, name.into());
        }
    }

    /// Warns that the file of the module called `name` was overwritten while it was in use, so its
    /// names are those of another build.
    pub(crate) fn warn_overwritten(&self, name: &[u8]) {
        self.warn(name, Lack::Mismatched);
    }

    /// Warns that the system has no list of the kernel's functions.
    pub(super) fn warn_without_list(&self) {
        lock(&self.warnings).no_kernel_list = true;
    }

    /// Warns that a JIT's map is not believed.
    pub(super) fn doubt(&self, map: &Path, doubt: Doubt) {
        let doubted = &mut lock(&self.warnings).doubted;
        let fresh = (map.to_owned(), doubt);
        if let Err(place) = doubted.binary_search(&fresh)
            && doubted.len() < MOST_MISSING
        {
            doubted.insert(place, fresh);
        }
    }

    /// Warns that the kernel hides its addresses.
    pub(super) fn warn_hidden(&self) {
        lock(&self.warnings).kernel_hidden = true;
    }

    /// The module, or why it was not found.
    fn find(&self, identity: &Identity, pid: Option<u32>) -> Result<Arc<Module>, Lack> {
        if identity.path == "[vdso]" {
            return self.find_vdso(identity);
        }
        let mut lack = Lack::Missing;
        let recorded = file_path(&identity.path);
        let pid_here = pid.filter(|_| self.config.symfs.is_none());
        let running = pid_here.map(|pid| running(pid, &recorded, identity.range));
        let candidates = self.candidates(identity, pid).into_iter();
        for place in candidates.chain(running.into_iter().flatten()) {
            let Some(stamp) = Stamp::of(&place) else { continue };
            // Files of another root are copies, which have inodes of their own.
            if self.config.symfs.is_none() && stamp.took_the_path(identity) {
                return Err(Lack::Mismatched);
            }
            match self.open(identity, place, stamp) {
                Ok(module) => return Ok(module),
                Err(Lack::Missing) => {}
                Err(another) => lack = another,
            }
        }
        self.find_by_build_id(identity).ok_or(lack)
    }

    /// Our own vdso if it is the recorded one, or a copy that perf kept.
    fn find_vdso(&self, identity: &Identity) -> Result<Arc<Module>, Lack> {
        let is_elsewhere = identity.build_id.is_none() && lock(&self.recorded).is_elsewhere;
        let here = vdso::module().filter(|it| !is_elsewhere && self.is_it(it, identity));
        here.map(Arc::new).or_else(|| self.find_by_build_id(identity)).ok_or(Lack::Missing)
    }

    /// Whether a module has the recorded build id, if that is known, and can run on the recorded
    /// machine.
    fn is_it(&self, module: &Module, identity: &Identity) -> bool {
        let wanted = identity.build_id.as_deref();
        wanted.is_none_or(|id| module.build_id().is_some_and(|its| same_build(id, its)))
            && lock(&self.recorded).origin.runs(module.machine)
    }

    /// Opens a file that has the recorded path.
    fn open(&self, identity: &Identity, place: PathBuf, stamp: Stamp) -> Result<Arc<Module>, Lack> {
        let is_elsewhere = lock(&self.recorded).is_elsewhere;
        let is_proven = identity.build_id.is_some() || self.config.symfs.is_some();
        if !is_proven && !stamp.may_be(identity, is_elsewhere) {
            return Err(if is_elsewhere { Lack::Elsewhere } else { Lack::Mismatched });
        }
        let key = (place, stamp);
        let known = lock(&self.opened).get(&key).cloned();
        let module = match known {
            Some(known) => known,
            None => {
                // The lock is free meanwhile: opening takes time, and doing it twice does no harm.
                let opened = Module::open(&key.0);
                // Another program may be writing the file: half of one is not what was recorded.
                match Stamp::of(&key.0) {
                    Some(now) if now == stamp => {}
                    Some(_) => return Err(Lack::Mismatched),
                    None => return Err(Lack::Missing),
                }
                let mut module = opened.map_err(|_| Lack::Missing)?;
                if !self.is_it(&module, identity) {
                    return Err(Lack::Mismatched);
                }
                attach(&mut module, &self.config);
                module.stamp = Some(stamp);
                Arc::clone(lock(&self.opened).entry(key).or_insert(Arc::new(module)))
            }
        };
        let may_be_renamed = self.config.symfs.is_none()
            && !is_elsewhere
            && stamp.is_modified_since(identity.mapped)
            && module.has_names_beside_build_id();
        if may_be_renamed || !self.is_it(&module, identity) {
            return Err(Lack::Mismatched);
        }
        Ok(module)
    }

    /// Looks in the places that have files by build id: debug directories, perf's cache, servers.
    fn find_by_build_id(&self, identity: &Identity) -> Option<Arc<Module>> {
        let id = identity.build_id.as_deref()?;
        let key = (identity.path.clone(), id.to_vec());
        if let Some(known) = lock(&self.kept).get(&key) {
            return known.clone();
        }
        let server = self.debuginfod.as_ref().filter(|_| !is_anonymous(&identity.path));
        let fetched = || server?.find(Artifact::Executable, id);
        let places = by_build_id(id, &self.config).into_iter().map(Some);
        let open = |place: PathBuf| {
            let mut module = Module::open(&place).ok().filter(|it| self.is_it(it, identity))?;
            attach(&mut module, &self.config);
            Some(Arc::new(module))
        };
        let found = places.chain(std::iter::once_with(fetched)).flatten().find_map(open);
        lock(&self.kept).entry(key).or_insert(found).clone()
    }

    /// Where the file may be by its path, best first. Its own path comes before links to it,
    /// because debug files may be beside it.
    fn candidates(&self, identity: &Identity, pid: Option<u32>) -> Vec<PathBuf> {
        let path = identity.path.as_slice();
        let is_deleted = is_deleted(path);
        let mut places = Vec::new();
        // A new file may have the name of a deleted one. Only a build id can tell them apart.
        if !is_anonymous(path) && (!is_deleted || identity.build_id.is_some()) {
            let plain = file_path(path.strip_suffix(b" (deleted)").unwrap_or(path));
            if let Some(root) = &self.config.symfs {
                places.push(root.join(relative(&plain)));
            } else {
                if let Some(pid) = pid.filter(|&pid| self.is_contained(pid)) {
                    let root = Path::new("/proc").join(pid.to_string()).join("root");
                    places.push(root.join(relative(&plain)));
                }
                places.push(plain);
            }
        }
        places
    }
}

/// Whether a running process sees other files than we do, through other mounts or another root
/// (`chroot`).
fn in_container(pid: u32) -> bool {
    let link = |process: &str, what| std::fs::read_link(format!("/proc/{process}/{what}")).ok();
    ["ns/mnt", "root"].into_iter().any(|what| {
        let its = link(&pid.to_string(), what);
        its.is_some_and(|its| link("self", what).is_some_and(|ours| ours != its))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_files_are_not_looked_for() {
        let loader = Loader::new(Config::default());
        for name in ["[heap]", "[stack]", "//anon", "/memfd:x (deleted)", "", "relative"] {
            assert!(loader.module(&Identity::of_path(name.as_bytes()), None).is_none());
        }
        assert_eq!(loader.warnings(), Warnings::default());
        let mut absent = Identity::of_path(b"/no/such/file");
        assert!(loader.module(&absent, None).is_none());
        absent.build_id = Some(vec![1]);
        assert!(loader.module(&absent, None).is_none());
        assert_eq!(loader.warnings().missing, ["/no/such/file"]);
    }

    #[test]
    fn missing_files_are_remembered_up_to_a_bound() {
        let loader = Loader::new(Config::default());
        for n in 0..2 * MOST_MISSING {
            let mut absent = Identity::of_path(format!("/no/such/{n}").as_bytes());
            absent.build_id = Some(n.to_le_bytes().to_vec());
            assert!(loader.module(&absent, None).is_none());
            loader.doubt(Path::new(&format!("/tmp/perf-{n}.map")), Doubt::NoFile);
            if n % 100 == 0 {
                loader.release();
                assert!(lock(&loader.kept).len() <= MOST_MISSING);
            }
        }
        let warnings = loader.warnings();
        assert_eq!([warnings.missing.len(), warnings.doubted.len()], [MOST_MISSING; 2]);
        assert!(warnings.missing.is_sorted());
    }

    #[test]
    fn another_root_is_the_only_root() {
        let config = Config { symfs: Some("/target".into()), ..Config::default() };
        assert_eq!(config.debug_directories().next(), Some("/target/usr/lib/debug".into()));
        let loader = Loader::new(config);
        let identity = Identity::of_path(b"/usr/bin/../bin/x");
        assert_eq!(loader.candidates(&identity, Some(1)), [Path::new("/target/usr/bin/bin/x")]);
    }
}
