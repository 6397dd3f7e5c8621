//! Signals while a program reads an input that does not end.

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;
use crate::harness::wait_until;

const SIGNALS: [(&str, i32); 6] =
    [("HUP", 1), ("INT", 2), ("QUIT", 3), ("USR1", 10), ("USR2", 12), ("TERM", 15)];

#[test]
fn signals() {
    let mut area = Area::new("signals");
    let dir = inputs();
    dir.fifo("fifo");
    for run in RUNS {
        let input = run.input();
        // The beginning of a stream.
        let begin = match input {
            "in.data" => std::fs::read(repo().join("tests/data/golden/stream.data")).unwrap(),
            other => dir.read(other).to_vec(),
        };
        for (name, number) in SIGNALS {
            let args = run.args.iter().map(|arg| if *arg == input { "fifo" } else { arg });
            let mut command = Command::new(bin(run.program));
            command.current_dir(dir.path("")).args(args).args(["-o", run.output]);
            let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let fifo = std::fs::File::options().write(true).open(dir.path("fifo"));
            let mut fifo = fifo.unwrap();
            fifo.write_all(&begin[..begin.len() / 2]).unwrap();
            // Then it has opened its output and listens to signals.
            wait_until(|| dir.names().iter().any(|name| name.starts_with(".flamepipe")));
            let pid = child.id().to_string();
            let killed = Command::new("kill").args(["-s", name, &pid]).status();
            assert!(killed.unwrap().success());
            let output = child.wait_with_output().unwrap();
            drop(fifo);
            let outcome = Outcome::of(format!("{run} and {name}"), output);
            let is_right = outcome.status.code() == Some(128 + number);
            area.cell(&dir, &format!("{run}: {name}"), &outcome, false);
            if !is_right {
                area.broken.push(format!("{run}: {name} gives {}", outcome.status));
            }
        }
    }
    area.end();
}
