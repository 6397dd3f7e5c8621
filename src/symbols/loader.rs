//! Finds the file of a recorded module: by its path, in the process that mapped it, by its build
//! id, from a server.
//!
//! `identity.rs` says how a file is known to be the recorded one. A file that is not is not used,
//! and that is counted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use bstr::BString;

use super::config::Config;
use super::debug_file::{attach, by_build_id, fetch, lacks};
use super::debuginfod::{Artifact, Debuginfod};
use super::identity::{Identity, Stamp, same_build};
use super::module::Module;
use super::origin::Origin;
use super::path::{file_path, is_anonymous, is_deleted, relative};
use super::running::running;
use super::vdso;
use super::warnings::{Doubt, Lack, Warnings};
use crate::lock::lock;

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
    /// What was opened by its path.
    opened: Mutex<HashMap<(PathBuf, Stamp), Arc<Module>>>,
    /// What was looked for by path and build id where files are kept by build id.
    kept: Mutex<HashMap<Build, Option<Arc<Module>>>>,
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

    /// Learns on which machine modules were recorded, before they are asked for.
    pub fn learn(&self, origin: Origin) {
        let mut recorded = lock(&self.recorded);
        if recorded.origin != origin {
            recorded.is_elsewhere = origin.is_elsewhere();
            recorded.origin = origin;
        }
    }

    /// Whether a kernel without a build id is the one that runs here: the recording says so.
    pub(super) fn has_kernel_of_here(&self) -> bool {
        self.config.symfs.is_none() && lock(&self.recorded).origin.has_kernel_of_here()
    }

    /// Whether a kernel without a build id is another than the one that runs here: the recording
    /// says so.
    pub(super) fn has_other_kernel(&self) -> bool {
        lock(&self.recorded).origin.has_other_kernel()
    }

    /// The module that was recorded as `identity` in process `pid`, together with the files that
    /// belong to it; `None` if it is not found.
    pub fn module(&self, identity: &Identity, pid: Option<u32>) -> Option<Arc<Module>> {
        let path = identity.path.as_slice();
        let found = self.find(identity, pid);
        if let Err(lack) = found
            // What a JIT maps as a mark is no module.
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

    /// Remembers why the module called `name` has no file.
    pub(super) fn warn(&self, name: &[u8], lack: Lack) {
        let mut warnings = lock(&self.warnings);
        let list = match lack {
            Lack::Mismatched => &mut warnings.mismatched,
            Lack::Elsewhere => &mut warnings.elsewhere,
            Lack::Missing => &mut warnings.missing,
        };
        if !list.iter().any(|known| known == name) {
            list.push(name.into());
            list.sort_unstable();
        }
    }

    /// Remembers that the file of the module called `name` was overwritten while it was in use, so
    /// that its names are another build's.
    pub(crate) fn warn_overwritten(&self, name: &[u8]) {
        self.warn(name, Lack::Mismatched);
    }

    /// Remembers that a map of a JIT is not believed.
    pub(super) fn doubt(&self, map: &Path, doubt: Doubt) {
        let doubted = &mut lock(&self.warnings).doubted;
        let fresh = (map.to_owned(), doubt);
        if !doubted.contains(&fresh) {
            doubted.push(fresh);
            doubted.sort_unstable();
        }
    }

    /// Remembers that the kernel keeps its addresses from us.
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
        for place in self.places(identity, pid).into_iter().chain(running.into_iter().flatten()) {
            let Some(stamp) = Stamp::of(&place) else { continue };
            if stamp.took_the_path(identity) {
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

    /// Our own vdso, if it is the recorded one, or a copy that perf kept.
    fn find_vdso(&self, identity: &Identity) -> Result<Arc<Module>, Lack> {
        let is_elsewhere = identity.build_id.is_none() && lock(&self.recorded).is_elsewhere;
        let here = vdso::module().filter(|it| !is_elsewhere && self.is_it(it, identity));
        here.map(Arc::new).or_else(|| self.find_by_build_id(identity)).ok_or(Lack::Missing)
    }

    /// Whether the build id, if it is known, and the machine are the recorded ones.
    fn is_it(&self, module: &Module, identity: &Identity) -> bool {
        let wanted = identity.build_id.as_deref();
        wanted.is_none_or(|id| module.build_id().is_some_and(|its| same_build(id, its)))
            && lock(&self.recorded).origin.runs(module.machine)
    }

    /// Opens a file that may be the recorded one by its path.
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
                // Without the lock: mapping and looking around takes time, and twice does no harm.
                let mut module = Module::open(&key.0).map_err(|_| Lack::Missing)?;
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

    /// Looks where files are kept by build id: debug directories, perf's cache, servers.
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

    /// Where the file may be by its path, best first. Debug files are looked for beside it, so its
    /// own path comes before links to it.
    fn places(&self, identity: &Identity, pid: Option<u32>) -> Vec<PathBuf> {
        let path = identity.path.as_slice();
        let is_deleted = is_deleted(path);
        let mut places = Vec::new();
        // Another file may have taken a deleted one's name: only a build id can tell.
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

/// Whether a running process sees other files than we do: other mounts, or another root (`chroot`).
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
    fn what_is_no_file_is_not_looked_for() {
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
    fn another_root_is_the_only_root() {
        let config = Config { symfs: Some("/target".into()), ..Config::default() };
        assert_eq!(config.debug_directories().next(), Some("/target/usr/lib/debug".into()));
        let loader = Loader::new(config);
        let identity = Identity::of_path(b"/usr/bin/../bin/x");
        assert_eq!(loader.places(&identity, Some(1)), [Path::new("/target/usr/bin/bin/x")]);
    }
}
