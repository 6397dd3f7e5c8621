//! Limits of the system: files, sizes, memory, threads, and a disk that is full.

use super::*;
use crate::harness::cannot_run;

#[test]
fn limits() {
    let mut area = Area::new("limits");
    let dir = inputs();
    let files: &[u32] = if is_whole() { &[3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 24] } else { &[4, 8] };
    let mut limits: Vec<String> = files.iter().map(|files| format!("ulimit -n {files}")).collect();
    limits.extend(
        ["ulimit -f 0", "ulimit -f 1", "ulimit -v 4000000", "ulimit -c 0 -s 2000"].map(Into::into),
    );
    for run in RUNS {
        let expected = run.expected(&dir);
        for limit in &limits {
            let line = format!("{limit} && exec \"$@\"");
            let outcome = run.under(&dir, &["bash", "-c", &line, "bash"]).run();
            let complete = run.is_complete(&dir, &expected);
            area.cell(&dir, &format!("{run}: {limit}"), &outcome, complete);
            let _ = std::fs::remove_file(dir.path(run.output));
        }
    }
    area.end();
}

#[test]
fn a_full_disk() {
    let mut area = Area::new("a_full_disk");
    let dir = inputs();
    std::fs::create_dir(dir.path("disk")).unwrap();
    for run in RUNS {
        let expected = run.expected(&dir);
        dir.write("expected", &expected);
        for size in ["4k", "8k", "16k", "32k"] {
            let Run { output, .. } = run;
            let line = format!(
                "mount -t tmpfs -o size={size} t disk || exit 77; {} -o disk/{output}; s=$?; \
                 cmp -s disk/{output} expected && touch complete; mkdir left; \
                 cp disk/.flamepipe* . 2>/dev/null; exit $s",
                run.line()
            );
            let _ = std::fs::remove_dir(dir.path("left"));
            let outcome = dir.cmd("unshare").args(["-m", "sh", "-c", &line]).run();
            if outcome.status.code() == Some(77) || !dir.path("left").exists() {
                return cannot_run("faults::a_full_disk", "it needs root and unshare(1)");
            }
            let complete = std::fs::remove_file(dir.path("complete")).is_ok();
            area.cell(&dir, &format!("{run}: a disk of {size}"), &outcome, complete);
        }
    }
    area.end();
}
