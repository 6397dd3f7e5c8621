//! What makes profiles of many machines mergeable: labels, factors, bounds, lists of files, packed
//! files, empty inputs, units.

use std::io::Read;

use super::Dir;
use bstr::ByteSlice;

const SCRIPT: &str = "a 7/8 [000] 1.5: 10 cycles:u: \n\t              10 f (/a)\n\n";

#[test]
fn profiles_are_labelled_scaled_and_bounded() {
    let text = "a;b;c 6\na;b;d 3\na;e 1\n";
    for (options, folded) in [
        ("--label host=x", "host=x;a;b;c 6\nhost=x;a;b;d 3\nhost=x;a;e 1\n"),
        (
            "--label host=x,build=1.2",
            "host=x;build=1.2;a;b;c 6\nhost=x;build=1.2;a;b;d 3\nhost=x;build=1.2;a;e 1\n",
        ),
        ("--scale 0.5", "a;b;c 3\na;b;d 2\n"),
        ("--min-weight 50%", "a;[other] 1\na;b;[other] 3\na;b;c 6\n"),
        // The minimum is one of the profile as it was read.
        (
            "--min-weight 4 --scale 10 --label k=v",
            "k=v;a;[other] 10\nk=v;a;b;[other] 30\nk=v;a;b;c 60\n",
        ),
    ] {
        let run = Dir::new().cmd("fg-fold").args(options.split(' ')).stdin(text).run().success();
        assert_eq!(run.stdout, folded, "{options}");
    }
    for wrong in
        ["--label x", "--label =x", "--label a=b;c", "--scale 0", "--scale x", "--min-weight 1.5"]
    {
        Dir::new().cmd("fg-fold").args(wrong.split(' ')).stdin(text).run().code(2);
    }
}

#[test]
fn empty_inputs_are_allowed_if_asked_for() {
    let dir = Dir::new();
    dir.write("empty", "");
    dir.write("comments", "# event : name = cycles\n");
    dir.write("odd", "odd\n");
    dir.write("full.script", SCRIPT);
    dir.cmd("fg-fold").args(["full.script", "empty"]).run().code(1).says("empty is empty");
    let allowed = |files: &[&str]| dir.cmd("fg-fold").arg("--allow-empty").args(files).run();
    assert_eq!(allowed(&["full.script", "empty"]).success().stdout, "# unit: cycles 0\na;f 10\n");
    assert_eq!(allowed(&["empty"]).success().stdout, "");
    assert_eq!(allowed(&["comments"]).success().stdout, "");
    allowed(&["odd"]).code(1);
    dir.cmd("fg-diff").args(["empty", "empty"]).run().code(1);
    let diff = dir.cmd("fg-diff").args(["--allow-empty", "empty", "empty"]).run().success();
    assert_eq!(diff.stdout, "");
    assert_eq!(dir.cmd("fg-filter").args(["--keep", "x", "empty"]).run().success().stdout, "");
}

#[test]
fn files_are_listed_by_lines_or_zeros() {
    let dir = Dir::new();
    dir.write("a b", "a 1\n");
    dir.write("c\nd", "a 2\n");
    let fold = |list: &str| dir.cmd("fg-fold").args(["--files-from", "-"]).stdin(list).run();
    assert_eq!(fold("a b\n\na b\n").success().stdout, "a 2\n");
    assert_eq!(fold("a b\0c\nd\0").success().stdout, "a 3\n");
    fold("a b\nmissing\n").code(1).says("cannot read missing");
    fold("\n").code(1).says("standard input lists no files");
    dir.write("none", "");
    let none = dir.cmd("fg-fold").args(["--allow-empty", "--files-from", "none"]).stdin("a 1\n");
    assert_eq!(none.run().success().stdout, "");
    dir.cmd("fg-fold").args(["--files-from", "x", "y"]).run().code(2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_listed_name_may_be_any_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let dir = Dir::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    std::fs::write(dir.path("").join(name), "a 1\n").unwrap();
    let list = dir.cmd("fg-fold").args(["--files-from", "-"]).stdin(b"caf\xe9\n");
    assert_eq!(list.run().success().stdout, "a 1\n");
}

#[test]
fn outputs_are_packed_by_their_names() {
    let dir = Dir::new();
    let text = "a;b 1\n";
    for (name, sign) in [("x.folded.gz", &b"\x1f\x8b"[..]), ("x.folded.zst", b"\x28\xb5\x2f\xfd")] {
        dir.cmd("fg-fold").args(["-o", name]).stdin(text).run().success();
        assert!(dir.read(name).starts_with(sign), "{name}");
        assert_eq!(dir.cmd("fg-filter").args(["--keep", "a", name]).stdout(), text);
        assert_eq!(dir.cmd("fg-fold").args([name, name]).stdout(), "a;b 2\n");
    }
    dir.cmd("fg-export").args(["-o", "x.pb.gz"]).stdin(text).run().success();
    let packed = dir.read("x.pb.gz");
    let mut profile = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut profile).unwrap();
    assert!(!profile.starts_with(b"\x1f\x8b"), "packed twice");
}

#[test]
fn mixed_units_are_said() {
    let dir = Dir::new();
    dir.write("ns", "# unit: ns 0\na 1\n");
    dir.write("cycles", "# unit: cycles 0\na 1\n");
    dir.write("samples", "# unit: samples 0\na 1\n");
    dir.write("none", "a 1\n");
    dir.write("script", SCRIPT);
    for (files, differing) in [
        (&["ns", "ns"][..], 0),
        (&["none", "none"], 0),
        (&["none", "samples"], 0),
        (&["cycles", "script"], 0),
        (&["ns", "cycles"], 1),
        (&["none", "ns"], 1),
        (&["ns", "none", "script"], 2),
    ] {
        let run = dir.cmd("fg-fold").arg("--strict").args(files).run();
        let run = run.code(if differing == 0 { 0 } else { 3 });
        let said = match differing {
            0 => None,
            1 => Some("1 input in another unit"),
            _ => Some("2 inputs in other units"),
        };
        assert!(said.is_none_or(|said| run.stderr.contains_str(said)), "{files:?}: {}", run.stderr);
        dir.cmd("fg-fold").args(["--strict", "--no-unit"]).args(files).run().success();
    }
}
