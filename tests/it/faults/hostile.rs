//! Inputs with changed, missing and repeated bytes, which are the same in each run. `it/fuzz.rs`
//! gives many more to the readers alone; here the whole programs read them.

use super::*;
use crate::fuzz::Random;

#[test]
fn hostile() {
    let mut area = Area::new("hostile");
    let dir = inputs();
    let rounds = if is_whole() { 1000 } else { 15 };
    let mut random = Random(0xbad);
    for run in RUNS {
        let input = run.input();
        let whole = dir.read(input);
        for round in 0..rounds {
            dir.write(input, random.mutated(&[whole.to_vec()]));
            let outcome = run.cmd(&dir).run();
            // Nobody knows what is in such a file, so any output is complete.
            area.cell(&dir, &format!("{run}: input {round}"), &outcome, true);
            let _ = std::fs::remove_file(dir.path(run.output));
        }
        dir.write(input, whole);
    }
    area.end();
}
