//! Outputs that cannot be written, or are no plain files.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;

use super::*;

#[test]
fn outputs() {
    let mut area = Area::new("outputs");
    let dir = inputs();
    std::fs::create_dir(dir.path("folder")).unwrap();
    symlink("no/such/folder/file", dir.path("lost")).unwrap();
    symlink("round", dir.path("round")).unwrap();
    let long = "x".repeat(300);
    for run in RUNS {
        let expected = run.expected(&dir);
        let end = &run.output["out".len()..];
        let mut names: Vec<String> = [
            "folder",
            "no/such/folder/x",
            "in.data/x",
            "lost",
            "round",
            "/dev/null",
            "/dev/full",
            "/proc/self/x",
            "/proc/self/mem",
            "/proc/version",
            "",
            &long,
        ]
        .map(Into::into)
        .into();
        // The extension decides about the format.
        names.extend([format!("new\nline{end}"), format!("dangling{end}")]);
        symlink(format!("nowhere{end}"), dir.path(&format!("dangling{end}"))).unwrap();
        for output in names {
            let outcome = run.at(&dir, output.as_ref()).run();
            let is_file = output.ends_with(end) && !end.is_empty();
            let complete = if is_file {
                std::fs::read(dir.path(&output)).is_ok_and(|written| written == expected)
            } else {
                output == "/dev/null"
            };
            area.cell(&dir, &format!("{run}: {output:?}"), &outcome, complete);
        }
        std::fs::remove_file(dir.path(&format!("dangling{end}"))).unwrap();
        let strange = std::ffi::OsString::from_vec([b"\xff\xfe", end.as_bytes()].concat());
        let outcome = run.at(&dir, &strange).run();
        let written = std::fs::read(dir.path("").join(&strange)).unwrap_or_default();
        area.cell(&dir, &format!("{run}: {strange:?}"), &outcome, written == expected);
    }
    area.end();
}

impl Run {
    /// The program, with its output at `path`.
    fn at(&self, dir: &Dir, path: &std::ffi::OsStr) -> Cmd {
        let cmd = dir.cmd("timeout").args(["-k", "5", "300"]).arg(bin(self.program));
        cmd.args(self.args).arg("-o").arg(path).env("HOME", dir.path(""))
    }
}
