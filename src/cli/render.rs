//! `fg-render`: draws folded stacks.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, ValueEnum};

use super::io::{Input, Inputs, Output, report};
use super::program::{Done, Failure, Program};
use super::progress::Shown;
use super::strict::StrictArgs;
use super::{logger, palette_map};
use crate::input;
use crate::output::{Format, Pictures, Target};
use crate::pipeline;
use crate::render::color::{self, BackgroundColor, Color, SearchColor, StrokeColor};
use crate::render::{CHART_TITLE, Config, Order, Palette, frame_attributes};

/// Draw folded stacks as a flame graph: an SVG, or a page of HTML with more views.
///
/// Reads lines such as `main;read_file;memcpy 42`, in any order, from files or standard input.
/// Anything else that fg-fold reads, such as perf-script text or perf.data, is folded first.
///
/// Lines with two numbers, as fg-diff writes them, make a differential graph. Frames are as wide as
/// in the second profile. A frame is red if it weighs more than in the first profile, including all
/// that it calls, and blue if it weighs less. Stacks that are only in the first profile are drawn
/// under a root frame of their own, `[vanished]`.
///
/// The same stacks give the same bytes. Bytes that XML cannot hold are shown as U+FFFD. Without
/// stacks nothing is written, and a file named with -o stays as it was.
///
/// A page of HTML has all frames, however narrow, and chooses its own colours, sizes and fonts, so
/// options about these have no effect on it. With --base it opens with the callers and callees of
/// the first frame that is named, and with --reverse it opens with the callers.
///
/// With --flamechart, samples of perf-script text and perf.data are drawn in order of time. Each
/// thread has a lane: its root frame, which is as wide as the recording is long. A gap in a lane
/// means that the thread was not sampled then. Weights are nanoseconds.
///
/// Memory grows with the distinct stacks, not with the input: 28 bytes for each stack, 4 for each
/// frame that it does not share with the stack before it, and the lines that are wide enough to be
/// seen. Unsorted stacks need up to four times as much. With --no-sort and --flamechart, each line
/// or sample counts as a distinct stack.
#[derive(Debug, Parser)]
#[command(name = "fg-render", version)]
pub struct RenderArgs {
    /// Folded stacks; `-` is standard input [default: standard input]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,

    /// Write to FILE, which is replaced only once the graph is complete [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Write an SVG or a page of HTML [default: html if FILE ends in .html, otherwise svg]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) format: Option<PictureFormat>,

    /// The options that flamegraph also has.
    #[command(flatten)]
    pub(crate) graph: GraphArgs,

    /// Draw lines in the order of the input; adjacent lines share the boxes of their common frames
    #[arg(long, conflicts_with_all = ["reverse", "flame_chart"])]
    pub(crate) no_sort: bool,

    /// Keep only stacks with this frame, and start them at it; may be repeated
    #[arg(long, value_name = "STRING")]
    pub(crate) base: Vec<String>,

    /// Set the colour palette
    #[arg(
        short, long, value_name = "STRING", default_value = "hot",
        value_parser = PossibleValuesParser::new(Palette::VARIANTS).try_map(|name| name.parse::<Palette>())
    )]
    pub(crate) colors: Palette,

    /// Set the background: yellow, blue, green, grey, or "#rrggbb" [default: that of the palette]
    #[arg(long, value_name = "STRING")]
    pub(crate) bgcolors: Option<BackgroundColor>,

    /// Colour by a hash of the function's name in which early characters weigh more
    #[arg(long, conflicts_with = "deterministic")]
    pub(crate) hash: bool,

    /// Colour by width, which highlights expensive paths
    #[arg(long = "colordiffusion", conflicts_with = "colors")]
    pub(crate) color_diffusion: bool,

    /// Read the colours of functions from palette.map, and keep new ones there
    #[arg(long)]
    pub(crate) cp: bool,

    /// Swap the colours of a differential graph
    #[arg(long)]
    pub(crate) negate: bool,

    /// Set the colour of frames found by a search
    #[arg(long, value_name = "#RRGGBB", default_value = "#e600e6")]
    pub(crate) search_color: SearchColor,

    /// Outline each frame: "#rrggbb" or none
    #[arg(long, value_name = "STRING", default_value = "none")]
    pub(crate) stroke_color: StrokeColor,

    /// Set the colour of the title and the buttons
    #[arg(long, value_name = "#RRGGBB", default_value = "#000000", value_parser = parse_color)]
    pub(crate) uicolor: Color,

    /// Set the width of the image in pixels [default: the width of the window]
    #[arg(long, value_name = "UINT")]
    pub(crate) width: Option<usize>,

    /// Set the height of a frame in pixels
    #[arg(long, value_name = "UINT", default_value_t = Config::default().frame_height)]
    pub(crate) height: usize,

    /// Omit frames narrower than this percentage
    #[arg(long = "minwidth", visible_alias = "min-width", value_name = "FLOAT", default_value_t = Config::default().min_width)]
    pub(crate) min_width: f64,

    /// Set the font
    #[arg(long = "fonttype", value_name = "STRING", default_value_t = Config::default().font_type)]
    pub(crate) font_type: String,

    /// Set the font's size in pixels
    #[arg(long = "fontsize", value_name = "UINT", default_value_t = Config::default().font_size)]
    pub(crate) font_size: usize,

    /// Set the width of a character, relative to the font size
    #[arg(long = "fontwidth", value_name = "FLOAT", default_value_t = Config::default().font_width)]
    pub(crate) font_width: f64,

    /// If a name does not fit, cut its right end off
    #[arg(long)]
    pub(crate) truncate_text_right: bool,

    /// Set the unit shown after weights; those of --off-cpu are in ns
    #[arg(long = "countname", value_name = "STRING", default_value_t = Config::default().count_name)]
    pub(crate) count_name: String,

    /// Set the label shown before names
    #[arg(long = "nametype", value_name = "STRING", default_value_t = Config::default().name_type)]
    pub(crate) name_type: String,

    /// Multiply the shown weights
    #[arg(long, value_name = "FLOAT", default_value_t = Config::default().factor)]
    pub(crate) factor: f64,

    /// Read attributes of functions from a file; each line has a name, a tab, and `name=value`
    /// pairs separated by tabs
    #[arg(long = "nameattr", value_name = "PATH")]
    pub(crate) nameattr: Option<PathBuf>,

    /// Indent the XML
    #[arg(long)]
    pub(crate) pretty_xml: bool,

    /// Leave out the script
    #[arg(long, hide = true)]
    pub(crate) no_javascript: bool,

    #[command(flatten)]
    pub(crate) strict: StrictArgs,

    /// Print only errors
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Show which files the names are read from
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The values of `--format`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PictureFormat {
    /// A picture that zooms and searches.
    Svg,
    /// A page with several views, which stays fast however many frames there are.
    Html,
}

impl From<PictureFormat> for Format {
    fn from(format: PictureFormat) -> Format {
        match format {
            PictureFormat::Svg => Format::Svg,
            PictureFormat::Html => Format::Html,
        }
    }
}

/// The options that fg-render and flamegraph have in common.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GraphArgs {
    /// Set the title
    #[arg(long, value_name = "STRING")]
    pub(crate) title: Option<String>,

    /// Set a second line under the title
    #[arg(long, value_name = "STRING")]
    pub(crate) subtitle: Option<String>,

    /// Set notes, which become a comment in the SVG
    #[arg(long, value_name = "STRING")]
    pub(crate) notes: Option<String>,

    /// Colour by a hash of the function's name, so a function has the same colour in all graphs
    #[arg(long)]
    pub(crate) deterministic: bool,

    /// Draw the root at the top
    #[arg(short, long)]
    pub(crate) inverted: bool,

    /// Merge stacks from the leaves, with callers above callees
    #[arg(long)]
    pub(crate) reverse: bool,

    /// Draw a flame chart: what each thread did in the course of time, from left to right. Folded
    /// text is drawn from the last line to the first, and only adjacent lines are merged
    #[arg(long = "flamechart", conflicts_with = "reverse")]
    pub(crate) flame_chart: bool,

    /// Keep the SVG that inferno draws: raw weights, no dark mode, case-sensitive search
    #[arg(long)]
    pub(crate) inferno: bool,

    /// Do not embed the folded stacks in the SVG, so fg-fold and fg-diff cannot read it. Stacks
    /// that take more than 8 MB are never embedded
    #[arg(long)]
    pub(crate) no_embed: bool,
}

impl GraphArgs {
    /// Fails if a graph of `format` needs something that is missing.
    pub(crate) fn check(&self, format: Format) -> Result<()> {
        if self.no_embed && format == Format::Html {
            let what = "a page of HTML draws the stacks that are embedded in it: omit --no-embed";
            return Err(Failure::Usage(what.into()).into());
        }
        Ok(())
    }

    /// Sets the options that were typed.
    pub(crate) fn apply(self, config: &mut Config) {
        if let Some(title) = self.title {
            config.title = title;
        }
        config.subtitle = self.subtitle;
        config.notes = self.notes.unwrap_or_default();
        config.deterministic = self.deterministic;
        config.inverted = self.inverted;
        config.reverse = self.reverse;
        config.inferno = self.inferno;
        config.embed = !self.no_embed;
        if self.flame_chart {
            config.order = Order::Time;
        }
    }
}

impl RenderArgs {
    /// The configuration. The files of `--cp` and `--nameattr` are not read yet.
    pub(crate) fn config(self) -> Config {
        let mut config = Config {
            order: if self.no_sort { Order::Input } else { Order::Frames },
            base: self.base,
            colors: self.colors,
            bgcolors: self.bgcolors,
            uicolor: self.uicolor,
            search_color: self.search_color,
            stroke_color: self.stroke_color,
            hash: self.hash,
            color_diffusion: self.color_diffusion,
            negate: self.negate,
            width: self.width,
            frame_height: self.height,
            min_width: self.min_width,
            font_type: self.font_type,
            font_size: self.font_size,
            font_width: self.font_width,
            truncate_text_right: self.truncate_text_right,
            count_name: self.count_name,
            name_type: self.name_type,
            factor: self.factor,
            pretty_xml: self.pretty_xml,
            no_javascript: self.no_javascript,
            ..Config::default()
        };
        if self.graph.flame_chart {
            config.title = CHART_TITLE.into();
        } else if self.graph.inverted {
            config.title = "Icicle Graph".into();
        }
        self.graph.apply(&mut config);
        config
    }
}

/// The format for a file of this name. Names of formats that we cannot draw are refused, because
/// nothing would open an SVG of that name.
pub(crate) fn format_of(path: &Path) -> Result<Format> {
    const OTHERS: [&str; 8] = ["png", "jpg", "jpeg", "gif", "webp", "pdf", "ps", "eps"];
    let end = path.extension().unwrap_or_default();
    if OTHERS.iter().any(|other| end.eq_ignore_ascii_case(other)) {
        let what = format!(
            "cannot draw {}: a graph is an SVG or a page (.html), which other programs convert, such \
             as rsvg-convert",
            path.display()
        );
        return Err(Failure::Usage(what).into());
    }
    Ok(Format::of(path))
}

/// The format of a picture of this name.
fn picture_of(path: &Path) -> Result<Format> {
    match format_of(path)? {
        Format::Export(_) => {
            let path = path.display();
            let what = format!(
                "fg-render draws pictures; fg-export -o {path} writes a profile for another tool"
            );
            Err(Failure::Usage(what).into())
        }
        format => Ok(format),
    }
}

impl Program for RenderArgs {
    const NAME: &'static str = "fg-render";

    fn run(mut self) -> Result<Done> {
        let quiet = self.quiet;
        let strict = std::mem::take(&mut self.strict);
        let cp = self.cp;
        logger::install(Self::NAME, quiet, self.verbose);
        let paths = std::mem::take(&mut self.paths);
        let output = self.output.take();
        let nameattr = self.nameattr.take();
        let told = self.format.map(Format::from);
        let format = match (told, &output) {
            (Some(format), _) => format,
            (None, Some(path)) => picture_of(path)?,
            (None, None) => Format::default(),
        };
        self.graph.check(format)?;
        let mut config = self.config();
        config.check().map_err(usage)?;
        if let Some(path) = nameattr {
            let doing = || format!("cannot read {}", path.display());
            let text = fs::read(&path).with_context(doing)?;
            config.frame_attributes = frame_attributes(&text).with_context(doing)?;
        }
        if cp {
            config.palette_map = Some(palette_map::read()?);
        }

        let mut inputs = Inputs::new(paths)?;
        let name = match &inputs.names()[..] {
            [name] => name.clone(),
            names => format!("the {} inputs", names.len()),
        };
        let output = Output::create(output.as_deref())?;
        let target = Target { name: output.name.clone(), out: output, format };
        let is_chart = config.order == Order::Time;
        let pictures = Pictures::new(config, None, &name, vec![target]);
        let progress = Arc::default();
        let _shown = Shown::start(Self::NAME, &name, &progress, !quiet);
        let opened = inputs.by_ref().map(|Input { name, reader, path, .. }| input::Input {
            name,
            reader,
            path,
            progress: Arc::clone(&progress),
        });
        let source =
            input::Config { lenient: true, threads: input::threads(), ..input::Config::default() };
        let drawn = pipeline::draw_all(opened, &name, &source, is_chart, pictures);
        inputs.end()?;
        let (mut pictures, tally) = drawn?;
        let palette_map = pictures.take_palette_map();
        pictures.into_outs().into_iter().try_for_each(Output::commit)?;
        palette_map.as_ref().map_or(Ok(()), palette_map::write)?;
        report(Self::NAME, quiet, &tally);
        Ok(strict.done(Self::NAME, &tally))
    }
}

/// A size that cannot be drawn.
pub(super) fn usage(error: crate::error::Error) -> Failure {
    let remedy = error.remedy().map(|remedy| format!(": {remedy}")).unwrap_or_default();
    Failure::Usage(format!("{error}{remedy}"))
}

fn parse_color(text: &str) -> Result<Color, String> {
    color::parse_hex_color(text).ok_or_else(|| "expected a colour as #rrggbb".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn config(args: &[&str]) -> Config {
        RenderArgs::try_parse_from([&["fg-render"], args].concat()).unwrap().config()
    }

    #[test]
    fn no_flags_mean_the_default() {
        RenderArgs::command().debug_assert();
        assert_eq!(config(&[]), Config::default());
    }

    #[test]
    fn the_title_follows_the_kind_of_graph() {
        assert_eq!(config(&["-i"]).title, "Icicle Graph");
        assert_eq!(config(&["-i", "--flamechart"]).title, "Flame Chart");
        assert_eq!(config(&["-i", "--title", "Mine"]).title, "Mine");
    }

    #[test]
    fn options_mean_what_they_say() {
        let typed = "--no-sort --truncate-text-right -c purple --bgcolors #102030 --hash --width 100 \
                     --height 9 --minwidth 1.5 --fonttype Arial --fontsize 13 --fontwidth 0.5 \
                     --countname bytes --nametype Method: --factor 0.1 --pretty-xml --base f \
                     --base g --negate --subtitle s --notes n --search-color #010203 \
                     --stroke-color #040506 --uicolor #070809";
        let typed = config(&typed.split_whitespace().collect::<Vec<_>>());
        let meant = Config {
            order: Order::Input,
            truncate_text_right: true,
            colors: "purple".parse().unwrap(),
            bgcolors: Some(BackgroundColor::Flat(Color { r: 16, g: 32, b: 48 })),
            hash: true,
            width: Some(100),
            frame_height: 9,
            min_width: 1.5,
            font_type: "Arial".into(),
            font_size: 13,
            font_width: 0.5,
            count_name: "bytes".into(),
            name_type: "Method:".into(),
            factor: 0.1,
            pretty_xml: true,
            base: vec!["f".into(), "g".into()],
            negate: true,
            subtitle: Some("s".into()),
            notes: "n".into(),
            search_color: "#010203".parse().unwrap(),
            stroke_color: "#040506".parse().unwrap(),
            uicolor: Color { r: 7, g: 8, b: 9 },
            ..Config::default()
        };
        assert_eq!(typed, meant);
    }

    #[test]
    fn contradictions_are_refused() {
        for args in [
            "--hash --deterministic",
            "--no-sort --reverse",
            "--no-sort --flamechart",
            "--reverse --flamechart",
            "--colordiffusion -c red",
            "-c pink",
            "--uicolor #é1234",
        ] {
            let typed = ["fg-render"].into_iter().chain(args.split(' '));
            assert!(RenderArgs::try_parse_from(typed).is_err(), "{args}");
        }
    }
}
