//! Records a program with two executable segments that share a page of the file, as lld lays them
//! out.

use super::*;
use crate::harness::is_not_for_here;

const PROGRAM: &str = r#"
#include <time.h>
static volatile unsigned long sink;
__attribute__((noinline)) static void burn(long end) {
    for (struct timespec used = {0, 0}; used.tv_nsec < end; clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used))
        for (int i = 0; i < 100000; i++) sink += i;
}
__attribute__((noinline, section(".text.two"))) void in_second(void) { burn(200000000); sink++; }
__attribute__((noinline, section("third"))) void in_third(void) { burn(400000000); sink++; }
int main(void) { in_second(); in_third(); sink++; }
"#;

#[test]
fn segments_that_share_a_page_of_the_file_are_told_apart() {
    let dir = Dir::new();
    let test = "segments_that_share_a_page_of_the_file_are_told_apart";
    if !can_record(test) {
        return;
    }
    dir.write("it.c", PROGRAM);
    for kind in ["-no-pie", "-pie"] {
        let mut cc = Command::new("cc");
        cc.args(["-g", "-O1", "-fuse-ld=lld", "-Wl,--section-start=third=0x9000000", kind]);
        let linked = cc.args(["-o", "it", "it.c"]).current_dir(dir.path("")).output();
        if !linked.is_ok_and(|linked| linked.status.success()) {
            return is_not_for_here(test, "there is no lld");
        }
        let record = ["-e", "cpu-clock", "--call-graph", "dwarf,8192", "-o", "x.data", "./it"];
        dir.cmd("fg-record").args(record).run().success();
        let folded = dir.cmd("fg-fold").args(["-q", "x.data"]).stdout();
        let stacks = |name: &str| folded.lines().filter(|line| line.contains_str(name)).count();
        for stack in ["main;in_second;burn", "main;in_third;burn"] {
            assert!(stacks(stack) > 0, "{kind}: {folded}");
        }
        assert_eq!(stacks("[it]"), 0, "{kind}: {folded}");
    }
}
