//! Tracks the address space of every process and the name of every thread, as the recording goes
//! on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};

use crate::intern::Interner;
use crate::perf_data::{BuildId, Clock, Features, FileId, Ksymbol, Mmap, Task};
use crate::sample::printable;
use crate::symbols::{Identity, Inode, KernelSymbol, Loader, ends_in_call, inner_of};

use super::generated::Generated;
use super::gone::Gone;
use super::modules::{Mapped, ModuleId, Modules};
use super::processes::Processes;
use super::space::{Found, Map, Space};

/// Every address space.
#[derive(Default)]
pub(crate) struct Spaces {
    spaces: HashMap<u32, Space>,
    /// The name of each thread. A name gets a number only once a sample has it: a program may call
    /// itself anything, a million times.
    comms: HashMap<u32, Arc<[u8]>>,
    /// How many names of threads had control characters.
    replaced: u64,
    names: Interner,
    pub(super) modules: Modules,
    generated: Generated,
    /// The build ids that perf writes for modules that were hit, by path, if maps have none. A path
    /// has several if its file was replaced while perf recorded.
    build_ids: HashMap<BString, Vec<Vec<u8>>>,
    /// Relates times of the recording to those of files.
    clock: Option<Clock>,
    /// When the recording had ended, in nanoseconds since 1970.
    ended: Option<u64>,
    pub(crate) kernel: Kernel,
    pub(crate) processes: Processes,
    gone: Gone,
    /// Processes that ended long ago, but whose code has no names yet.
    nameless: HashSet<u32>,
}

/// The kernel, as the recording describes it.
#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) build_id: Option<Vec<u8>>,
    /// `_text` or `_stext` and its address.
    pub(crate) reference: Option<(BString, u64)>,
    /// Functions that the recording itself names, by their starts.
    recorded: BTreeMap<u64, KernelSymbol>,
}

impl Kernel {
    /// Adds a function: `bpf_prog_6deef7357e7b4530_f`, `nf_hook_slow`, or `loop_add [loop]` of a
    /// kernel module. Code that is gone was added when it came.
    pub(crate) fn add(&mut self, symbol: &Ksymbol<'_>) {
        const BPF: u16 = 1;
        if symbol.gone {
            return;
        }
        let (name, module) =
            match symbol.name.strip_suffix(b"]").and_then(|it| it.rsplit_once_str(" [")) {
                Some(parts) => parts,
                None if symbol.kind == BPF => (symbol.name.as_bytes(), &b"bpf"[..]),
                None => (symbol.name.as_bytes(), &b""[..]),
            };
        let start = symbol.start;
        let end = start.saturating_add(symbol.len.into());
        self.recorded
            .insert(start, KernelSymbol { name: name.into(), start, end, module: module.into() });
    }

    /// The function at `address`, if the recording itself names it.
    pub(crate) fn recorded(&self, address: u64) -> Option<&KernelSymbol> {
        let (_, symbol) = self.recorded.range(..=address).next_back()?;
        (address < symbol.end).then_some(symbol)
    }
}

/// The parts of [`Spaces`] that an unwinder needs.
pub(super) struct Parts<'a> {
    pub(super) space: &'a mut Space,
    pub(super) modules: &'a mut Modules,
    pub(super) generated: &'a mut Generated,
}

impl Spaces {
    /// For a recording with this clock that had `ended` by this time, in nanoseconds since 1970, if
    /// these are known.
    pub(crate) fn new(clock: Option<Clock>, ended: Option<u64>) -> Spaces {
        Spaces { clock, ended, ..Spaces::default() }
    }

    /// Learns from the features of the recording. Those of a stream may come late.
    pub(crate) fn learn(&mut self, features: &Features) {
        self.clock = self.clock.or(features.clock);
        for BuildId { path, id, .. } in &features.build_ids {
            let known = self.build_ids.entry(path.clone()).or_default();
            // More than one say nothing: see `build_id`.
            if known.len() < 2 && !known.contains(id) {
                known.push(id.clone());
            }
        }
        let of_kernel = self.build_id("[kernel.kallsyms]".into());
        self.kernel.build_id = self.kernel.build_id.take().or(of_kernel);
    }

    /// The build id of a path, if only one is known.
    fn build_id(&self, path: &BStr) -> Option<Vec<u8>> {
        match self.build_ids.get(path)?.as_slice() {
            [id] => Some(id.clone()),
            _ => None,
        }
    }

    pub(crate) fn module(&self, id: ModuleId) -> &Mapped {
        self.modules.get(id)
    }

    pub(crate) fn space(&mut self, pid: u32) -> &mut Space {
        self.spaces.entry(pid).or_default()
    }

    pub(crate) fn jitdump(&self, pid: u32) -> Option<&BStr> {
        self.spaces.get(&pid)?.jitdump.as_ref().map(|path| path.as_ref())
    }

    /// The number of a thread's name. A thread without a name is called `:4711`, as perf does.
    pub(crate) fn comm(&mut self, pid: Option<u32>, tid: Option<u32>) -> u32 {
        let Some(tid) = tid else { return self.names.intern(b"") };
        if let Some(known) = self.comms.get(&tid).or_else(|| self.comms.get(&pid?)) {
            return self.names.intern(known);
        }
        let name = match tid {
            0 => "swapper".into(),
            u32::MAX => ":-1".into(),
            tid => format!(":{tid}"),
        };
        self.names.intern(name.as_bytes())
    }

    pub(crate) fn comm_name(&self, id: u32) -> &BStr {
        self.names.get(id).into()
    }

    /// How many names of threads had control characters.
    pub(crate) fn replaced(&self) -> u64 {
        self.replaced
    }

    pub(crate) fn rename(&mut self, pid: u32, tid: u32, comm: &BStr, exec: bool) {
        let printable = printable(comm);
        self.replaced += u64::from(*printable != **comm);
        self.comms.insert(tid, printable.as_ref().into());
        if exec {
            self.gone.executes(pid);
            let space = self.space(pid);
            space.before = std::mem::take(&mut space.maps);
            space.jitdump = None;
            space.program = None;
        }
    }

    pub(crate) fn fork(&mut self, task: &Task) {
        self.gone.begins(task);
        if let Some(name) = self.comms.get(&task.ptid) {
            self.comms.insert(task.tid, name.clone());
        }
        if task.pid != task.ppid {
            self.nameless.remove(&task.pid);
            let has_code = self.spaces.get(&task.pid).is_some_and(|space| space.has_code);
            let parent = self.spaces.get(&task.ppid);
            let copy = |parent: &Space| Space {
                maps: parent.maps.clone(),
                jitdump: parent.jitdump.clone(),
                program: parent.program.clone(),
                ..Space::default()
            };
            let space = parent.map(copy).unwrap_or_default();
            self.spaces.insert(task.pid, Space { has_code, ..space });
        }
    }

    /// Notes that a thread has ended, and forgets those that ended long ago. Returns the processes
    /// among them.
    pub(crate) fn exit(&mut self, task: &Task) -> Vec<u32> {
        let spaces = &self.spaces;
        self.gone.ends(task, |pid| spaces.get(&pid).map_or(0, Space::size));
        let mut forgotten = Vec::new();
        while let Some(thread) = self.gone.take_old() {
            self.comms.remove(&thread.tid);
            let Some(pid) = thread.process else { continue };
            if self.spaces.get(&pid).is_some_and(|space| space.has_code) {
                self.nameless.insert(pid);
            } else {
                self.forget(pid);
                forgotten.push(pid);
            }
        }
        forgotten
    }

    /// The processes that ended long ago and may still be asked for the names of their code. Once
    /// that was done, [`Spaces::forget`] them.
    pub(crate) fn take_nameless(&mut self) -> HashSet<u32> {
        std::mem::take(&mut self.nameless)
    }

    /// Forgets a process that is gone.
    pub(crate) fn forget(&mut self, pid: u32) {
        let dump = self.spaces.remove(&pid).and_then(|space| space.jitdump);
        self.processes.forget(pid);
        // Processes that were forked have the dump of their parent.
        let is_last = || self.spaces.values().all(|space| space.jitdump != dump);
        let dump = dump.clone().filter(|_| is_last());
        self.generated.forget(pid, dump);
    }

    /// Forgets the modules that no process shows any more, if there are many. Returns whether it
    /// looked.
    pub(crate) fn release(&mut self) -> bool {
        self.modules.release(|pid| self.spaces.contains_key(&pid))
    }

    /// Forgets what is known of the code in large modules, between two stacks.
    pub(crate) fn trim(&mut self) {
        self.modules.trim();
    }

    /// Whether a module was not forgotten.
    pub(crate) fn has(&self, id: ModuleId) -> bool {
        self.modules.has(id)
    }

    /// How many threads and processes are known.
    #[cfg(test)]
    pub(crate) fn known(&self) -> [usize; 3] {
        [self.comms.len(), self.spaces.len(), self.processes.len()]
    }

    /// Adds a map that was made at `time` on the recording's clock, or before the recording if that
    /// is 0.
    pub(crate) fn map(&mut self, mmap: &Mmap<'_>, time: Option<u64>) {
        if mmap.pid == u32::MAX {
            // `[kernel.kallsyms]_text`: the offset is the address of `_text`.
            if let Some(symbol) =
                mmap.path.strip_prefix(b"[kernel.kallsyms]").filter(|symbol| !symbol.is_empty())
            {
                self.kernel.reference.get_or_insert((symbol.into(), mmap.offset));
            }
            return;
        }
        let path = mmap.path;
        if is_jitdump(path) {
            self.space(mmap.pid).jitdump = Some(path.into());
        }
        if !mmap.executable {
            if let Some(inner) = inner_of(path) {
                self.processes.call(mmap.pid, inner);
            }
            return;
        }
        let start = mmap.start;
        let end = start.saturating_add(mmap.len);
        let mut file = identity(mmap);
        file.mapped = self.clock.map(|clock| clock.wall_at(time.unwrap_or(0))).or(self.ended);
        if file.build_id.is_none() {
            file.build_id = self.build_id(file.path.as_bstr());
            file.is_by_path = file.build_id.is_some();
            file.mapped = if file.is_by_path { self.ended } else { file.mapped };
        }
        let file = Arc::new(file);
        self.space(mmap.pid).add(Map { start, end, offset: mmap.offset, file, hit: None });
    }

    /// The paths of the files that process `pid` has mapped.
    pub(crate) fn files(&self, pid: u32) -> impl Iterator<Item = &[u8]> + Clone {
        let maps = self.spaces.get(&pid).into_iter().flat_map(|space| space.maps.values());
        maps.map(|map| map.file.path.as_slice())
    }

    /// The parts that an unwinder of process `pid` needs.
    pub(super) fn parts(&mut self, pid: u32) -> Parts<'_> {
        let space = self.spaces.entry(pid).or_default();
        Parts { space, modules: &mut self.modules, generated: &mut self.generated }
    }

    /// The map at `address` in process `pid`.
    pub(crate) fn find(&mut self, pid: u32, address: u64, loader: &Loader) -> Option<Found> {
        let space = self.spaces.get_mut(&pid)?;
        let found = space.find(pid, address, &mut self.modules, loader);
        space.has_code |= found.is_none_or(|found| found.hit.bias.is_none());
        found
    }

    /// Whether a call ends behind the byte that was found, or may do so.
    pub(crate) fn is_called(&self, found: Found) -> bool {
        let module = self.module(found.hit.module);
        let is_x86 = module.file.as_ref().is_some_and(|file| file.is_x86());
        !is_x86 || module.code_until(found.in_file).is_none_or(ends_in_call)
    }
}

/// The identity of the file that was mapped.
pub(crate) fn identity(mmap: &Mmap<'_>) -> Identity {
    let mut identity = Identity::of_path(mmap.path);
    match mmap.file {
        FileId::Path => {}
        FileId::Inode { major, minor, inode, generation } => {
            identity.inode = Some(Inode { device: (major, minor), number: inode, generation });
        }
        FileId::BuildId(id) => identity.build_id = Some(id.to_vec()),
    }
    identity.range = (mmap.start, mmap.start.saturating_add(mmap.len));
    identity
}

/// Whether this is a path such as `/home/u/.debug/jit/llvm-IR-jit-x/jit-4711.dump`.
fn is_jitdump(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    name.starts_with(b"jit-") && name.ends_with(b".dump")
}

#[cfg(test)]
mod tests {
    use super::super::gone::{KEPT, KEPT_MAPS};
    use super::super::space::{lookup, tests::map};
    use super::*;

    #[test]
    fn a_long_recording_keeps_nothing_of_the_processes_that_are_gone() {
        let mut spaces = Spaces::default();
        let loader = Loader::new(crate::symbols::Config::default());
        // The shell was there before; the numbers of its children are used again.
        spaces.rename(1, 1, "sh".into(), false);
        spaces.space(1).put(map(0x1000, 0x1000, 1));
        let task = |pid: u32, tid: u32| Task { pid, ppid: 1, tid, ptid: 1, time: 0 };
        let thread = |pid: u32, tid: u32| Task { ppid: pid, ptid: pid, ..task(pid, tid) };
        for n in 0..100_000 {
            let pid = 2 + 2 * n % 60_000;
            spaces.fork(&task(pid, pid));
            spaces.processes.begins(pid, Some(u64::from(n)));
            spaces.rename(pid, pid, "cc1".into(), true);
            spaces.space(pid).put(map(0x2000, 0x1000, 2));
            spaces.fork(&thread(pid, pid + 1));
            // The first thread often ends first, and the process goes on.
            let [first, last] = if n % 2 == 0 { [pid, pid + 1] } else { [pid + 1, pid] };
            spaces.exit(&thread(pid, first));
            assert_eq!(spaces.files(pid).count(), 1);
            // Samples may come after the end.
            spaces.exit(&thread(pid, last));
            assert_eq!(spaces.files(pid).count(), 1);
            assert_eq!(spaces.comm(Some(pid), Some(last)), spaces.comm(None, Some(pid)));
        }
        let [comms, known, processes] = spaces.known();
        assert!(comms <= KEPT + 1 && known <= KEPT && processes <= KEPT, "{:?}", spaces.known());
        // Processes whose code may get names at the end of the recording stay. So do those that
        // were there before, because they may have threads that nobody told of.
        spaces.fork(&task(70_000, 70_000));
        assert!(spaces.find(70_000, 0x9000, &loader).is_none());
        spaces.exit(&task(70_000, 70_000));
        spaces.exit(&task(1, 1));
        for n in 0..2 * KEPT as u32 {
            spaces.fork(&task(80_000 + n, 80_000 + n));
            spaces.exit(&task(80_000 + n, 80_000 + n));
        }
        assert_eq!([70_000, 1].map(|pid| spaces.spaces.contains_key(&pid)), [true, true]);
    }

    #[test]
    fn maps_and_names_that_a_program_makes_without_end_are_forgotten() {
        let mut spaces = Spaces::default();
        let task = |pid: u32| Task { pid, ppid: 1, tid: pid, ptid: 1, time: 0 };
        for n in 0..10_000 {
            spaces.rename(1, 1, n.to_string().as_bytes().into(), false);
        }
        let last = spaces.comm(Some(1), Some(1));
        assert_eq!((spaces.comm_name(last), last), ("9999".into(), 0));
        // It forks children that have as many maps, and end.
        for n in 0..KEPT_MAPS as u64 / 4 {
            spaces.space(1).put(map(0x1000 * n, 0x1000, 1));
        }
        for pid in 2..12 {
            spaces.fork(&task(pid));
            spaces.exit(&task(pid));
        }
        assert_eq!(spaces.spaces.len(), 1 + 4);
        assert_eq!(spaces.files(11).count(), KEPT_MAPS / 4);
        // It maps code at ever new addresses.
        for n in 0..3 * KEPT_MAPS as u64 {
            spaces.space(1).put(map(0x1000 * n, 0x1000, 1));
            assert!(spaces.space(1).maps.len() <= KEPT_MAPS + 1);
        }
        assert!(lookup(&mut spaces.space(1).maps, 0x1000 * (3 * KEPT_MAPS as u64 - 1)).is_some());
    }

    #[test]
    fn an_address_of_the_program_before_an_exec_is_found_until_something_lies_there() {
        let mut spaces = Spaces::default();
        let mut modules = Modules::default();
        let loader = Loader::new(crate::symbols::Config::default());
        spaces.space(7).put(map(0x1000, 0x1000, 1));
        spaces.rename(7, 7, "new".into(), true);
        let mut found = |spaces: &mut Spaces, address| {
            let found = spaces.space(7).find(7, address, &mut modules, &loader)?;
            Some((found.in_file, found.is_gone))
        };
        assert_eq!(found(&mut spaces, 0x1800), Some((1000 + 0x800, true)));
        spaces.space(7).put(map(0x1800, 0x100, 2));
        assert_eq!(found(&mut spaces, 0x1801), Some((2001, false)));
        assert_eq!(found(&mut spaces, 0x1790), Some((1000 + 0x790, true)));
        assert_eq!(found(&mut spaces, 0x3000), None);
    }
}
