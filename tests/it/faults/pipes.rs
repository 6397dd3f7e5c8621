//! Standard streams that are closed, full, empty, or end in the middle.

use super::*;

#[test]
fn pipes() {
    let mut area = Area::new("pipes");
    let dir = inputs();
    for run in RUNS {
        let expected = run.expected(&dir);
        let line = run.line();
        let half = |input: &str| format!("head -c 1000 {input} | {}", line.replace(input, "-"));
        let empty = line.replace("in.data", "-").replace("in.folded", "-").replace("in.txt", "-");
        // Whether the whole output must be there if the status is 0.
        let cells = [
            // A closed stream is /dev/null, as in all programs in Rust.
            (format!("{line} -o /dev/stdout >&-"), false),
            (format!("{line} -o /dev/stdout >/dev/full"), true),
            (format!("{line} -o {} <&-", run.output), true),
            (format!("{line} -o {} <&- >&- 2>&-", run.output), true),
            (format!("{line} -o {} 2>/dev/full", run.output), true),
            (format!("{line} -o {} </dev/full", run.output), true),
            (format!("{line} -o /dev/stdout | head -c 1 >/dev/null"), false),
            (format!("{empty} -o {} </dev/null", run.output), false),
            (half("in.data"), false),
            (half("in.folded"), false),
            (half("in.txt"), false),
        ];
        for (cell, needs_output) in cells {
            let shell = ["-k", "5", "300", "sh", "-c", &cell];
            let outcome = dir.cmd("timeout").args(shell).env("HOME", dir.path("")).run();
            let complete = !needs_output || run.is_complete(&dir, &expected);
            area.cell(&dir, &cell, &outcome, complete);
            let _ = std::fs::remove_file(dir.path(run.output));
        }
    }
    area.end();
}
