//! Modules and what JITs write: tables of symbols, DWARF, Go's table, maps and dumps. `cargo fuzz run modules`, seeded with small programs.
#![no_main]

use std::path::Path;

use flamepipe::symbols::{Jitdump, Module, Naming, PerfMap};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(module) = Module::from_bytes(Path::new("fuzz"), bytes.to_vec()) {
        let code = module.segments().iter().filter(|segment| segment.executable);
        let mut addresses: Vec<u64> = code.flat_map(|code| [0, 16, 256].map(|at| code.address.saturating_add(at))).collect();
        addresses.sort_unstable();
        addresses.dedup();
        module.functions(&addresses, Naming { starts: true, ..Naming::INLINES });
    }
    let map = PerfMap::read(bytes);
    map.find(0x1000);
    if let Some(dump) = Jitdump::from_bytes(bytes.to_vec()) {
        dump.find(0x1000, Some(1));
        dump.changes(0x1000);
    }
});
