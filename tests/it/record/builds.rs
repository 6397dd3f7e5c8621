//! A recording names the build that was recorded, or none: programs are built anew, replaced and
//! overwritten.

use super::*;
use crate::harness::is_not_for_here;

/// A program that spends 100 ms in the function `name`, built with `flags`.
fn compiled(dir: &Dir, output: &str, name: &str, flags: &[&str]) {
    // The functions differ in their code too unless the flags say that they do not.
    let source = format!(
        "#include <time.h>\n\
         #ifndef PAD\n#define PAD {}\n#endif\n\
         __attribute__((noinline)) void {name}(void) {{\n\
             volatile char room[PAD]; struct timespec now; long end = 0;\n\
             do {{ for (volatile long i = 0; i < 100000; i++) room[i % PAD] = i;\n\
                  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);\n\
                  end = now.tv_sec * 1000 + now.tv_nsec / 1000000; }} while (end < 100); }}\n\
         int main(void) {{ {name}(); return 0; }}\n",
        16 * name.len()
    );
    dir.write("source.c", source);
    let mut cc = Command::new("cc");
    cc.current_dir(dir.path("")).args(["-O1", "-fomit-frame-pointer", "source.c", "-o", output]);
    let done = cc.args(flags).output().unwrap();
    assert!(done.status.success(), "{}", done.stderr.to_str_lossy());
}

fn record_native(dir: &Dir, command: &[&str]) {
    let line = ["-e", "cpu-clock", "-o", "x"];
    dir.cmd("fg-record").args(line).args(command).run().success();
}

/// Folds the program's samples without perf's copies of its files.
fn folded(dir: &Dir) -> Cmd {
    dir.cmd("fg-fold").env("HOME", dir.path("")).args(["--strict", "x"])
}

const OTHERS: &str = "so their names were not used: ";

#[test]
fn a_program_that_was_built_anew_names_nothing() {
    if !can_record("a_program_that_was_built_anew_names_nothing") {
        return;
    }
    // With build ids, without them, and with equal build ids, because ld leaves names out of the
    // hash.
    for flags in [&["-Wl,--build-id"][..], &["-Wl,--build-id=none"], &["-DPAD=64"]] {
        let dir = Dir::new();
        compiled(&dir, "program", "first_name", flags);
        record_native(&dir, &["./program"]);
        let before = folded(&dir).run().success();
        assert!(before.stdout.contains_str(";main;first_name "), "{}", before.everything());
        compiled(&dir, "new", "second_name_of_it", flags);
        std::fs::rename(dir.path("new"), dir.path("program")).unwrap();
        let after = folded(&dir).run().code(3).says(OTHERS);
        assert!(!after.stdout.contains_str("_name"), "{flags:?} {}", after.everything());
        compiled(&dir, "new", "third_name", flags);
        std::fs::write(dir.path("program"), dir.read("new")).unwrap();
        let after = folded(&dir).run().code(3).says(OTHERS);
        assert!(!after.stdout.contains_str("_name"), "{flags:?} {}", after.everything());
    }
}

#[test]
fn a_copy_that_keeps_its_build_id_names_it() {
    if !can_record("a_copy_that_keeps_its_build_id_names_it") {
        return;
    }
    let dir = Dir::new();
    compiled(&dir, "program", "first_name", &["-g", "-Wl,--build-id"]);
    record_native(&dir, &["./program"]);
    let bytes = dir.read("program");
    std::fs::remove_file(dir.path("program")).unwrap();
    dir.write("program", bytes);
    let folded = folded(&dir).run().success();
    assert!(folded.stdout.contains_str(";main;first_name "), "{}", folded.everything());
}

#[test]
fn programs_that_take_turns_under_one_name_are_told_apart() {
    if !can_record("programs_that_take_turns_under_one_name_are_told_apart") {
        return;
    }
    for flags in [&["-Wl,--build-id"][..], &["-Wl,--build-id=none"], &["-DPAD=64"]] {
        let dir = Dir::new();
        compiled(&dir, "one", "first_name", flags);
        compiled(&dir, "two", "second_name_of_it", flags);
        let turns = "cp one p; ./p; cp two q; mv q p; ./p; cat one > p; ./p";
        let line = ["-e", "cpu-clock", "-o", "g.svg", "--", "sh", "-c", turns];
        let drawn = dir.cmd("flamegraph").args(line).run().success();
        let folded = dir.cmd("fg-fold").args(["-q", "g.svg"]).stdout();
        let weight = |name: &str| -> u64 {
            let lines = folded.lines().filter(|line| line.contains_str(name));
            let weight = |line: &[u8]| line.to_str_lossy().rsplit_once(' ')?.1.parse::<u64>().ok();
            lines.filter_map(weight).sum()
        };
        let first = weight(";main;first_name") as f64;
        let second = weight(";main;second_name_of_it") as f64;
        // A message says so if the machine is so busy that a program ends before its file is looked
        // at.
        let unnamed = drawn.stderr.contains_str(OTHERS);
        let all = weight("p;") as f64;
        assert!(first < 0.8 * all && second < 0.5 * all, "{flags:?}: {first}, {second}\n{folded}");
        assert!(unnamed || first > 0.5 * all && second > 0.2 * all, "{flags:?}\n{folded}");
    }
}

/// Code without a frame pointer leaves that of an outer function in the register. If its file is
/// missing, following the register would skip `outer`.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_missing_library_hides_no_caller() {
    if !can_record("a_missing_library_hides_no_caller") {
        return;
    }
    let library = "void work(void) { for (volatile long i = 0; i < 20000000; i++); }";
    let program = "void work(void); __attribute__((noinline)) void outer(void) {\n\
                       for (volatile int i = 0; i < 1; i++) work(); }\n\
                   int main(void) { outer(); return 0; }";
    let cases = [
        ("-fomit-frame-pointer", "app;[truncated];[libwork.so] "),
        ("-fno-omit-frame-pointer", ";main;outer;[libwork.so] "),
    ];
    for (flag, stack) in cases {
        let dir = Dir::new();
        dir.write("library.c", library);
        dir.write("program.c", program);
        let cc = |args: &[&str]| dir.cmd("cc").args(["-O1"]).args(args).run().success();
        cc(&[flag, "-shared", "-fPIC", "-o", "libwork.so", "library.c"]);
        let found = ["-L.", "-lwork", "-Wl,-rpath,$ORIGIN"];
        cc(&[&["-fno-omit-frame-pointer", "-o", "app", "program.c"][..], &found].concat());
        record_native(&dir, &["--raw-stacks", "./app"]);
        std::fs::remove_file(dir.path("libwork.so")).unwrap();
        let folded = dir.cmd("fg-fold").env("HOME", dir.path("")).args(["x"]).run().success();
        assert!(folded.stdout.contains_str(stack), "{flag}: {}", folded.everything());
        assert!(!folded.stdout.contains_str("main;[libwork.so]"), "{}", folded.everything());
    }
}

#[test]
fn perf_reads_the_build_ids() {
    if !perf_works("perf_reads_the_build_ids") {
        return;
    }
    let dir = Dir::new();
    compiled(&dir, "program", "first_name", &["-Wl,--build-id"]);
    record_native(&dir, &["./program"]);
    let list = dir.cmd("perf").args(["buildid-list", "-i", "x"]).stdout();
    let program = std::fs::canonicalize(dir.path("program")).unwrap();
    let line = list.lines().find(|line| line.ends_with(program.as_os_str().as_encoded_bytes()));
    let id = line.and_then(|line| line.fields().next()).map(|id| id.to_str_lossy().into_owned());
    let notes = dir.cmd("readelf").args(["-n", "program"]).stdout();
    assert!(id.is_some_and(|id| notes.contains_str(&id)), "{list}\n{notes}");
    let script = dir.cmd("perf").args(["script", "-i", "x"]).stdout();
    assert!(script.contains_str(" first_name+0x"), "{script}");
}

#[test]
fn a_thread_of_another_mount_namespace_has_its_own_files() {
    let test = "a_thread_of_another_mount_namespace_has_its_own_files";
    if !can_record(test) {
        return;
    }
    let dir = Dir::new();
    compiled(&dir, "one", "first_name", &[]);
    compiled(&dir, "two", "second_name_of_it", &[]);
    std::fs::copy(dir.path("one"), dir.path("program")).unwrap();
    let unshared = ["unshare", "--user", "--map-root-user", "--mount", "true"];
    let can = Command::new(unshared[0]).args(&unshared[1..]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        return is_not_for_here(test, "unshare(1) makes no namespace of mounts here");
    }
    // Within, /…/program is the second program; outside, it is the first.
    let inside = "mount --bind two program && ./program";
    let line = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside];
    record_native(&dir, &line);
    let folded = folded(&dir).run().code(3).says(OTHERS);
    // The kernel has a `create_new_namespaces`.
    for name in ["first_name", "second_name"] {
        assert!(!folded.stdout.contains_str(name), "{}", folded.everything());
    }
}

/// perf finds build ids only by path, so it cannot distinguish two files that had one path.
#[test]
fn programs_that_take_turns_under_perf_are_told_apart() {
    if !perf_works("programs_that_take_turns_under_perf_are_told_apart") {
        return;
    }
    let dir = Dir::new();
    compiled(&dir, "one", "first_name", &["-Wl,--build-id"]);
    compiled(&dir, "two", "second_name_of_it", &["-Wl,--build-id"]);
    let turns = "cp one p; ./p; cp two q; mv q p; ./p";
    let line =
        ["record", "-q", "-e", "cpu-clock", "--call-graph", "dwarf,8192", "-o", "x", "--", "sh"];
    let line = line.into_iter().chain(["-c", turns]);
    dir.cmd("perf").env("HOME", dir.path("")).args(line).run().success();
    std::fs::remove_dir_all(dir.path(".debug")).unwrap();
    let folded = folded(&dir).run().code(3).says(OTHERS);
    assert!(folded.stdout.contains_str(";main;second_name_of_it "), "{}", folded.everything());
    assert!(!folded.stdout.contains_str("first_name"), "{}", folded.everything());
    let unnamed = folded.stdout.lines().filter(|line| line.contains_str(";[p] "));
    assert!(unnamed.count() > 0, "{}", folded.everything());
}
