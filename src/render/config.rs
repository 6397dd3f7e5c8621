//! The look of a graph: the renderer's configuration, and inferno's options made from it.

use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap, SearchColor, StrokeColor};
use inferno::flamegraph::{self, FuncFrameAttrsMap, Options, Palette, TextTruncateDirection};

use super::names::clean;
use crate::error::{Error, Result};
use crate::graph::Order;

/// The look of a graph. The default is that of inferno-flamegraph, with the stacks embedded.
#[derive(Debug, PartialEq)]
pub struct Config {
    /// The heading.
    pub title: String,
    /// What was recorded, for a title that would only name the kind of graph.
    pub subject: Option<String>,
    /// The recorded program, for the same if all stacks do not begin with one thread.
    pub program: Option<String>,
    /// A second line below the title.
    pub subtitle: Option<String>,
    /// The text of a comment in the SVG.
    pub notes: String,
    /// The order of the stacks.
    pub order: Order,
    /// Draw from the leaves, so that a function's callers are above it.
    pub reverse: bool,
    /// If not empty, draw only stacks with one of these frames, from the one nearest to the leaf
    /// on.
    pub base: Vec<String>,
    /// Draw the graph from the top down.
    pub inverted: bool,
    /// The colours.
    pub colors: Palette,
    /// The background; `None` lets the palette choose.
    pub bgcolors: Option<BackgroundColor>,
    /// The colour of buttons and titles.
    pub uicolor: Color,
    /// The colour of search results.
    pub search_color: SearchColor,
    /// The outline of each box.
    pub stroke_color: StrokeColor,
    /// Colour by a hash of the name that weighs early characters more.
    pub hash: bool,
    /// Colour by a hash of the name, so that a function has one colour in all graphs. Otherwise a
    /// function's colour depends on the profile, but is the same each time.
    pub deterministic: bool,
    /// Colour by width.
    pub color_diffusion: bool,
    /// Colours of functions from earlier graphs; those of new functions are added.
    pub palette_map: Option<PaletteMap>,
    /// Additional attributes and links of some functions.
    pub frame_attributes: FuncFrameAttrsMap,
    /// Swap the two colours of a differential.
    pub negate: bool,
    /// The width in pixels; `None` fills the window.
    pub width: Option<usize>,
    /// The height of a box in pixels.
    pub frame_height: usize,
    /// Boxes narrower than this percentage of the whole are left out.
    pub min_width: f64,
    /// The font.
    pub font_type: String,
    /// The size of the font in pixels.
    pub font_size: usize,
    /// The mean width of a character, relative to the size.
    pub font_width: f64,
    /// When zooming, cut names that do not fit at their right end.
    pub truncate_text_right: bool,
    /// The unit of weights in words. By default it is `samples`, or `ns` if all stacks have the
    /// roots `on-cpu` and `off-cpu`.
    pub count_name: String,
    /// The kind of names in words.
    pub name_type: String,
    /// A factor for the weights that are shown.
    pub factor: f64,
    /// Indent the XML.
    pub pretty_xml: bool,
    /// Leave the script out. Then the graph cannot zoom or search.
    pub no_javascript: bool,
    /// Keep inferno's page as it is. Otherwise it has weights as people say them, opens at its
    /// roots, knows dark mode, and its searches ignore case.
    pub inferno: bool,
    /// Put the compressed stacks into the SVG, so that it can be folded again, unless that would
    /// take more than 8 MiB.
    pub embed: bool,
}

impl Default for Config {
    fn default() -> Self {
        let inferno = Options::default();
        Config {
            title: inferno.title,
            subject: None,
            program: None,
            subtitle: inferno.subtitle,
            notes: inferno.notes,
            order: Order::default(),
            reverse: false,
            base: inferno.base,
            inverted: false,
            colors: inferno.colors,
            bgcolors: inferno.bgcolors,
            uicolor: inferno.uicolor,
            search_color: inferno.search_color,
            stroke_color: inferno.stroke_color,
            hash: inferno.hash,
            deterministic: inferno.deterministic,
            color_diffusion: inferno.color_diffusion,
            palette_map: None,
            frame_attributes: inferno.func_frameattrs,
            negate: inferno.negate_differentials,
            width: inferno.image_width,
            frame_height: inferno.frame_height,
            min_width: inferno.min_width,
            font_type: inferno.font_type,
            font_size: inferno.font_size,
            font_width: inferno.font_width,
            truncate_text_right: false,
            count_name: inferno.count_name,
            name_type: inferno.name_type,
            factor: inferno.factor,
            pretty_xml: inferno.pretty_xml,
            no_javascript: inferno.no_javascript,
            inferno: false,
            embed: true,
        }
    }
}

impl Config {
    /// Refuses sizes that inferno cannot compute with.
    pub fn check(&self) -> Result<()> {
        let sizes = [
            ("a width", self.width.unwrap_or(1200), 21..=1_000_000, "pixels"),
            ("a frame height", self.frame_height, 1..=10_000, "pixels"),
            ("a font size", self.font_size, 1..=10_000, "pixels"),
        ];
        for (what, size, range, unit) in sizes {
            if !range.contains(&size) {
                return Err(Error::Unsupported {
                    what: format!("{what} of {size} {unit} cannot be drawn"),
                    remedy: format!("use a value from {} to {}", range.start(), range.end()),
                });
            }
        }
        for (what, number) in [
            ("factor", self.factor),
            ("minimal width", self.min_width),
            ("font width", self.font_width),
        ] {
            if !number.is_finite() {
                let what = format!("the {what} must be a finite number, not {number}");
                return Err(Error::Unsupported { what, remedy: String::new() });
            }
        }
        Ok(())
    }

    /// inferno's options for lines that are in their final order. Moves the frame attributes into
    /// the options.
    ///
    /// inferno escapes most texts. This escapes the others.
    pub(super) fn options(&mut self) -> Options<'_> {
        let text = |text: &str| clean(text.as_bytes()).0.into_owned();
        let mut options = Options::default();
        options.title = text(&self.title);
        options.subtitle = self.subtitle.as_deref().map(text);
        options.notes = comment(&text(&self.notes));
        options.direction = if self.inverted {
            flamegraph::Direction::Inverted
        } else {
            flamegraph::Direction::Straight
        };
        options.colors = self.colors;
        options.bgcolors = self.bgcolors;
        options.uicolor = self.uicolor;
        options.search_color = self.search_color;
        options.stroke_color = self.stroke_color;
        options.hash = self.hash;
        options.deterministic = self.deterministic;
        options.color_diffusion = self.color_diffusion;
        options.func_frameattrs = std::mem::take(&mut self.frame_attributes);
        options.negate_differentials = self.negate;
        options.image_width = self.width;
        options.frame_height = self.frame_height;
        options.min_width = self.min_width;
        options.font_type = escape(&text(&self.font_type));
        options.font_size = self.font_size;
        options.font_width = self.font_width;
        options.text_truncate_direction = if self.truncate_text_right {
            TextTruncateDirection::Right
        } else {
            TextTruncateDirection::Left
        };
        options.count_name = text(&self.count_name);
        options.name_type = script(&text(&self.name_type));
        options.factor = self.factor;
        options.pretty_xml = self.pretty_xml;
        options.no_javascript = self.no_javascript;
        options.palette_map = self.palette_map.as_mut();
        options
    }
}

/// Escapes text for a comment, which must not contain `--` nor end in `-`.
fn comment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '-' && out.ends_with('-') {
            out.push(' ');
        }
        out.push(c);
    }
    if out.ends_with('-') {
        out.push(' ');
    }
    out
}

/// Escapes text for the style sheet, which inferno writes as it is.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Escapes text for a string in the script, which is one line of a CDATA section.
fn script(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace("]]>", "]] >")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_infernos() {
        assert_eq!(Config::default().options(), Options::default());
        assert!(Config::default().check().is_ok());
    }

    #[test]
    fn sizes_that_would_overflow_are_refused() {
        for config in [
            Config { width: Some(20), ..Config::default() },
            Config { frame_height: 0, ..Config::default() },
            Config { font_size: usize::MAX, ..Config::default() },
            Config { factor: f64::NAN, ..Config::default() },
        ] {
            assert!(config.check().is_err(), "{config:?}");
        }
    }

    #[test]
    fn texts_cannot_leave_their_place() {
        assert_eq!(comment("a--b---"), "a- -b- - - ");
        assert_eq!(escape("</style>&"), "&lt;/style&gt;&amp;");
        assert_eq!(script("a]]>\nb"), "a]] > b");
    }
}
