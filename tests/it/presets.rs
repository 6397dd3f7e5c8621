//! Tests fg-filter's presets on stacks of real programs, in tests/data/presets, and on names of
//! other versions.

use bstr::ByteSlice;

use crate::harness::Dir;

/// Wants `--preset PRESET` to leave `want` of one folded stack.
#[track_caller]
fn leaves(preset: &str, stack: &str, want: &str) {
    let input = format!("{stack} 1\n");
    let run = Dir::new().cmd("fg-filter").args(["--preset", preset]).stdin(input).run().success();
    assert_eq!(run.stdout.to_str().unwrap().trim_end(), format!("{want} 1"));
}

#[test]
fn real_programs_keep_what_is_theirs() {
    for (preset, recorded, want) in [
        (
            "std,tokio,async",
            include_str!("../data/presets/tokio.folded"),
            "tokio-rt-worker;tok::main;tok::middle;tok::leaf;<u64>::wrapping_mul",
        ),
        (
            "std,rayon",
            include_str!("../data/presets/rayon.folded"),
            "ray;<core::iter::adapters::map::Map<I,F> as core::iter::traits::iterator::Iterator>::next;\
             core::option::Option<T>::map;ray::main::{{closure}};ray::work;<u64>::wrapping_mul",
        ),
        (
            "std,criterion",
            include_str!("../data/presets/criterion.folded"),
            "crit;main;crit::main;crit::benches;crit::bench;crit::bench::{{closure}};crit::bench::{{closure}}::{{closure}};crit::work;\
             core::iter::range::<impl core::iter::traits::iterator::Iterator for core::ops::range::Range<A>>::next;\
             <core::ops::range::Range<T> as core::iter::range::RangeIteratorImpl>::spec_next;<u64 as core::cmp::PartialOrd>::lt",
        ),
    ] {
        let (stack, _) = recorded.lines().nth(1).unwrap().rsplit_once(' ').unwrap();
        leaves(preset, stack, want);
    }
}

#[test]
fn std_is_how_things_start() {
    leaves(
        "std",
        "rg;_start;__libc_start_main@@GLIBC_2.34;__libc_start_call_main;main;\
         std::rt::lang_start::h0123456789abcdef;std::rt::lang_start_internal;\
         std::rt::lang_start::{{closure}};std::sys::backtrace::__rust_begin_short_backtrace;\
         core::ops::function::FnOnce::call_once;rg::main;rg::search;std::io::Read::read",
        "rg;main;rg::main;rg::search;std::io::Read::read",
    );
    leaves(
        "std",
        "web;clone3;start_thread;std::sys::pal::unix::thread::Thread::new::thread_start;\
         <alloc::boxed::Box<F,A> as core::ops::function::FnOnce<Args>>::call_once;\
         core::ops::function::FnOnce::call_once{{vtable.shim}};\
         std::thread::Builder::spawn_unchecked_::{{closure}};std::panic::catch_unwind;\
         std::panicking::try::do_call;web::work;std::thread::park",
        "web;web::work;std::thread::park",
    );
}

#[test]
fn schedulers_and_harnesses_go() {
    leaves(
        "tokio,async",
        "tokio-runtime-w;tokio::runtime::scheduler::multi_thread::worker::run;\
         tokio::runtime::context::runtime::enter_runtime;\
         tokio::runtime::task::harness::Harness<T,S>::poll;web::serve::{{closure}};\
         <F as core::future::future::Future>::poll;web::read::{closure#0}::{closure#1};tokio::net::TcpStream::read",
        "tokio-runtime-w;web::serve;web::read;tokio::net::TcpStream::read",
    );
    leaves(
        "rayon",
        "sum;rayon_core::registry::WorkerThread::wait_until_cold;\
         <rayon_core::job::StackJob<L,F,R> as rayon_core::job::Job>::execute;\
         rayon_core::join::join_context::{{closure}};rayon::iter::plumbing::bridge_producer_consumer::helper;\
         <rayon::iter::map::MapFolder<C,F> as rayon::iter::plumbing::Folder<T>>::consume_iter;sum::square",
        "sum;sum::square",
    );
    leaves(
        "criterion",
        "bench;bench::main;criterion::benchmark_group::BenchmarkGroup<M>::bench_function;\
         criterion::bencher::Bencher<M>::iter;<criterion::routine::Function<M,F,T> as criterion::routine::Routine<M,T>>::bench;\
         fold::read",
        "bench;bench::main;fold::read",
    );
    // Those of the warm-up and the statistics tell what is not measured.
    for kept in [
        "<criterion::routine::Function<M,F,T> as criterion::routine::Routine<M,T>>::warm_up",
        "criterion::analysis::estimates",
        "criterion::analysis::compare::common::<criterion::measurement::WallTime>",
    ] {
        let stack = format!("bench;criterion::analysis::common;{kept};criterion::stats::sum;f");
        leaves("criterion", &stack, &format!("bench;{kept};f"));
    }
}

#[test]
fn names_of_the_new_mangling() {
    leaves(
        "std,libtest",
        "tests::second;clone3;start_thread;<std::sys::thread::unix::Thread>::new::thread_start;\
         <alloc::boxed::Box<dyn core::ops::function::FnOnce<(), Output = ()> + core::marker::Send> as core::ops::function::FnOnce<()>>::call_once;\
         <std::thread::lifecycle::spawn_unchecked<test::run_test::{closure#1}, ()>::{closure#1} as core::ops::function::FnOnce<()>>::call_once::{shim:vtable#0};\
         std::thread::lifecycle::spawn_unchecked::<test::run_test::{closure#1}, ()>::{closure#1};\
         std::panicking::catch_unwind::do_call::<core::panic::unwind_safe::AssertUnwindSafe<std::thread::lifecycle::spawn_unchecked<test::run_test>>>;\
         test::run_test::{closure#1};test::run_test_in_process;\
         test::__rust_begin_short_backtrace::<core::result::Result<(), alloc::string::String>, fn() -> core::result::Result<(), alloc::string::String>>;\
         core::ops::function::FnOnce::call_once;lt::tests::second::{{closure}};lt::tests::second;lt::fib",
        "tests::second;lt::tests::second::{{closure}};lt::tests::second;lt::fib",
    );
    leaves(
        "std,libtest",
        "speed;main;test::test_main_static;test::console::run_tests_console;<test::types::RunnableBench>::run;\
         test::bench::benchmark::<for<'a> fn(&'a mut test::bench::Bencher)>;<test::bench::Bencher>::iter::<u64, speed::fibs::{closure#0}>;\
         speed::fibs::{closure#0};lt::fib",
        "speed;main;speed::fibs::{closure#0};lt::fib",
    );
}

#[test]
fn a_test_file_may_be_called_test() {
    let stack = "test::adds;test::adds::{{closure}};test::adds;test::types_of_mine";
    leaves("std,libtest", stack, stack);
}

#[test]
fn divan_goes() {
    leaves(
        "std,divan",
        "speed;main;divan::main;divan::divan::Divan::run_tree;<divan::benchmark::Bencher<C>>::bench;\
         <T as divan::entry::Runner>::run;speed::fib;lt::fib",
        "speed;main;speed::fib;lt::fib",
    );
}

#[test]
fn unknown_presets_are_usage_errors() {
    let dir = Dir::new();
    dir.cmd("fg-filter").args(["--preset", "java"]).run().code(2).says("criterion");
}
