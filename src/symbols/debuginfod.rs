//! Gets files by build-id from debuginfod servers through elfutils' debuginfod-find, if the user
//! wants that.
//!
//! The program knows the servers (`DEBUGINFOD_URLS`) and has a cache, in which we look first. Only
//! modules that were hit are asked for, one after another, within a total time limit. Sources:
//! debuginfod-find(1), debuginfod_find_debuginfo(3).

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::debug_file::hex;
use crate::lock::lock;

/// A client with a time limit.
pub(super) struct Debuginfod {
    /// The caches of debuginfod-find, in its own order.
    caches: Vec<PathBuf>,
    /// The time that is left. `None` once asking has become useless.
    left: Mutex<Option<Duration>>,
}

/// A kind of file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Artifact {
    /// The file with `.debug_info` and `.symtab`.
    DebugInfo,
    /// The module itself.
    Executable,
}

impl Artifact {
    fn name(self) -> &'static str {
        match self {
            Artifact::DebugInfo => "debuginfo",
            Artifact::Executable => "executable",
        }
    }
}

/// The most bytes of a file, unless the user says it with DEBUGINFOD_MAXSIZE: that of the largest
/// debug information, which browsers have. A file that never ends would fill the disk.
const MOST_BYTES: u64 = 2 << 30;

/// debuginfod-find itself believes what the server says of a size, so a shell limits what it can
/// write. It cleans up after a write that fails, if no signal ends it.
const BOUNDED: &str = r#"trap "" XFSZ; ulimit -f "$1"; shift; exec debuginfod-find "$@""#;

impl Debuginfod {
    /// All questions together may take `limit`.
    pub(super) fn new(limit: Duration) -> Debuginfod {
        let var = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        Debuginfod {
            caches: caches(|name| var(name).map(PathBuf::from)),
            left: Mutex::new(Some(limit)),
        }
    }

    /// The path of the file of this build, after a download if necessary.
    pub(super) fn find(&self, artifact: Artifact, build_id: &[u8]) -> Option<PathBuf> {
        let id = hex(unpadded(build_id));
        let cached = self.caches.iter().map(|cache| cache.join(&id).join(artifact.name()));
        // An empty file means that no server has it.
        let is_whole = |path: &PathBuf| path.metadata().is_ok_and(|file| file.len() > 0);
        cached.into_iter().find(is_whole).or_else(|| self.ask(artifact, &id))
    }

    /// Asks the servers. Other threads wait, because two downloads at once are not faster.
    fn ask(&self, artifact: Artifact, id: &str) -> Option<PathBuf> {
        let mut left = lock(&self.left);
        let limit = (*left)?;
        if env::var_os("DEBUGINFOD_URLS").is_none_or(|urls| urls.is_empty()) {
            *left = None;
            log::warn!("--debuginfod: DEBUGINFOD_URLS names no server; using only the cache");
            return None;
        }
        log::info!("asking debuginfod for the {} of {id}", artifact.name());
        let began = Instant::now();
        let most = env::var("DEBUGINFOD_MAXSIZE").ok().and_then(|most| most.parse().ok());
        let blocks = most.unwrap_or(MOST_BYTES).div_ceil(512);
        let mut command = Command::new("sh");
        command.args(["-c", BOUNDED, "sh", &blocks.to_string(), artifact.name(), id]);
        let answer = within(command, limit);
        *left = limit.checked_sub(began.elapsed());
        if left.is_none() {
            self.remove_partial(artifact, id);
        }
        match answer {
            Ok(Some(path)) => return Some(path),
            Ok(None) => {}
            Err(error) => {
                *left = None;
                log::warn!(
                    "--debuginfod: cannot run debuginfod-find: {error} (on Debian, install the package debuginfod)"
                );
                return None;
            }
        }
        if left.is_none() {
            let seconds = limit.as_secs_f32().ceil();
            log::warn!("no answer after {seconds} s; giving up on debuginfod");
        }
        None
    }
}

impl Debuginfod {
    /// Removes what a program that was killed has left of a download: `ID/debuginfo.Wx3yZ1`.
    fn remove_partial(&self, artifact: Artifact, id: &str) {
        let folders = self.caches.iter().filter_map(|cache| fs::read_dir(cache.join(id)).ok());
        for file in folders.flatten().flatten() {
            let name = file.file_name();
            let suffix = name.to_str().and_then(|name| name.strip_prefix(artifact.name()));
            if suffix.is_some_and(|suffix| suffix.starts_with('.') && suffix.len() == 7) {
                // A file that cannot be removed stays.
                let _ = fs::remove_file(file.path());
            }
        }
    }
}

/// The path that `command` prints, if it does so in time.
fn within(mut command: Command, limit: Duration) -> io::Result<Option<PathBuf>> {
    // With this limit it ends by itself and cleans up, before it has to be killed.
    command.env("DEBUGINFOD_MAXTIME", limit.as_secs().max(1).to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let status = wait(&mut child, limit)?;
    // As shells say that there is no such program.
    if status.and_then(|status| status.code()) == Some(127) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let succeeded = status.is_some_and(|status| status.success());
    let mut said = Vec::new();
    if succeeded && let Some(stdout) = child.stdout.take() {
        // A path fits into the pipe, so the child cannot have blocked while nobody read.
        stdout.take(1 << 14).read_to_end(&mut said)?;
    }
    let said = String::from_utf8_lossy(&said);
    let path = said.lines().next().map(str::trim).filter(|path| !path.is_empty());
    Ok(path.map(PathBuf::from))
}

/// Waits for `child`, and kills it if it takes longer.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The caches of debuginfod-find: the one that is set, or the old and the new one of the user.
fn caches(var: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(named) = var("DEBUGINFOD_CACHE_PATH") {
        return vec![named];
    }
    let home = var("HOME");
    let under = |folder: &str| home.as_ref().map(|home| home.join(folder));
    let user = var("XDG_CACHE_HOME").or_else(|| under(".cache"));
    let now = user.map(|cache| cache.join("debuginfod_client"));
    under(".debuginfod_client_cache").into_iter().chain(now).collect()
}

/// Removes the padding of build-ids of 16 or 8 bytes. perf pads them to 20.
fn unpadded(id: &[u8]) -> &[u8] {
    match id {
        [short @ .., 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] if short.len() == 8 => short,
        [short @ .., 0, 0, 0, 0] if short.len() == 16 => short,
        id => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_those_of_debuginfod_find() {
        let with = |known: &[(&str, &str)]| {
            let var = |name: &str| {
                known.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
            };
            caches(var)
        };
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let old = "/h/.debuginfod_client_cache";
        assert_eq!(with(&[("DEBUGINFOD_CACHE_PATH", "/c"), ("HOME", "/h")]), paths(&["/c"]));
        assert_eq!(with(&[("HOME", "/h")]), paths(&[old, "/h/.cache/debuginfod_client"]));
        let xdg = [("HOME", "/h"), ("XDG_CACHE_HOME", "/x")];
        assert_eq!(with(&xdg), paths(&[old, "/x/debuginfod_client"]));
        assert_eq!(with(&[]), paths(&[]));
    }

    #[test]
    fn build_ids_lose_their_padding() {
        let padded = |id: usize, zeros: usize| [vec![7; id], vec![0; zeros]].concat();
        assert_eq!(unpadded(&padded(16, 4)).len(), 16);
        assert_eq!(unpadded(&padded(8, 12)).len(), 8);
        assert_eq!(unpadded(&padded(20, 0)).len(), 20);
        assert_eq!(unpadded(&padded(17, 3)).len(), 20);
    }

    #[test]
    #[cfg(unix)]
    fn a_slow_server_is_given_up() {
        let shell = |script: &str, limit: u64| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            within(command, Duration::from_millis(limit)).unwrap()
        };
        // Were it waited for, it would succeed.
        assert_eq!(shell("echo /late; exec sleep 60", 300), None);
        let patient = 1_000_000;
        assert_eq!(shell("echo /found", patient), Some("/found".into()));
        assert_eq!(shell("echo /found; exit 1", patient), None);
        assert_eq!(shell("true", patient), None);
    }
}
