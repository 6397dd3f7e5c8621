//! Turns folded stacks into a page of HTML that needs no network and no other file.
//!
//! ```text
//! page.html    the skeleton, with a policy that runs only the script below
//! style.css    light and dark
//! decode.js    the data → columns              search.js    names that match
//! tree.js      the recorded call tree          draw.js      what is visible → canvas
//! merged.js    callers, callees, from leaves   view.js      a state → panes
//! format.js    numbers and names in words      words.js     tooltip, legend, header
//! colour.js    colours of modules, of change   outline.js   the tree for screen readers
//! state.js     the state ⇄ the address         table.js     the table of functions
//! main.js      start                           controls.js, hands.js   menus, mouse, keys
//! save.js      what is shown → a file
//! live.js      renews the page while the program runs
//! ```
//!
//! The stacks are embedded as in an SVG (`src/graph/`), so fg-fold and fg-diff read the page too.
//! Names only ever become text: the script uses `textContent`, and the page's policy forbids any
//! other script.

mod sha256;

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::folded::{Differential, Folded, FoldedSink};
use crate::graph::{Graph, Order};
use crate::render::{self, is_time};
use crate::sample::{FrameId, FrameTable};
use crate::tally::{Loss, Tally, grouped};

const SKELETON: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = concat!(
    include_str!("decode.js"),
    include_str!("tree.js"),
    include_str!("merged.js"),
    include_str!("format.js"),
    include_str!("colour.js"),
    include_str!("search.js"),
    include_str!("draw.js"),
    include_str!("state.js"),
    include_str!("view.js"),
    include_str!("words.js"),
    include_str!("outline.js"),
    include_str!("table.js"),
    include_str!("save.js"),
    include_str!("controls.js"),
    include_str!("hands.js"),
    include_str!("live.js"),
    include_str!("main.js"),
);

/// What a page shows besides the stacks, and how it opens.
#[derive(Debug, PartialEq)]
pub(crate) struct Notes {
    /// The heading; without it, what was recorded, the command, or `Flame graph`.
    pub title: Option<String>,
    /// The subtitle.
    pub subtitle: Option<String>,
    /// Notes about the profile.
    pub notes: Option<String>,
    /// The recorded command, if it is known.
    pub command: Option<String>,
    /// The unit of weights in words, if it replaces the unit of the input.
    pub unit: Option<String>,
    /// A factor for the weights.
    pub factor: f64,
    /// The order of the stacks.
    pub order: Order,
    /// Open with the roots at the top.
    pub inverted: bool,
    /// Open with the callers of what used the weight.
    pub reverse: bool,
    /// Open with the callers and callees of this function.
    pub base: Option<String>,
    /// The page asks for newer stacks where it came from.
    pub is_live: bool,
}

impl Default for Notes {
    fn default() -> Self {
        Notes::of(&render::Config::default())
    }
}

impl Notes {
    /// The parts of `config` that do not only concern SVGs.
    pub(crate) fn of(config: &render::Config) -> Notes {
        let default = render::Config::default();
        let changed = |text: &str, default: &str| (text != default).then(|| text.to_owned());
        Notes {
            title: changed(&config.title, &default.title).or(config.subject.clone()),
            subtitle: config.subtitle.clone(),
            notes: changed(&config.notes, &default.notes),
            command: None,
            unit: changed(&config.count_name, &default.count_name),
            factor: config.factor,
            order: config.order,
            inverted: config.inverted,
            reverse: config.reverse,
            base: config.base.first().cloned(),
            is_live: false,
        }
    }

    fn heading(&self) -> &str {
        let title = self.title.as_deref().or(self.command.as_deref());
        title.unwrap_or("Flame graph")
    }

    /// The notes as the script reads them.
    fn json(&self, tally: &Tally) -> String {
        let mut said = Map::new();
        let mut say = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                said.insert(key.into(), value.into());
            }
        };
        say("title", Some(self.heading().into()));
        say("subtitle", self.subtitle.clone());
        say("notes", self.notes.clone());
        say("command", self.title.as_ref().and(self.command.clone()));
        say("unit", self.unit.clone());
        say("event", tally.folded.as_ref().map(ToString::to_string));
        let recorded = tally.recorded.clone().unwrap_or_default();
        say("host", recorded.host.map(|host| host.to_string()));
        say("rate", recorded.rate.map(|rate| format!("{} Hz", grouped(rate))));
        say("quality", (!self.is_live).then(|| tally.to_string()));
        say("fn", self.base.clone());
        said.insert("factor".into(), self.factor.into());
        said.insert("flip".into(), self.inverted.into());
        said.insert("reverse".into(), self.reverse.into());
        if recorded.span > 0 {
            said.insert("span".into(), recorded.span.into());
        }
        if self.is_live {
            said.insert("live".into(), true.into());
        }
        // `</script>` would end the element.
        Value::Object(said).to_string().replace('<', "\\u003c")
    }
}

/// Collects folded stacks, and writes the page when it is finished.
///
/// The profile is a differential if its unit (`# unit: ns 0 0`) or else its first stack has two
/// weights.
///
/// Memory: that of the graph, and the page.
pub(crate) struct Page<W> {
    notes: Notes,
    input: String,
    out: W,
    output: String,
    graph: Graph,
    differential: Differential,
    /// Whether all stacks are time on or off the processor.
    times: bool,
    weight: u64,
    seen: render::Seen,
    fractions: u64,
    /// A buffer for a stack.
    plain: Vec<FrameId>,
}

impl<W: Write> Page<W> {
    /// A page to `out`. Errors call the input `input` and the output `output`. Nothing is written
    /// before the end, and nothing at all if there is nothing to draw.
    pub(crate) fn new(
        notes: Notes,
        input: impl Into<String>,
        out: W,
        output: impl Into<String>,
    ) -> Self {
        Page {
            graph: Graph::new(notes.order),
            notes,
            input: input.into(),
            out,
            output: output.into(),
            differential: Differential::default(),
            times: true,
            weight: 0,
            seen: render::Seen::default(),
            fractions: 0,
            plain: Vec::new(),
        }
    }

    pub(crate) fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> FoldedSink for Page<W> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        let differential = self.differential.note(folded);
        self.fractions += u64::from(folded.has_fraction());
        let mut room = std::mem::take(&mut self.plain);
        let folded = if differential { *folded } else { folded.plain(frames, &mut room) };
        self.seen.stacks += 1;
        let root = folded.stack.first();
        self.times = self.times && root.is_some_and(|&root| is_time(frames.symbol(root)));
        if root.is_some() {
            let weight = folded.weight.max(folded.after.unwrap_or(0));
            self.weight = self.weight.saturating_add(weight);
            self.graph.folded(frames, &folded)?;
        }
        self.plain = room;
        Ok(())
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        self.seen.texts += 1;
        self.differential.note_line(line);
        self.graph.text(line)
    }

    fn finish(&mut self, _: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        if self.weight == 0 {
            return Err(self.seen.nothing(&self.input, tally));
        }
        tally.lose(Loss::Fraction, self.fractions, 0);
        self.differential.count(tally);
        if self.times && self.notes.unit.is_none() {
            self.notes.unit = Some("ns".into());
        }
        let graph = std::mem::replace(&mut self.graph, Graph::new(self.notes.order));
        let graph = graph.element("script type=\"application/octet-stream\"")?;
        let page = page(&self.notes, tally, &graph);
        let written = self.out.write_all(&page).and_then(|()| self.out.flush());
        written.map_err(Error::io(|| format!("cannot write {}", self.output)))
    }
}

/// A page that has no stacks yet, and asks for them where it came from.
pub(crate) fn live_page(config: &render::Config, command: Option<String>) -> Vec<u8> {
    page(&Notes { command, is_live: true, ..Notes::of(config) }, &Tally::default(), b"")
}

/// The page around `graph`, the element that carries the stacks.
fn page(notes: &Notes, tally: &Tally, graph: &[u8]) -> Vec<u8> {
    let script = format!("\"use strict\";\n{}", without_comments(SCRIPT));
    let style = without_comments(STYLE);
    let parts = [
        ("script-hash", hash(&script)),
        ("style-hash", hash(&style)),
        ("connect", if notes.is_live { "; connect-src 'self'" } else { "" }.into()),
        ("title", escape(notes.heading())),
        ("style", style),
        ("notes", notes.json(tally)),
        ("script", script),
    ];
    let mut page = Vec::with_capacity(SKELETON.len() + SCRIPT.len() + STYLE.len() + graph.len());
    let mut rest = SKELETON;
    // In the skeleton, `{` marks only these places.
    while let Some((before, behind)) = rest.split_once('{') {
        page.extend_from_slice(before.as_bytes());
        let (name, behind) = behind.split_once('}').unwrap_or((behind, ""));
        match parts.iter().find(|(part, _)| *part == name) {
            Some((_, text)) => page.extend_from_slice(text.as_bytes()),
            None => page.extend_from_slice(graph),
        }
        rest = behind;
    }
    page.extend_from_slice(rest.as_bytes());
    page
}

/// Leaves out what only readers of the source need: indentation, and whole-line comments.
fn without_comments(source: &str) -> String {
    let lines = source.lines().map(str::trim_start);
    let kept = lines.filter(|line| !line.is_empty() && !line.starts_with("// "));
    kept.flat_map(|line| [line, "\n"]).collect()
}

fn hash(text: &str) -> String {
    STANDARD.encode(sha256::sha256(text.as_bytes()))
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(notes: Notes, text: &[u8]) -> Result<String> {
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let mut page = Page::new(notes, "text", Vec::new(), "memory");
        crate::folded::read(text, "text", &mut frames, &mut page, &mut tally)?;
        page.finish(&mut frames, &mut tally)?;
        Ok(String::from_utf8(page.into_inner()).unwrap())
    }

    #[test]
    fn every_part_has_its_place() {
        let title = Some("</title><script>alert(1)</script>".to_owned());
        let page = page_of(Notes { title, ..Notes::default() }, b"main;</script>{style} 3\n");
        let page = page.unwrap();
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
        assert!(!page.contains("{style}") && !page.contains("<script>alert"));
        assert_eq!(page.matches("<script").count(), 3);
        assert_eq!(page.matches("</script>").count(), 3);
        let script = page.rsplit_once("<script>").unwrap().1.split_once("</script>").unwrap().0;
        assert!(page.contains(&format!("script-src 'sha256-{}'", hash(script))));
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        for (text, said) in [
            (&b""[..], "empty"),
            (b"# unit: ns 0\n", "no samples"),
            (b"main 0\n", "have no weight"),
            (b"what is this\n", "folded stacks"),
        ] {
            let error = page_of(Notes::default(), text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_configuration_of_a_graph_is_that_of_a_page() {
        let config = render::Config {
            title: "Mine".into(),
            notes: "<b>".into(),
            factor: 0.5,
            inverted: true,
            base: vec!["f".into()],
            ..render::Config::default()
        };
        let notes = Notes::of(&config);
        assert_eq!((notes.heading(), notes.inverted), ("Mine", true));
        let json = notes.json(&Tally::default());
        for said in [r#""factor":0.5"#, r#""fn":"f""#, r#""notes":"\u003cb>""#, r#""flip":true"#] {
            assert!(json.contains(said), "{said}: {json}");
        }
    }
}
