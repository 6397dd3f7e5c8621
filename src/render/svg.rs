//! Lets inferno draw the lines.

use std::any::Any;

use inferno::flamegraph::{self, FuncFrameAttrsMap};

use super::config::Config;
use super::lines::Lines;
use super::names::clean;
use crate::error::{Error, Result};
use crate::graph::Order;

/// Says whether inferno leaves out a frame with this weight, by inferno's own formula: `min_width`
/// is a percentage of `total`. If a weight is too narrow of some total, so it is of a larger one.
pub(super) fn narrow(config: &Config, total: u64) -> impl Fn(u64) -> bool + use<> {
    let width_of_one = 100.0 / total as f64;
    let least = config.min_width / width_of_one;
    move |weight| (weight as f64) < least
}

/// Draws `lines`, which are in the order in which they appear.
pub(super) fn draw(config: &mut Config, lines: &Lines) -> Result<Vec<u8>> {
    config.check()?;
    let order = config.order;
    let mut options = config.options();
    // Only this mode takes lines in any order. It draws the last line first.
    options.flame_chart = true;
    let mut draw = move || {
        let mut svg = Vec::new();
        let drawn = match order {
            Order::Time => flamegraph::from_lines(&mut options, lines.iter(), &mut svg),
            Order::Frames | Order::Input => {
                flamegraph::from_lines(&mut options, lines.iter().rev(), &mut svg)
            }
        };
        drawn.map(|()| svg)
    };
    // This needs a thread of its own, because inferno's random colours continue from the last graph
    // of the thread.
    let drawn = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("inferno".into());
        thread.spawn_scoped(scope, &mut draw).map(|thread| thread.join())
    });
    // Where no thread can be had, a program draws one graph, which is the first of this thread.
    drawn
        .unwrap_or_else(|_| std::panic::catch_unwind(std::panic::AssertUnwindSafe(draw)))
        .map_err(|panic| Error::Render(words(&*panic)))?
        .map_err(|error| Error::Render(error.to_string()))
}

/// Reads the attributes of functions in a file of `--nameattr`: `name<TAB>href=…<TAB>class=…`
/// lines.
pub fn frame_attributes(text: &[u8]) -> Result<FuncFrameAttrsMap> {
    let text = clean(text).0;
    // inferno panics on a value that is one quote, and on wide spaces between extra attributes.
    std::panic::catch_unwind(|| FuncFrameAttrsMap::from_reader(text.as_bytes()))
        .map_err(|panic| Error::Render(format!("odd attributes: {}", words(&*panic))))?
        .map_err(|error| Error::Render(error.to_string()))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("inferno panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_or_refused() {
        assert_ne!(frame_attributes(b"f\thref=/x\n").unwrap(), FuncFrameAttrsMap::default());
        assert_eq!(frame_attributes(b"").unwrap(), FuncFrameAttrsMap::default());
        assert!(frame_attributes(b"f\thref=\"\n").is_err());
    }
}
