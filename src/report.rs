//! The quality of a profile as JSON, for programs: what the quality line says in words.

use std::cmp::Reverse;

use bstr::{BString, ByteSlice};
use serde_json::{Map, Value, json};

use crate::tally::{Loss, Tally};

/// The counts of `tally`, and the `warnings` that were printed on the way, such as bounds that were
/// reached. Shares are between 0 and 1; weights are in the unit of the profile. What is not known
/// is `null`. `good_share` is what `--strict=PCT` compares.
///
/// ```text
/// { "clean": true, "line": "1,196 samples · 100.0 % reach a thread root",
///   "samples": 1196, "weight": 1199598764, "event": "cpu-clock",
///   "host": "build1", "rate": 997, "span_ns": 620000000, "sampled_share": 0.998,
///   "good_share": 0.997, "rooted_share": 1.0, "truncated_share": 0.0,
///   "unresolved": [{ "module": "/usr/lib/libfoo.so", "weight": 1003009, "remedy": "…" }],
///   "filtered": 0, "losses": { "lost": 3 }, "warnings": [] }
/// ```
pub fn of(tally: &Tally, warnings: &[String]) -> Value {
    let stacks = tally.stacks.as_ref();
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let of_stacks = |part: u64| stacks.and_then(|stacks| share(part, stacks.weight));
    let mut unresolved: Vec<_> = stacks.iter().flat_map(|stacks| &stacks.unresolved).collect();
    unresolved.sort_by_key(|(_, weight)| Reverse(**weight));
    let unresolved: Vec<_> = unresolved
        .into_iter()
        .map(|(module, weight)| {
            let remedy = remedy(tally, module);
            json!({ "module": module.to_str_lossy(), "weight": weight, "remedy": remedy })
        })
        .collect();
    let losses: Map<String, Value> =
        tally.losses().map(|(loss, count)| (key(loss).to_owned(), count.items.into())).collect();
    let recorded = tally.recorded.clone().unwrap_or_default();
    let span = Some(recorded.span).filter(|span| *span > 0);
    json!({
        "clean": tally.is_clean(),
        "line": tally.to_string(),
        "samples": tally.read.items - tally.folded_before.min(tally.read.items),
        "stacks": tally.folded_before,
        "weight": tally.read.weight,
        "event": tally.folded.as_ref().map(|event| event.to_str_lossy()),
        "host": recorded.host.as_ref().map(|host| host.to_str_lossy()),
        "rate": recorded.rate,
        "span_ns": span,
        "sampled_share": tally.seen.and_then(|seen| share(seen.sampled, seen.counted)),
        "good_share": tally.good_share(),
        "rooted_share": stacks.and_then(|stacks| of_stacks(stacks.rooted)),
        "truncated_share": stacks.and_then(|stacks| of_stacks(stacks.truncated)),
        "unresolved": unresolved,
        "filtered": tally.filtered.items,
        "losses": losses,
        "warnings": warnings,
    })
}

/// How the functions of `module` get names.
fn remedy(tally: &Tally, module: &BString) -> &'static str {
    let known = tally.remedies.get(module).copied();
    known.unwrap_or(if module.starts_with(b"/") {
        "compile it with symbols, or install its debug information (--debuginfod)"
    } else {
        "have the program that generates this code write a map for perf"
    })
}

fn key(loss: Loss) -> &'static str {
    match loss {
        Loss::Lost => "lost",
        Loss::Odd => "odd",
        Loss::OtherEvent => "other_event",
        Loss::NoStack => "no_stack",
        Loss::NoUserStack => "no_user_stack",
        Loss::NoTime => "no_time",
        Loss::CutShort => "cut_short",
        Loss::Mismatched => "mismatched_modules",
        Loss::Replaced => "replaced_names",
        Loss::OtherUnit => "other_units",
        Loss::OneWeight => "stacks_with_one_weight",
        Loss::Fraction => "fractions",
        Loss::Overflow => "overflows",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{Count, StackQuality};

    #[test]
    fn a_report_has_what_the_line_says() {
        let mut tally = Tally::default();
        tally.read = Count { items: 10, weight: 1000 };
        tally.lose(Loss::Lost, 3, 0);
        let unresolved =
            [("/libfoo.so".into(), 40), ("[anon]".into(), 10), ("/b".into(), 50)].into();
        let stacks = StackQuality {
            weight: 1000,
            rooted: 900,
            truncated: 50,
            good: 850,
            unresolved,
            ..StackQuality::default()
        };
        tally.stacks = Some(stacks);
        tally.remedies.insert("/b".into(), "look for it");
        let report = of(&tally, &["a bound".into()]);
        assert_eq!(report["clean"], false);
        assert_eq!((&report["samples"], &report["weight"]), (&10.into(), &1000.into()));
        assert_eq!(report["losses"], json!({ "lost": 3 }));
        let modules = &report["unresolved"];
        assert_eq!(modules[0], json!({ "module": "/b", "weight": 50, "remedy": "look for it" }));
        assert_eq!(modules[1]["module"], "/libfoo.so");
        assert!(modules[1]["remedy"].as_str().unwrap().contains("--debuginfod"));
        assert!(modules[2]["remedy"].as_str().unwrap().contains("map for perf"));
        assert_eq!(report["warnings"], json!(["a bound"]));
        assert_eq!(report["good_share"], 0.85 * 10.0 / 13.0);
        assert_eq!(
            (&report["rooted_share"], &report["truncated_share"]),
            (&0.9.into(), &0.05.into())
        );
        assert_eq!(report["event"], Value::Null);
        let nothing = of(&Tally::default(), &[]);
        assert_eq!((&nothing["clean"], &nothing["rooted_share"]), (&true.into(), &Value::Null));
    }
}
