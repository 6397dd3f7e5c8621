//! Names wherever they are kept, and files that are damaged.

use super::*;

#[test]
fn names_are_found_wherever_debugging_information_is_kept() {
    let test = "names_are_found_wherever_debugging_information_is_kept";
    let dir = Dir::new();
    let Some(program) = compiled(&dir, test, &["-g", "-Wl,--build-id"]) else { return };
    let bytes = std::fs::read(&program).unwrap();
    let addresses = addresses(&bytes, 2_000);
    let nowhere = Config { debug_dirs: vec![], build_id_cache: None, ..Config::default() };
    let wanted = loaded(&nowhere, &program, &addresses);
    assert!(wanted.iter().any(|frames| frames.len() > 3));
    let at = |name: &str| dir.path(name).to_str().unwrap().to_owned();
    let same = |config: &Config, path: &str| {
        assert_eq!(loaded(config, Path::new(path), &addresses), wanted, "{path}");
    };
    let objcopy = |args: &[&str]| tool(test, "objcopy", args).is_some();

    // Compressed in each way.
    for kind in ["zlib", "zlib-gnu", "zstd"] {
        let packed = at(kind);
        let flag = format!("--compress-debug-sections={kind}");
        if objcopy(&[&flag, &at("program"), &packed]) {
            same(&nowhere, &packed);
        }
    }

    // Stripped, with the debug file by link and by build-id.
    std::fs::create_dir_all(dir.path("bin/.debug")).unwrap();
    let debug = at("bin/program.debug");
    let done = objcopy(&["--only-keep-debug", &at("program"), &debug])
        && objcopy(&[
            "--strip-all",
            &format!("--add-gnu-debuglink={debug}"),
            &at("program"),
            &at("bin/program"),
        ]);
    if !done {
        return;
    }
    same(&nowhere, &at("bin/program"));
    std::fs::rename(&debug, at("bin/.debug/program.debug")).unwrap();
    same(&nowhere, &at("bin/program"));
    let id = Module::open(&program).unwrap().build_id().unwrap().to_owned();
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let by_id = format!("dbg/.build-id/{}/{}.debug", &hex[..2], &hex[2..]);
    dir.write(&by_id, std::fs::read(at("bin/.debug/program.debug")).unwrap());
    std::fs::remove_file(at("bin/.debug/program.debug")).unwrap();
    let there = Config { debug_dirs: vec![dir.path("dbg")], ..nowhere.clone() };
    same(&there, &at("bin/program"));
    let stripped = loaded(&nowhere, Path::new(&at("bin/program")), &addresses);
    assert!(stripped.iter().all(Vec::is_empty), "a stripped file has no names of its own");

    // Under another root, deleted, and in perf's cache.
    let path = dir.path("bin/program");
    let root = Config { symfs: Some(dir.path("root")), ..nowhere.clone() };
    let under = dir.path("root").join(program.strip_prefix("/").unwrap_or(&program));
    std::fs::create_dir_all(under.parent().unwrap()).unwrap();
    std::fs::copy(&program, under).unwrap();
    same(&root, program.to_str().unwrap());
    let name = format!("{} (deleted)", program.display());
    let module = |config: &Config, name: &str, id: Option<&[u8]>| {
        let loader = Loader::new(config.clone());
        let module = loader.module(&identity(name.as_bytes(), id), None);
        (module, loader.warnings())
    };
    assert_eq!(ours(&module(&nowhere, &name, Some(&id)).0.unwrap(), &addresses), wanted);
    assert!(module(&nowhere, &name, None).0.is_none(), "a deleted file's name proves nothing");
    dir.write(&format!("cache/.build-id/{}/{}/elf", &hex[..2], &hex[2..]), &bytes);
    let cache = Config { build_id_cache: Some(dir.path("cache")), ..nowhere.clone() };
    assert_eq!(ours(&module(&cache, "/gone", Some(&id)).0.unwrap(), &addresses), wanted);

    // Another build.
    let (found, warnings) = module(&nowhere, path.to_str().unwrap(), Some(&[1; 20]));
    assert!(found.is_none());
    assert_eq!(warnings.mismatched, [path.to_str().unwrap()]);
    assert_eq!(warnings.missing, [""; 0]);
}

#[test]
fn split_units_are_found_loose_and_packed() {
    let test = "split_units_are_found_loose_and_packed";
    for version in ["-gdwarf-5", "-gdwarf-4"] {
        let dir = Dir::new();
        let Some(program) = compiled(&dir, test, &[version]) else { return };
        // The addresses in the debug sections differ, but the code is the same.
        let flags = [version, "-gsplit-dwarf", "-c"];
        let source = dir.write("program.cpp", PROGRAM);
        let object = dir.path("split.o");
        let mut command = Command::new("g++");
        command.current_dir(dir.path(".")).args(flags).args(["-O2", "-o"]).arg(&object).arg(source);
        assert!(command.status().unwrap().success());
        let split = dir.path("split");
        assert!(Command::new("g++").arg("-o").arg(&split).arg(object).status().unwrap().success());
        let addresses = addresses(&std::fs::read(&program).unwrap(), 2_000);
        let config = Config::default();
        let wanted = loaded(&config, &program, &addresses);
        assert_eq!(loaded(&config, &split, &addresses), wanted, "{version}");
        let (path, package) = (split.to_str().unwrap(), dir.path("split.dwp"));
        // GNU dwp 2.40 crashes on DWARF 5.
        let dwp = if version == "-gdwarf-5" { "llvm-dwp" } else { "dwp" };
        if tool(test, dwp, &["-e", path, "-o", package.to_str().unwrap()]).is_none() {
            return;
        }
        std::fs::remove_file(dir.path("split.dwo")).unwrap();
        assert_eq!(loaded(&config, &split, &addresses), wanted, "{version} packed");
        std::fs::remove_file(package).unwrap();
        let module = Module::open(&split).unwrap();
        assert!(
            module.functions(&addresses, Naming::INLINES).broken_units > 0,
            "what is missing is counted"
        );
    }
}

#[test]
fn a_stripped_module_has_the_symbols_its_distribution_left_it() {
    let test = "a_stripped_module_has_the_symbols_its_distribution_left_it";
    let dir = Dir::new();
    let Some(program) = compiled(&dir, test, &[]) else { return };
    let addresses = addresses(&std::fs::read(&program).unwrap(), 2_000);
    let at = |name: &str| dir.path(name).to_str().unwrap().to_owned();
    let wanted = loaded(&Config::default(), &program, &addresses);
    // As rpm's find-debuginfo makes it.
    let debugdata = format!("--add-section=.gnu_debugdata={}", at("mini.xz"));
    let steps: [(&str, &[&str]); 3] = [
        ("objcopy", &["--only-keep-debug", &at("program"), &at("mini")]),
        ("xz", &["--keep", &at("mini")]),
        ("objcopy", &["--strip-all", &debugdata, &at("program"), &at("stripped")]),
    ];
    if steps.iter().any(|(program, args)| tool(test, program, args).is_none()) {
        return;
    }
    assert_eq!(loaded(&Config::default(), &dir.path("stripped"), &addresses), wanted);
}

/// Numbers that look random and are the same in every run.
fn random(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed as usize
}

#[test]
fn damaged_files_have_fewer_names_and_nothing_worse() {
    let test = "damaged_files_have_fewer_names_and_nothing_worse";
    let dir = Dir::new();
    let Some(program) = compiled(&dir, test, &["-g"]) else { return };
    let bytes = std::fs::read(program).unwrap();
    let addresses = addresses(&bytes, 100);
    let ranges: Vec<(u64, u64)> = {
        let file = object::File::parse(&*bytes).unwrap();
        let wanted = [".debug_", ".symtab", ".strtab", ".dynsym", ".rela", ".note", ".gnu"];
        let sections = file.sections().filter(|section| {
            wanted.iter().any(|wanted| section.name().unwrap().starts_with(wanted))
        });
        let table = bytes.len() as u64 - file.sections().count() as u64 * 64;
        let headers = [(0, 1000), (table, bytes.len() as u64 - table)];
        sections.filter_map(|section| section.file_range()).chain(headers).collect()
    };
    let cases = std::env::var("FLAMEPIPE_TEST_CASES").map_or(60, |cases| cases.parse().unwrap());
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for case in 0..cases {
        let mut bytes = bytes.clone();
        let (start, size) = ranges[random(&mut seed) % ranges.len()];
        for _ in 0..=random(&mut seed) % 8 {
            let at = start as usize + random(&mut seed) % size.max(1) as usize;
            bytes[at] = random(&mut seed) as u8;
        }
        if case % 7 == 0 {
            bytes.truncate(random(&mut seed) % bytes.len());
        }
        let began = processor_time();
        if let Ok(module) = Module::from_bytes(Path::new("damaged"), bytes) {
            module.functions(&addresses, Naming::INLINES);
        }
        let used = processor_time() - began;
        assert!(used < 20.0, "case {case} took {used} s");
    }
}
