//! `scripts/ci-gate`, as a pipeline runs it: once on the base branch, then on changes.

use crate::harness::{Cmd, Dir, bin_dir, example, repo};

/// `scripts/ci-gate` in `dir`.
fn gate(dir: &Dir, options: &[&str], command: &[&str]) -> Cmd {
    let script = repo().join("scripts/ci-gate");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", bin_dir().display());
    dir.cmd(script.to_str().unwrap()).env("PATH", path).args(options).arg("--").args(command)
}

#[test]
fn a_change_is_compared_with_the_base_branch() {
    let dir = Dir::new();
    let burn = example("burn");
    let burn = burn.to_str().unwrap();
    let first = gate(&dir, &["--summary", "step.md"], &[burn, "--ms", "500"]).run().success();
    assert!(first.everything().contains("no baseline"), "{}", first.everything());
    assert!(dir.read("step.md").starts_with(b"**No baseline yet.** The heaviest functions:"));
    assert_eq!(dir.names().len(), 2);
    std::fs::rename(dir.path("flamepipe/profile.folded"), dir.path("baseline")).unwrap();

    let options =
        ["--baseline", "baseline", "--output", "out", "--fail-above", "15", "--summary", "step.md"];
    gate(&dir, &options, &[burn, "--ms", "500"]).run().success();
    for file in ["profile.folded", "profile.html", "diff.html", "summary.md"] {
        assert!(dir.path("out").join(file).exists(), "{file}");
    }
    // hot_sum's share of all grows from 37.5 to 64 %.
    let slow = [burn, "--ms", "500", "--slower", "200"];
    let failed = gate(&dir, &options, &slow).run().code(3);
    assert!(failed.everything().contains("burn::hot_sum"), "{}", failed.everything());
    let summary = dir.read("step.md").to_string();
    assert!(summary.contains(" grew by more than 15 points**"), "{summary}");
    gate(&dir, &options, &[burn, "--exit", "7", "--ms", "20"]).run().code(7);
    gate(&dir, &["--baseline"], &[burn]).run().code(2);
    gate(&dir, &[], &[]).run().code(2);
}
