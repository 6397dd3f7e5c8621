//! Two profiles in one graph.

use super::*;

proptest! {
    /// inferno's differences are right for frames that call nothing.
    #[test]
    fn a_differential_without_calls_is_infernos(
        stacks in prop::collection::btree_map("[a-z]", (0u64..50, 1u64..50), 1..30),
        negate: bool,
    ) {
        let line = |(stack, (a, b)): (&String, &(u64, u64))| format!("{stack} {a} {b}\n");
        let text: String = stacks.iter().map(line).collect();
        let svg = inferno_in_a_fresh_thread(&text, |options| {
            options.negate_differentials = negate;
            options.min_width = 0.0;
            options.no_javascript = true;
        });
        let config = Config { negate, min_width: 0.0, no_javascript: true, ..Config::default() };
        prop_assert!(render(config, &text) == svg, "{}", text);
    }

    /// Each path weighs and differs with all that it calls; what vanished is below a root of its
    /// own.
    #[test]
    fn a_differential_shows_what_became_of_each_path(
        stacks in prop::collection::btree_map(prop::collection::vec("[a-c]", 1..5), (0u64..50, 0u64..3), 1..30),
    ) {
        let line = |(stack, (a, b)): (&Vec<String>, &(u64, u64))| format!("{} {a} {b}\n", stack.join(";"));
        let text: String = stacks.iter().map(line).collect();
        let of = |path: &[String]| {
            let below = stacks.iter().filter(|(stack, _)| stack.starts_with(path));
            below.fold((0, 0), |sum, (_, (a, b))| (sum.0 + a, sum.1 + b))
        };
        let paths: BTreeSet<&[String]> =
            stacks.keys().flat_map(|stack| (1..=stack.len()).map(|len| &stack[..len])).collect();
        let is_gone = |path: &&[String]| of(path).1 == 0;
        // The weight of the stacks that vanished with all that they call. A stack that only starts
        // with a vanished path may still be alive.
        let gone = |path: &[String]| {
            let mine = stacks.iter().filter(|(stack, _)| stack.starts_with(path) && is_gone(&&stack[..]));
            mine.map(|(_, (a, _))| *a).sum::<u64>()
        };
        let total = of(&[]).1 + gone(&[]);
        prop_assume!(total > 0);
        let title = |name: &str, width: u64, delta: i64| {
            let percent = |part: f64| 100.0 * part / total as f64;
            let delta = if delta == 0 { "0.00".into() } else { format!("{:+.2}", percent(delta as f64)) };
            format!("{name} ({width} samples, {:.2}%; {delta}%)", percent(width as f64))
        };
        let mut expected = vec![format!("all ({total} samples, 100%)")];
        for path in paths {
            let ((before, after), lost, name) = (of(path), gone(path), path.last().unwrap());
            if after > 0 {
                expected.push(title(name, after, after as i64 - before as i64));
            }
            if lost > 0 {
                expected.push(title(name, lost, -(lost as i64)));
            }
        }
        if gone(&[]) > 0 {
            expected.push(title("[vanished]", gone(&[]), -(gone(&[]) as i64)));
        }
        expected.sort();
        let svg = render(Config { min_width: 0.0, no_javascript: true, ..Config::default() }, &text);
        let mut drawn: Vec<&str> = svg.split("<g><title>").skip(1).filter_map(|box_| box_.split("</title>").next()).collect();
        drawn.sort();
        prop_assert_eq!(drawn, expected, "{}", text);
    }
}

#[test]
fn a_differential_adds_up_and_takes_single_weights_as_unchanged() {
    let svg = render(Config::default(), "a 1 2\nb 5\na 3 4\n");
    assert!(svg.contains("<title>a (6 samples, 54.55%; +18.18%)"), "{svg}");
    assert!(svg.contains("<title>b (5 samples, 45.45%; 0.00%)"), "{svg}");
}
