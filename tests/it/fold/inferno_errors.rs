//! Shows the errors of inferno 0.12.8, one test each: its answer, which may change with its
//! version, and the right one.

use super::{Config, fold, inferno};
use bstr::{BString, ByteSlice};

/// Folds `text` here and with inferno; `None` if inferno panics.
fn both(text: impl AsRef<[u8]>) -> (String, Option<String>) {
    let text = text.as_ref();
    let config = Config::default();
    let lossy = |folded: BString| folded.to_str_lossy().into_owned();
    let theirs = std::panic::catch_unwind(|| lossy(inferno(text, &config))).ok();
    (lossy(fold(text, &config).0), theirs)
}

/// Ours is `right`, and inferno's is `wrong`.
#[track_caller]
fn judge(text: impl AsRef<[u8]>, right: &str, wrong: Option<&str>) {
    assert_eq!(both(text), (right.to_owned(), wrong.map(str::to_owned)));
}

fn event(event: &str) -> String {
    format!("app 7 1.5: 10 {event}: \n\t              10 f (/a)\n\n")
}

fn comm(comm: &str) -> String {
    format!("{comm} 7 [001] 1.5: 10 cycles: \n\t              10 f (/a)\n\n")
}

/// A sample in `frame`, which `main` called.
fn frame(frame: &str) -> String {
    format!("app 7 1.5: 10 cycles: \n\t{:>16x} {frame}\n\t{:>16x} main+0x1 (/a)\n\n", 16, 32)
}

#[test]
fn a_tracepoint_with_a_payload_is_a_sample() {
    let payload = "prev_comm=a prev_pid=1 prev_state=S ==> next_comm=b next_pid=2";
    let text = format!("app 7 [000] 1.5: sched:sched_switch: {payload}\n\t  10 f (/a)\n\n");
    judge(text, "app;f 1\n", Some(""));
}

#[test]
fn two_tracepoints_of_one_subsystem_are_two_events() {
    let text = event("sched:sched_switch") + &event("sched:sched_wakeup");
    judge(text, "app;f 10\n", Some("app;f 20\n"));
}

#[test]
fn an_event_with_parameters_keeps_its_name() {
    let text = event("cpu/mem-loads,ldlat=30/P") + &event("cpu/mem-stores/P");
    let all = Config { by_event: true, ..Config::default() };
    assert_eq!(
        fold(text.as_bytes(), &all).0,
        "cpu/mem-loads,ldlat=30/;app;f 10\ncpu/mem-stores/;app;f 10\n"
    );
    let named = |event: &str| Config { event: Some(event.into()), ..Config::default() };
    assert_eq!(fold(text.as_bytes(), &named("cpu/mem-stores/P")).0, "app;f 10\n");
    // A tracepoint cannot be selected by its name.
    let tracepoint = event("sched:sched_switch");
    assert_eq!(fold(tracepoint.as_bytes(), &named("sched:sched_switch")).0, "app;f 10\n");
    assert_eq!(inferno(tracepoint.as_bytes(), &named("sched:sched_switch")), "");
}

#[test]
fn events_that_are_left_out_are_named_and_counted() {
    let text =
        event("minor-faults").repeat(2) + &event("cycles").repeat(3) + &event("instructions");
    judge(&text, "app;f 30\n", Some("app;f 20\n"));
    let (_, tally) = fold(text.as_bytes(), &Config::default());
    let said = "folded cycles; left out 2 samples of minor-faults, 1 of instructions: --event-filter minor-faults, instructions or all";
    assert!(tally.to_string().contains(said), "{tally}");
}

/// The first event of a recording is rarely the one that the user named first: page faults come
/// before the first tick of a clock.
#[test]
fn the_event_that_is_listed_first_or_the_most_frequent_is_folded() {
    let text = event("page-faults") + &event("cpu-clock").repeat(2);
    judge(&text, "app;f 20\n", Some("app;f 10\n"));
    let listed =
        "# event : name = page-faults, , id = { 7 }, type = 1\n# event : name = cpu-clock\n";
    judge(listed.to_owned() + &text, "app;f 10\n", Some("app;f 10\n"));
    // An event without call chains is the last choice.
    let bare = "app 7 1.5: 10 syscalls:sys_enter_getgid: \n\n".repeat(3);
    judge(bare + &event("cpu-clock"), "app;f 10\n", Some(""));
}

#[test]
fn the_halves_of_a_hybrid_cpu_are_one_event() {
    let text = event("cpu_core/cycles/u") + &event("cpu_atom/cycles/u");
    judge(text, "app;f 20\n", Some("app;f 10\n"));
}

#[test]
fn a_padded_event_keeps_its_period() {
    // perf pads the names of several events to one width.
    let text = event("  cpu-clock").replace("10   cpu", "  10   cpu");
    judge(text, "app;f 10\n", Some("app;f 1\n"));
}

#[test]
fn a_module_with_a_blank_in_its_path_has_its_frames() {
    judge(frame("f+0x4 (/tmp/my app)"), "app;main;f 10\n", Some("app;main 10\n"));
}

#[test]
fn a_deleted_module_does_not_spoil_the_name() {
    judge(frame("f+0x4 (/tmp/x (deleted))"), "app;main;f 10\n", Some("app;main;f+0x4  10\n"));
}

#[test]
fn operator_arrow_is_one_frame() {
    let wrong = "app;main;A::operator;_[i] 10\n";
    judge(frame("A::operator->(int)+0x1 (/a)"), "app;main;A::operator-> 10\n", Some(wrong));
}

#[test]
fn a_function_type_is_one_frame() {
    let right = "app;main;<fn() -> T as F>::call_once 10\n";
    let wrong = "app;main;<fn() ; T as F>::call_once_[i] 10\n";
    judge(frame("<fn() -> T as F>::call_once+0x1 (/a)"), right, Some(wrong));
}

#[test]
fn operator_shift_loses_its_arguments_only() {
    let right = "app;main;std::operator<< <char> 10\n";
    let wrong = "app;main;std::operator<< <char>(std::ostream&) 10\n";
    judge(frame("std::operator<< <char>(std::ostream&)+0x1 (/a)"), right, Some(wrong));
}

#[test]
fn a_call_operator_keeps_its_name() {
    judge(
        frame("A::operator()(int)+0x1 (/a)"),
        "app;main;A::operator() 10\n",
        Some("app;main;A::operator 10\n"),
    );
}

#[test]
fn lambdas_of_overloads_are_told_apart() {
    let lambda = "process(std::vector<int, std::allocator<int> >&)::{lambda(int)#1}::operator()";
    let right = format!("app;main;{lambda} 10\n");
    for frame_line in [format!("{lambda}+0x1 (/a)"), format!("{lambda}(int) const+0x1 (/a)")] {
        judge(frame(&frame_line), &right, Some("app;main;process 10\n"));
    }
}

/// Names of CPython's perf trampoline, of V8, of Crystal and of a JVM's stubs are not C++'s.
#[test]
fn only_argument_lists_are_cut() {
    for (symbol, cut) in [
        ("py::fib:/srv/app (v2)/m.py", "py::fib:/srv/app "),
        ("JS:~page /srv/(auth)/page.js:1:16", "JS:~page /srv/"),
        ("RegExp:^(a|b)c", "RegExp:^"),
        ("StubRoutines (1)", "StubRoutines "),
        ("*Array(Int32)#each:Nil", "*Array"),
    ] {
        let right = format!("app;main;{symbol} 10\n");
        judge(frame(&format!("{symbol}+0x1 (/a)")), &right, Some(&format!("app;main;{cut} 10\n")));
    }
}

#[test]
fn a_version_of_a_library_is_no_part_of_a_name() {
    let wrong = "app;main;pthread_create@@GLIBC_2.34 10\n";
    judge(
        frame("pthread_create@@GLIBC_2.34+0x1 (/a)"),
        "app;main;pthread_create 10\n",
        Some(wrong),
    );
}

#[test]
fn decltype_auto_is_no_argument_list() {
    let wrong = "app;main;decltype 10\n";
    judge(frame("decltype(auto) f(int)+0x1 (/a)"), "app;main;decltype(auto) f 10\n", Some(wrong));
}

#[test]
fn an_anonymous_namespace_is_a_name() {
    let symbol = "(anonymous namespace)::f(int)+0x4 (/a)";
    let right = "app;main;(anonymous namespace)::f 10\n";
    judge(frame(symbol), right, Some("app;main 10\n"));
    // If it is the whole stack, the sample is lost.
    let alone = event("cycles").replace("f (/a)", symbol);
    judge(alone, "app;(anonymous namespace)::f 10\n", Some(""));
}

#[test]
fn a_mangled_symbol_is_demangled() {
    let mangled = "_ZN4core3fmt5write17h0123456789abcdefE";
    let wrong = format!("app;main;{mangled} 10\n");
    judge(frame(&format!("{mangled}+0x1 (/a)")), "app;main;core::fmt::write 10\n", Some(&wrong));
}

#[test]
fn a_comm_with_a_numeric_word_stays_whole() {
    judge(comm("my 12 app"), "my_12_app;f 10\n", Some("my;f 10\n"));
}

#[test]
fn a_comm_with_a_semicolon_is_one_frame() {
    judge(comm("a;b"), "a:b;f 10\n", Some("a;b;f 10\n"));
}

#[test]
fn fields_may_be_missing() {
    // perf script -F comm,pid,ip,sym,dso, with and without the thread.
    for bare in ["app     7 \n\t  10 f (/a)\n\n", "app     7/8 \n\t  10 f (/a)\n\n"] {
        judge(bare, "app;f 1\n", None);
        judge(comm("app") + bare, "app;f 11\n", Some("app;f 10\n"));
    }
    // No time, no CPU, no period: here inferno is right.
    judge("app     7 cycles: \n\t  10 f (/a)\n\n", "app;f 1\n", Some("app;f 1\n"));
}

#[test]
fn a_text_may_start_with_blank_lines() {
    judge(format!("\n \n{}", comm("app")), "app;f 10\n", None);
}

#[test]
fn carriage_returns_are_blanks() {
    // Here inferno is right.
    let text = comm("app").repeat(2).replace('\n', "\r\n");
    judge(text, "app;f 20\n", Some("app;f 20\n"));
}

#[test]
fn names_are_bytes() {
    let text = comm("app").into_bytes().replace("f (", b"caf\xe9 (");
    let (folded, _) = fold(&text[..], &Config::default());
    assert_eq!(folded, b"app;caf\xe9 10\n".as_bstr());
    judge(text, "app;caf\u{fffd} 10\n", Some("app;caf\u{fffd} 10\n"));
    // It looks for a hash in the middle of a letter.
    judge(frame("ééééééééé+0x1 (/a)"), "app;main;ééééééééé 10\n", None);
}

#[test]
fn a_sum_that_does_not_fit_stops_and_is_reported() {
    let text = event("cycles").replace(" 10 ", &format!(" {} ", u64::MAX));
    // inferno's sum wraps around, or panics if it was built to.
    let (folded, tally) = fold((text.clone() + &text + &comm("b")).as_bytes(), &Config::default());
    assert_eq!(folded, format!("app;f {}\nb;f 10\n", u64::MAX));
    assert!(tally.to_string().contains("1 sum reached the largest possible number"), "{tally}");
}

#[test]
fn the_last_stack_needs_no_blank_line() {
    // stackcollapse-perf.pl drops it; inferno does not.
    judge(comm("app").trim_end(), "app;f 10\n", Some("app;f 10\n"));
}
