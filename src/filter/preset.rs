//! Rules that remove frames which every stack of a Rust program has, and which nobody looks for.
//!
//! The rules are in the filter's own language, so one can be tried with `--where` before it is
//! added here. They ask only about symbols, so they work on folded text. They match with and
//! without a legacy hash.

use regex::bytes::Regex;

use super::edit::Edit;
use super::predicate::Predicate;
use crate::error::{Error, Result};

/// The noise of one library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The code of the standard library and libc that starts a program, a thread or a closure.
    Std,
    /// The scheduler and the tasks of tokio.
    Tokio,
    /// The joins, jobs and bridges of rayon.
    Rayon,
    /// The polls and closures that the compiler makes of `async`. A closure inside a function gets
    /// the name of that function.
    Async,
    /// The harness of criterion, except for one frame each of its warm-up and its statistics.
    Criterion,
    /// The harness of divan.
    Divan,
    /// The harness of `#[test]` and `#[bench]`.
    Libtest,
}

const STD: &[&str] = &[
    "frame _start or frame __libc_start_main* or frame __libc_start_call_main* or frame start_thread",
    "frame clone or frame clone3 or frame __clone or frame __clone3 or frame __rust_try*",
    "frame /^std::rt::lang_start/",
    "frame /^std::sys(_common)?::backtrace::__rust_(begin|end)_short_backtrace/",
    r"frame /^std::(panic|panicking)::(try\b|catch_unwind)/",
    r"frame /^<?std::sys::.*thread_start/ or frame /^std::thread::Builder::spawn_unchecked/",
    "frame /^std::thread::lifecycle::spawn_unchecked/",
    r"frame /^core::ops::function::Fn(Once|Mut)?::call/ or frame /^core::ops::function::impls::.*::call(_once|_mut)?\b/",
    r"frame /^<.* as core::ops::function::Fn(Once|Mut)?<.*>>::call(_once|_mut)?\b/",
];

/// The second rule is for the thread-local variable with the current task.
const TOKIO: &[&str] = &[
    "frame /^<?tokio::(runtime|task|loom)::/",
    "frame /^std::thread::local::LocalKey<.*>::(try_)?with$/",
];

const RAYON: &[&str] =
    &["frame /^<?rayon_core::/", "frame /^<?rayon::iter::/", "frame /^<.* as rayon::iter::/"];

const ASYNC: &[&str] = &[
    r"frame /^<.* as core::future::(future::)?Future>::poll\b/",
    r"frame /^core::future::(future::)?Future::poll\b/",
];

/// The frames of the warm-up and of the statistics stay, so that one can tell what they called from
/// what was measured. criterion starts each iteration at another address of the stack, through the
/// library alloca.
const CRITERION: &[&str] = &[
    concat!(
        r"frame /^<?criterion::/ and not frame /::warm_up\b/ and not frame ",
        "/^criterion::analysis::(estimates|regression|outliers|compare::common)",
        "(::<|::h[0-9a-f]{16}$|$)/",
    ),
    r"frame /^<.* as criterion::/ and not frame /::warm_up\b/",
    "frame /^alloca::/ or frame c_with_alloca",
];

const DIVAN: &[&str] = &["frame /^<?divan::/", "frame /^<.* as divan::/"];

/// The harness, by the names of its modules and functions, because tests/test.rs is a crate `test`
/// too.
const LIBTEST: &[&str] = &[
    r"frame /^test::(run_tests?|test_main|filter_tests|make_owned_test|assert_test_result)/",
    r"frame /^test::(convert_benchmarks_to_tests|__rust_begin_short_backtrace)/",
    r"frame /^<?test::(bench|cli|concurrency|console|event|formatters|helpers|options|stats|term|test_result|time|types)::/",
];

impl Preset {
    /// The edits that remove the frames, in order.
    pub fn edits(self) -> Result<Vec<Edit>> {
        let rules = match self {
            Preset::Std => STD,
            Preset::Tokio => TOKIO,
            Preset::Rayon => RAYON,
            Preset::Async => ASYNC,
            Preset::Criterion => CRITERION,
            Preset::Divan => DIVAN,
            Preset::Libtest => LIBTEST,
        };
        let rules: Vec<Predicate> =
            rules.iter().map(|rule| rule.parse()).collect::<Result<_, Error>>()?;
        let mut edits = vec![Edit::Hide(Predicate::Any(rules))];
        if self == Preset::Async {
            let closure = Regex::new(r"(::\{\{closure\}\}|::\{closure#\d+\})+");
            edits.push(Edit::rename(closure?, b"")?);
        }
        Ok(edits)
    }
}
