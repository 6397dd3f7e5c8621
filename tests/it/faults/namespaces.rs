//! Systems that lack what is usually there. Readers need none of it.

use super::*;
use crate::harness::cannot_run;

#[test]
fn namespaces() {
    let test = "faults::namespaces";
    let mut area = Area::new("namespaces");
    let dir = inputs();
    let works = dir.cmd("unshare").args(["-m", "mount", "-t", "tmpfs", "t", "/sys"]).run();
    if !works.status.success() {
        return cannot_run(test, "it needs root and unshare(1)");
    }
    for run in RUNS {
        let expected = run.expected(&dir);
        for (options, line) in [
            ("-m", "mount -t tmpfs t /proc"),
            ("-m", "mount -t tmpfs t /sys"),
            ("-m", "mount -t tmpfs t /dev"),
            ("-mpf", "mount -t proc t /proc"),
            ("-n", "true"),
            ("-U", "true"),
            ("-m", "export PATH=/nonexistent TMPDIR=/nonexistent HOME="),
        ] {
            let line = format!("{line} && exec \"$@\"");
            let outcome =
                run.under(&dir, &["unshare", options, "/bin/sh", "-c", &line, "sh"]).run();
            let complete = run.is_complete(&dir, &expected) && outcome.status.success();
            area.cell(&dir, &format!("{run}: {options} {line}"), &outcome, complete);
            if !complete {
                area.broken.push(format!("{run}: {options} {line}: {}", outcome.everything()));
            }
            let _ = std::fs::remove_file(dir.path(run.output));
        }
    }
    area.end();
}
