//! The heaviest stacks, and the recipes of the manual.

use super::*;

#[test]
fn heavy_stacks_stay() {
    filters(&["--top", "2"], &lines([1, 3]));
    filters(&["--top", "1", "--drop", "parse"], &lines([3]));
    filters(&["--min-weight", "12"], &lines([1, 3, 4]));
    filters(&["--min-weight", "20%", "--comm", "db"], &lines([3, 4]));
    run(&["--min-weight", "101%"], WEB).code(2).says("0% to 100%");
    run(&["--min-weight", "x"], WEB).code(2).says("expected a weight such as 500, or a share");
    let script = "app 7 1.5: 10 cycles: \n\t              10 f (/a)\n\n";
    run(&["--top", "1"], script).code(1).says("fold them first");
}

/// Every recipe of the manual does something, and all of them are there.
#[cfg(unix)]
#[test]
fn the_recipes_work() {
    let page = std::fs::read_to_string(crate::harness::repo().join("man/fg-filter.1")).unwrap();
    let (_, recipes) = page.split_once(".SH RECIPES\n.nf\n").unwrap();
    let (recipes, _) = recipes.split_once(".fi").unwrap();
    let recipes = recipes.replace("\\-", "-").replace("\\e", "\\").replace("\\*(Aq", "'");
    let dir = Dir::new();
    dir.write("stacks.folded", WEB.replace("db-9/9;main;\u{e9}", "worker-3;main;\u{e9}"));
    dir.write("more.folded", "worker-4;main;std::thread::park 3\n");
    let frames =
        "\t    10 f (/a)\n\tffffffff81000010 schedule ([kernel.kallsyms])\n\t    20 main (/a)\n\n";
    let sample = |head: &str| format!("{head} cycles: \n{frames}");
    let samples = ["web 7/8 [000] 12.500000: 10", "db 7/9 [001] 14.500000: 10"].map(sample);
    dir.write("app.script", samples.concat());
    let path =
        format!("{}:{}", crate::harness::bin_dir().display(), std::env::var("PATH").unwrap());
    let mut count = 0;
    for recipe in recipes.lines().filter(|line| !line.starts_with('#')) {
        let before = dir.names().len();
        let outcome = dir.cmd("sh").args(["-ec", recipe]).env("PATH", &path).run().success();
        assert!(!outcome.stdout.is_empty() || dir.names().len() > before, "{recipe}");
        count += 1;
    }
    assert!(count >= 10, "{count} recipes");
}
