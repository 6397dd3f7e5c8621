//! Forgets what only ended processes had, between two batches. So a recording of the whole machine
//! may last for days: what is kept are the processes that run, and what is distinct in the result.

use std::collections::HashSet;

use super::Script;
use super::addresses::{Addresses, Owner, Range};
use crate::sample::FrameTable;
use crate::unwind::Spaces;

impl Script<'_> {
    /// Forgets the addresses that only processes had that are gone. No sample waits for them now.
    pub(super) fn forget_gone(&mut self, frames: &mut FrameTable) {
        let Script { spaces, addresses, loader, .. } = self;
        let gone = spaces.take_nameless();
        if !gone.is_empty() {
            let is_gone = |pid| gone.contains(&pid);
            addresses.settle(is_gone, spaces, loader, frames);
            self.nameless.settle(is_gone, addresses, spaces, frames);
        }
        for &pid in &gone {
            spaces.forget(pid);
            loader.forget(pid);
        }
        let is_new = spaces.release();
        if is_new {
            loader.release();
        }
        spaces.trim();
        if is_new || !gone.is_empty() || addresses.is_full() {
            let numbers = addresses.retain(&gone, spaces);
            self.nameless.renumber(&numbers);
            self.deferred.renumber(&numbers);
        }
    }
}

/// The most addresses that are kept. More are looked up again.
const MOST: usize = if cfg!(test) { 1 << 12 } else { 1 << 20 };

impl Addresses {
    fn is_full(&self) -> bool {
        self.keys.len() > MOST
    }

    /// Forgets the addresses of modules that `spaces` has forgotten and of the processes that are
    /// `gone`. Their samples have been passed on. Returns the new number of each address.
    pub(super) fn retain(&mut self, gone: &HashSet<u32>, spaces: &Spaces) -> Vec<Option<u32>> {
        let is_full = self.is_full();
        let old = std::mem::take(&mut self.keys);
        let ranges = std::mem::take(&mut self.ranges);
        let named = std::mem::take(&mut self.named);
        let is_code = std::mem::take(&mut self.is_code);
        let mut then = std::mem::take(&mut self.then);
        let mut keep = |(start, end): Range| {
            let first = self.named.len() as u32;
            self.named.extend_from_slice(&named[start as usize..end as usize]);
            (first, self.named.len() as u32)
        };
        let mut numbers = vec![None; old.len()];
        for (id, key) in old.into_iter().enumerate() {
            let is_kept = match key.owner {
                // Code without a file may get its name later.
                Owner::Module(module) if spaces.has(module) => {
                    !is_full || spaces.module(module).file.is_none()
                }
                Owner::Module(_) => false,
                Owner::Nowhere(pid) => !gone.contains(&pid),
                Owner::Truncated | Owner::Kernel => true,
            };
            if !is_kept {
                continue;
            }
            let number = self.keys.len() as u32;
            numbers[id] = Some(number);
            self.keys.push(key);
            self.is_code.push(is_code[id]);
            self.ranges.push(keep(ranges[id]));
            if let Some(changes) = then.remove(&(id as u32)) {
                let changes = changes.into_iter().map(|(time, range)| (time, keep(range)));
                self.then.insert(number, changes.collect());
            }
        }
        self.ids.retain(|_, id| match numbers[*id as usize] {
            Some(number) => {
                *id = number;
                true
            }
            None => false,
        });
        let new = |id: &u32| numbers[*id as usize];
        self.unsettled = self.unsettled.iter().filter_map(new).collect();
        self.dumped = self.dumped.iter().filter_map(new).collect();
        numbers
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bstr::ByteSlice;

    use super::*;
    use crate::perf_data::{Mmap, Task};
    use crate::script::Config;
    use crate::symbols::{self, Loader};
    use crate::unwind::At;

    struct Machine {
        spaces: Spaces,
        loader: Loader,
        addresses: Addresses,
        frames: FrameTable,
    }

    impl Machine {
        fn execute(&mut self, pid: u32, path: &str) {
            let task = Task { pid, ppid: 1, tid: pid, ptid: 1, time: 0 };
            self.spaces.fork(&task);
            self.spaces.rename(pid, pid, "x".into(), true);
            self.spaces.map(&Mmap::of_program(pid, path.into()), None);
        }

        fn end(&mut self, pid: u32) {
            self.spaces.exit(&Task { pid, ppid: pid, tid: pid, ptid: pid, time: 0 });
        }

        /// The number of an address of process `pid`.
        fn hit(&mut self, pid: u32, address: u64) -> u32 {
            let at = At::exact(address);
            let found = self.spaces.find(pid, address, &self.loader);
            self.addresses.user(pid, at, found, || true)
        }

        fn resolve(&mut self) {
            self.addresses.resolve(&self.spaces, &self.loader, &mut self.frames).unwrap();
        }

        fn name(&self, id: u32) -> (String, String) {
            let [named] = self.addresses.frames(id, None) else { panic!("{id} has no name") };
            let frame = self.frames.get(named.frame);
            (frame.symbol.to_string(), frame.module.to_string())
        }

        /// What [`Script::forget_gone`] does.
        fn forget(&mut self) -> Vec<Option<u32>> {
            let gone = self.spaces.take_nameless();
            let Machine { spaces, loader, addresses, frames } = self;
            addresses.settle(|pid| gone.contains(&pid), spaces, loader, frames);
            gone.iter().for_each(|&pid| spaces.forget(pid));
            spaces.release();
            loader.release();
            addresses.retain(&gone, spaces)
        }
    }

    /// A program of nothing, called `name`.
    fn program(folder: &Path, name: &str) -> String {
        let mut elf = [0; 64];
        elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        let path = folder.join(name);
        std::fs::write(&path, elf).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn machine() -> Machine {
        let config = Config { live: true, ..Config::default() };
        Machine {
            spaces: Spaces::default(),
            loader: Loader::new(symbols::Config::default()),
            addresses: Addresses::new(&config),
            frames: FrameTable::default(),
        }
    }

    #[test]
    fn a_jit_that_ended_keeps_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let mut machine = machine();
        let symfs = Some(folder.path().into());
        machine.loader = Loader::new(symbols::Config { symfs, ..symbols::Config::default() });
        machine.execute(2, "//anon");
        let in_map = machine.hit(2, 0x1800);
        let nowhere = machine.hit(2, 0x9000);
        machine.resolve();
        let frames = [in_map, nowhere].map(|id| machine.addresses.frames(id, None)[0].frame);
        let maps = folder.path().join("tmp");
        std::fs::create_dir(&maps).unwrap();
        std::fs::write(maps.join("perf-2.map"), "1800 10 f\n9000 10 g\n").unwrap();
        machine.end(2);
        for pid in 3..2000 {
            machine.execute(pid, "//anon");
            machine.hit(pid, 0x1800);
            machine.end(pid);
        }
        machine.resolve();
        let numbers = machine.forget();
        assert_eq!(numbers[nowhere as usize], None);
        // Samples that were folded have these frames.
        let symbols = frames.map(|frame| machine.frames.symbol(frame).to_string());
        assert_eq!(symbols, ["f", "g"]);
    }

    #[test]
    fn a_program_of_many_addresses_has_some_of_them_looked_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut machine = machine();
        machine.execute(2, &program(folder.path(), "large"));
        let of_jit = machine.hit(2, 0x9000);
        for at in 0..3 * MOST as u64 {
            machine.hit(2, 0x1000 + at % 0x1000);
            machine.resolve();
            let numbers = machine.forget();
            assert!(machine.addresses.keys.len() <= MOST + 1);
            assert_eq!(numbers[of_jit as usize], Some(of_jit));
        }
    }

    #[test]
    fn a_long_recording_keeps_no_address_of_programs_that_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let shell = program(folder.path(), "sh");
        let mut machine = machine();
        machine.execute(2, &shell);
        let mut of_shell = machine.hit(2, 0x1800);
        let mut of_jit = machine.hit(2, 0x9000);
        let mut most = 0;
        for n in 0..6000 {
            let pid = 3 + n;
            let path = program(folder.path(), &n.to_string());
            machine.execute(pid, &path);
            // In its file, and where it has no map.
            machine.hit(pid, 0x1800);
            machine.hit(pid, 0x9000);
            std::fs::remove_file(path).unwrap();
            machine.end(pid);
            if n % 100 == 0 {
                machine.resolve();
                let numbers = machine.forget();
                [of_shell, of_jit] = [of_shell, of_jit].map(|id| numbers[id as usize].unwrap());
                assert!(machine.spaces.take_nameless().is_empty());
                most = most.max(machine.addresses.keys.len());
            }
        }
        // Two for each of the last 1024 processes, and of those since the last look.
        assert!(most <= 2 * (1024 + 300), "{most}");
        assert!(machine.addresses.named.len() <= most, "{}", machine.addresses.named.len());
        machine.resolve();
        assert_eq!(machine.name(of_shell), ("[unknown]".into(), shell));
        assert_eq!((machine.hit(2, 0x1800), machine.hit(2, 0x9000)), (of_shell, of_jit));
        // Nothing of those that are gone stands in for a name.
        let waiting = machine.addresses.unsettled.len();
        let frames = (0..machine.frames.len()).map(crate::sample::FrameId::at);
        let stand_ins = frames.filter(|&id| machine.frames.symbol(id).starts_with_str("\0"));
        assert_eq!(stand_ins.count(), waiting);
    }
}
