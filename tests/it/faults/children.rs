//! Programs that we start, and that are missing, fail, die, or say nonsense.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::record::{burn, can_record};

/// What a child may do.
const DEEDS: [&str; 10] = [
    "exit 0",
    "exit 1",
    "exit 127",
    "kill -9 $$",
    "kill -SEGV $$",
    "echo nonsense",
    "head -c 100000 /dev/urandom",
    "exec <&- >&- 2>&-; sleep 0.1",
    "echo oops >&2; exit 3",
    "cat >/dev/null; exit 0",
];

#[test]
fn children() {
    let mut area = Area::new("children");
    let dir = inputs();
    std::fs::create_dir(dir.path("bin")).unwrap();
    let child = |name: &str, deed: &str| {
        let path = dir.write(&format!("bin/{name}"), format!("#!/bin/sh\n{deed}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let path = format!("{}:{}", dir.path("bin").display(), std::env::var("PATH").unwrap());
    let can_record = can_record("faults::children");
    for deed in DEEDS {
        let mut cell = |what: &str, cmd: Cmd| {
            let outcome = cmd.env("PATH", &path).env("HOME", dir.path("")).run();
            // The picture is XML, so it ends with its root.
            let svg = std::fs::read(dir.path("x.svg")).unwrap_or_default();
            let complete = svg.trim_end().ends_with(b"</svg>");
            area.cell(&dir, &format!("{what}: {deed}"), &outcome, complete);
            let _ = std::fs::remove_file(dir.path("x.svg"));
        };
        let flamegraph = || {
            let cmd = dir.cmd("timeout").args(["-k", "5", "300"]).arg(bin("flamegraph"));
            cmd.args(["-o", "x.svg"])
        };
        let perfdata = ["--symfs", "root", "--perfdata", "in.data"];
        let command = format!("sh -c '{deed}'");
        cell("--post-process", flamegraph().args(perfdata).args(["--post-process", &command]));
        child("debuginfod-find", deed);
        let servers = || flamegraph().args(["--debuginfod=1", "--perfdata", "in.data"]);
        cell("debuginfod", servers().env("DEBUGINFOD_URLS", "http://127.0.0.1:9"));
        child("perf", deed);
        cell("perf script", flamegraph().args(["--backend", "perf"]).args(perfdata));
        if can_record {
            let record = || flamegraph().args(["-e", "cpu-clock"]);
            let burn = || [burn().to_str().unwrap(), "--ms", "30"];
            cell("perf record", record().args(["--backend", "perf", "--"]).args(burn()));
            child("sudo", deed);
            cell("sudo", record().args(["--root", "--"]).args(burn()));
            cell("workload", record().args(["--", "sh", "-c", deed]));
        }
    }
    area.end();
}
