//! The common part of flamegraph and cargo-flamegraph: recording and drawing.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args};

use super::binary::is_closed_pipe;
use super::failed::{self, Failed};
use super::filter_args::PresetArg;
use super::folding::{FoldingArgs, write_report};
use super::io::{Input, Output, report, say, say_more, terminal_width};
use super::live::{self, Drawn, Live};
use super::logger;
use super::program::{Done, Failure};
use super::progress::Shown;
use super::record::{RecordOptions, teller};
use super::render::{GraphArgs, format_of, usage};
use super::script::ReadingArgs;
use super::signals;
use super::strict::StrictArgs;
use super::stripped;
use crate::cargo::{Launch, Sensitive};
use crate::export;
use crate::filter::Preset;
use crate::fold::Weighing;
use crate::input;
use crate::output::{Format, Table, Target, live_page};
use crate::pipeline;
use crate::record::{self, Destination, Workload};
use crate::render::{self, Palette};
use crate::tally::Tally;
use crate::watch::{Server, Watch};

const DEFAULT_OUTPUT: &str = "flamegraph.svg";

/// The options of flamegraph 0.6.15 that both programs take, with its defaults.
#[derive(Args, Clone, Debug)]
pub(crate) struct GraphOptions {
    /// Write the graph to FILE: a page with several views if it ends in .html, a profile for
    /// another tool if it has a name of fg-export (.pb.gz, .json.gz, .json), otherwise an SVG. May
    /// be repeated
    #[arg(short, long = "output", default_value = DEFAULT_OUTPUT, value_name = "FILE")]
    outputs: Vec<PathBuf>,

    /// Also print the N heaviest functions [default: 30]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true,
          default_missing_value = "30", conflicts_with = "flame_chart")]
    top: Option<usize>,

    /// Open the graph in its default program
    #[arg(long)]
    open: bool,

    /// Show the graph in a browser while the program runs: prints the page's address, which --open
    /// opens
    #[arg(long)]
    live: bool,

    #[command(flatten)]
    reading: ReadingArgs,

    /// Also write the recording to FILE
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,

    /// Pass the folded stacks through this command, quoted as in a shell
    #[arg(long, value_name = "COMMAND")]
    post_process: Option<String>,

    /// Leave out the runtime frames of these libraries
    #[arg(long, value_enum, value_name = "LIBRARY,…", value_delimiter = ',')]
    preset: Vec<PresetArg>,

    #[command(flatten)]
    folding: FoldingArgs,

    #[command(flatten)]
    graph: GraphArgs,

    /// Omit functions narrower than FLOAT percent
    #[arg(long, default_value_t = 0.01, value_name = "FLOAT")]
    min_width: f64,

    /// Image width in pixels [default: the width of the window]
    #[arg(long, value_name = "PIXELS")]
    image_width: Option<usize>,

    /// Colour palette
    #[arg(long, value_name = "PALETTE",
          value_parser = PossibleValuesParser::new(Palette::VARIANTS).try_map(|name| name.parse::<Palette>()))]
    palette: Option<Palette>,

    #[command(flatten)]
    strict: StrictArgs,

    #[command(flatten)]
    record: RecordOptions,

    /// Show the command lines that are run
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,

    /// Print only errors
    #[arg(short, long)]
    quiet: bool,
}

/// A graph that was drawn.
pub(crate) struct Drawing {
    /// The outputs as they were typed.
    written: String,
    /// The absolute path of the first output that is a file.
    place: Option<PathBuf>,
    /// The tally of all stages.
    pub(crate) tally: Tally,
    /// How the recorded program failed.
    pub(crate) failed: Option<Failed>,
    /// Whether the recording was kept, if the user asked for it. The graph is complete even if not.
    kept: Result<()>,
    /// How we end.
    pub(crate) done: Done,
}

/// The profile that is drawn.
pub(crate) enum Subject {
    /// A new recording.
    Workload(Workload),
    /// A new recording of a command with its own environment and working directory.
    Launch(Launch),
    /// An existing recording.
    Recording(PathBuf),
}

impl GraphOptions {
    /// How often `-v` was typed.
    pub(crate) fn verbose(&self) -> u8 {
        self.verbose
    }

    /// Whether only errors are said.
    pub(crate) fn quiet(&self) -> bool {
        self.quiet
    }

    /// Refuses what cannot be recorded, drawn or written, before a build that takes minutes.
    ///
    /// No file is left behind: cargo would take one that is new for a change of the package.
    pub(crate) fn check(&self) -> Result<()> {
        let mut record = self.record.config()?;
        self.keep(&self.targets()?)?;
        let post_process = self.post_process_words()?;
        self.clone().pipeline(post_process)?;
        record.backend = self.reading.backend;
        if cfg!(target_os = "linux") && record.custom.is_none() {
            // Records something short. With --root, this is when sudo asks for the password.
            (record.delay, record.duration) = (None, None);
            signals::left_to(|| record::try_out(&record, &mut |_| {}))?;
        }
        Ok(())
    }

    /// The folder that `-o` names, which is made if it is missing, for graphs and a page with links
    /// to them. From now on, that page is the output.
    pub(crate) fn take_folder(&mut self) -> Result<PathBuf> {
        let folder = match self.outputs.as_slice() {
            [typed] if typed != Path::new(DEFAULT_OUTPUT) => typed.clone(),
            [_] => "flamegraphs".into(),
            _ => return Err(Failure::Usage("-o names one folder for all graphs".into()).into()),
        };
        let unfit = [
            (self.keep.is_some(), "--keep"),
            (self.live, "--live"),
            (self.graph.no_embed, "--no-embed"),
            (self.folding.report.is_some(), "--report"),
        ];
        if let Some((_, option)) = unfit.iter().find(|(typed, _)| *typed) {
            let what = format!("{option} is for a single graph: omit it");
            return Err(Failure::Usage(what).into());
        }
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        self.outputs = vec![folder.join("index.html")];
        Ok(folder)
    }

    /// The same options for another output.
    pub(crate) fn to(&self, output: PathBuf) -> GraphOptions {
        GraphOptions { outputs: vec![output], ..self.clone() }
    }

    /// Whether the workload's status is ignored.
    pub(crate) fn ignores_status(&self) -> bool {
        self.record.ignore_status
    }

    /// Says where the finished graph is, or opens it.
    pub(crate) fn show(&self, place: Option<&Path>) -> Result<()> {
        let path = self.outputs.first().cloned().unwrap_or_default();
        if self.open && !self.live {
            let remedy = format!("it is complete, so open {} yourself", path.display());
            return open_in_browser(path.as_os_str(), &remedy);
        }
        if let Some(place) = place.filter(|_| !self.live && !self.quiet) {
            say_more(format_args!("  open {} in a browser, or add --open", place.display()));
        }
        Ok(())
    }

    /// Records, draws, and passes on the workload's status. Messages start with `name`.
    pub(crate) fn run(self, name: &'static str, subject: Subject) -> Result<Done> {
        let drawing = self.clone().draw(name, subject)?;
        let Drawing { written, place, tally, failed, kept, done } = drawing;
        report(name, self.quiet, &format_args!("wrote {written}: {tally}"));
        if let Some(failed) = failed.filter(|_| !self.quiet) {
            let what = "the graph shows what it did until then";
            say(name, format_args!("{failed}; {what}"));
        }
        // The reader of a FIFO may close it early.
        kept.or_else(|error| if is_closed_pipe(&error) { Ok(()) } else { Err(error) })?;
        self.show(place.as_deref())?;
        Ok(done)
    }

    /// Records and draws.
    pub(crate) fn draw(self, name: &'static str, subject: Subject) -> Result<Drawing> {
        let quiet = self.quiet;
        logger::install(name, quiet, 0);
        let post_process = self.post_process_words()?;
        let mut record = self.record.config()?;
        (record.backend, record.quiet) = (self.reading.backend, quiet);
        // Open the outputs first, so that a recording is not lost because an output cannot be
        // written.
        let targets = self.targets()?;
        let path = self.outputs.first().cloned().unwrap_or_default();
        let files: Vec<PathBuf> = self.outputs.iter().chain(&self.keep).cloned().collect();
        let keep = self.keep(&targets)?;
        let quality = self.folding.open_report()?;
        let open = self.open;
        let is_live = self.live;
        let has_table = self.top.is_some();
        let strict = self.strict.clone();
        let options = self.record.clone();
        let mut tell = teller(name, self.verbose > 0, quiet);
        let mut pipeline = self.pipeline(post_process)?;
        let mut sensitive = Sensitive::default();
        // The executable whose profile cargo flamegraph has already given advice about.
        let mut told = None;
        let workload = match subject {
            Subject::Recording(path) => Err(path),
            Subject::Workload(workload) => Ok(workload),
            Subject::Launch(launch) => {
                let command = launch.command();
                told = Some(PathBuf::from(&launch.program));
                record.env = launch.env;
                record.cwd = Some(launch.cwd);
                sensitive = launch.sensitive;
                pipeline.presets.extend(launch.presets);
                pipeline.threads = launch.tests;
                pipeline.render.subject = Some(launch.about);
                Ok(Workload::Command(command))
            }
        };
        if let Ok(Workload::Command(words)) = &workload {
            pipeline.command = command_line(words);
            let program = words.first().map(Path::new).and_then(Path::file_name);
            pipeline.render.program = program.map(|name| name.to_string_lossy().into_owned());
        }
        let recorder = record::recorder();
        let (ended, drawn, kept) = match workload {
            Err(_) if is_live => {
                let what = "--live shows what is recorded now: omit it, or --perfdata";
                return Err(Failure::Usage(what.into()).into());
            }
            Err(path) => {
                let label = path.display().to_string();
                (None, draw_file(name, quiet, &path, &label, pipeline, targets)?, Ok(()))
            }
            Ok(workload) if recorder.streams(&workload, &record) => {
                let watch = is_live.then(Arc::<Watch>::default);
                let server = watch
                    .as_ref()
                    .map(|watch| serve(name, quiet, watch, &pipeline, open))
                    .transpose()?;
                let to = live::Outputs { targets, keep, watch };
                let live = live::draw(&*recorder, &workload, &record, pipeline, to, &mut tell);
                server.into_iter().for_each(Server::stop);
                let Live { ended, drawn, kept } = live?;
                (Some(ended), drawn, kept)
            }
            Ok(_) if is_live => {
                let what = "--live needs a recording that can be read while it grows: record with \
                            flamepipe's own recorder, not with another one";
                return Err(Failure::Usage(what.into()).into());
            }
            Ok(workload) => {
                let temporary = temporary_beside(&path)?;
                let to = Destination::File(temporary.path());
                let ended =
                    signals::left_to(|| recorder.record(&workload, &record, to, &mut tell))?;
                let recording = ended.elsewhere.as_deref().unwrap_or(temporary.path());
                let kept = keep.map_or(Ok(()), |keep| copy(recording, keep));
                let label = ended.elsewhere.as_ref().map(|path| path.display().to_string());
                let label = label.as_deref().unwrap_or("the recording");
                let drawn = draw_file(name, quiet, recording, label, pipeline, targets)?;
                (Some(ended), drawn, kept)
            }
        };
        // The user knows of an interrupt, so its status is not a failure.
        let failed = ended.as_ref().filter(|ended| !ended.interrupted);
        let failed = failed.and_then(|ended| Failed::of(ended.status));
        let Drawn { outputs, tally } = drawn.map_err(|error| match failed {
            Some(failed) => anyhow::Error::from(error).context(failed),
            None => error.into(),
        })?;
        if let Some(advice) = stripped::advice(&tally, told.as_deref()) {
            log::warn!("{advice}");
        }
        let graphs = outputs.iter().filter(|output| !has_table || !output.is_stdout);
        let written = graphs.map(|output| &*output.name).collect::<Vec<_>>().join(", ");
        let is_picture = |path: &&Path| !matches!(Format::of(path), Format::Export(_));
        let pictures = outputs.iter().filter_map(|output| output.target().filter(is_picture));
        let place = pictures.filter_map(|path| std::path::absolute(path).ok()).next();
        for mut output in outputs {
            if failed.is_some() {
                keep_larger(name, quiet, &mut output, tally.read.items)?;
            }
            output.commit()?;
        }
        write_report(quality, &tally)?;
        files.iter().for_each(|file| sensitive.protect(file));
        let done = match strict.done(name, &tally) {
            Done::Ok => ended.as_ref().map_or(Done::Ok, |ended| options.done(ended)),
            gate => gate,
        };
        Ok(Drawing { written, place, tally, failed, kept, done })
    }

    /// The outputs, each with its format.
    fn targets(&self) -> Result<Vec<Target<Output>>> {
        let target = |path: &PathBuf| {
            let format = format_of(path)?;
            self.graph.check(format)?;
            let out = match format {
                Format::Export(export::Format::Pprof) => Output::create_binary(Some(path))?,
                _ => Output::create(Some(path))?,
            };
            Ok(Target { name: out.name.clone(), out, format })
        };
        let mut targets: Vec<_> = self.outputs.iter().map(target).collect::<Result<_>>()?;
        if let Some(lines) = self.top {
            if targets.iter().any(|target| target.out.is_stdout) {
                let what =
                    "--top and -o - both write to standard output: name a file for the graph";
                return Err(Failure::Usage(what.into()).into());
            }
            let out = Output::create(None)?;
            let format = Format::Top(Table { lines, width: terminal_width() });
            targets.push(Target { name: out.name.clone(), out, format });
        }
        Ok(targets)
    }

    /// The file that keeps the recording.
    fn keep(&self, targets: &[Target<Output>]) -> Result<Option<Output>> {
        let keep =
            self.keep.as_deref().map(|path| Output::create_private(Some(path))).transpose()?;
        let clash = |keep: &Output| targets.iter().find(|target| target.out.is_same_file(keep));
        if let Some(target) = keep.as_ref().and_then(clash) {
            let what = format!("--keep and -o both name the file {}", target.name);
            return Err(Failure::Usage(what).into());
        }
        Ok(keep)
    }

    fn post_process_words(&self) -> Result<Option<Vec<String>>> {
        let Some(line) = &self.post_process else { return Ok(None) };
        match shlex::split(line) {
            Some(words) if !words.is_empty() => {
                pipeline::check_command(&words)?;
                Ok(Some(words))
            }
            _ => Err(Failure::Usage(format!(
                "--post-process {line:?} is not a command: it is empty, or a quote is not closed"
            ))
            .into()),
        }
    }

    fn pipeline(self, post_process: Option<Vec<String>>) -> Result<pipeline::Config> {
        let mut render = render::Config {
            min_width: self.min_width,
            width: self.image_width,
            ..render::Config::default()
        };
        if let Some(palette) = self.palette {
            render.colors = palette;
        }
        self.graph.apply(&mut render);
        // Check this before recording something that cannot be drawn.
        render.check().map_err(usage)?;
        let fold = self.folding.config();
        for path in &self.outputs {
            if let Format::Export(format) = Format::of(path) {
                format.check(&fold).map_err(usage)?;
            }
        }
        let is_chart = render.order == render::Order::Time;
        if is_chart && (fold.cpu || fold.by_event || fold.weighing == Weighing::Samples) {
            let what = "a flame chart shows one event, in nanoseconds, with a lane for each thread: omit \
                        --split cpu, --split event, --event-filter all and --weight samples";
            return Err(Failure::Usage(what.into()).into());
        }
        Ok(pipeline::Config {
            input: input::Config {
                script: self.reading.config(),
                threads: input::threads(),
                ..input::Config::default()
            },
            fold,
            presets: self.preset.into_iter().map(Preset::from).collect(),
            threads: Vec::new(),
            post_process,
            render,
            command: None,
        })
    }
}

/// Keeps the larger graph that `output` is about to replace with one of few samples.
fn keep_larger(name: &str, quiet: bool, output: &mut Output, samples: u64) -> Result<()> {
    output.flush().with_context(|| format!("cannot write {}", output.name))?;
    let (Some(new), Some(path)) = (output.file(), output.target()) else { return Ok(()) };
    let kept = failed::set_aside(new, path, samples)
        .with_context(|| format!("cannot keep the older {}", output.name))?;
    if let Some(kept) = kept {
        let place = kept.display();
        report(
            name,
            quiet,
            &format_args!("the older {} was larger; it is now {place}", output.name),
        );
    }
    Ok(())
}

/// Serves the page that shows in a browser what `watch` has, and says where it is.
fn serve(
    name: &'static str,
    quiet: bool,
    watch: &Arc<Watch>,
    pipeline: &pipeline::Config,
    is_opened: bool,
) -> Result<Server> {
    let page = live_page(&pipeline.render, pipeline.command.clone());
    let server = Server::start(Arc::clone(watch), page).context("cannot serve the live graph")?;
    let url = server.url();
    // Without a browser, the address is the only way to the page.
    report(name, quiet && is_opened, &format_args!("live at {url}"));
    if is_opened
        && let Err(error) = open_in_browser(url.as_ref(), "open the address above yourself")
    {
        // The recording goes on.
        report(name, quiet, &error);
    }
    Ok(server)
}

/// Opens a graph in its default program.
fn open_in_browser(graph: &OsStr, remedy: &str) -> Result<()> {
    open::that_detached(graph).map_err(|error| {
        log::info!("{error}");
        anyhow!("no program here could show the graph: {remedy}")
    })
}

/// Draws the recording at `path`, which errors call `label`.
fn draw_file(
    name: &'static str,
    quiet: bool,
    path: &Path,
    label: &str,
    pipeline: pipeline::Config,
    targets: Vec<Target<Output>>,
) -> Result<crate::error::Result<Drawn>> {
    let input = Input::open(path)?;
    let progress = Arc::default();
    let _shown = Shown::start(name, label, &progress, !quiet);
    let input =
        input::Input { name: label.into(), reader: input.reader, path: input.path, progress };
    let drawn = pipeline::draw(input, pipeline, targets);
    Ok(drawn.map(|(outputs, tally)| Drawn { outputs, tally }))
}

/// A command, as a user would type it.
pub(crate) fn command_line(words: &[OsString]) -> Option<String> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    shlex::try_join(words.iter().map(|word| &**word)).ok()
}

/// Keeps a recording that another program has written.
fn copy(from: &Path, mut keep: Output) -> Result<()> {
    let mut recording = std::fs::File::open(from).context("cannot read the recording")?;
    std::io::copy(&mut recording, &mut keep)
        .with_context(|| format!("cannot write {}", keep.name))?;
    keep.commit()
}

/// A temporary file beside the output, because a recording can be gigabytes, and /tmp may be small.
fn temporary_beside(output: &Path) -> Result<tempfile::NamedTempFile> {
    // The recorder may run in another directory, so the path must be absolute.
    let output = std::path::absolute(output).context("cannot find the working directory")?;
    let folder =
        output.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".flamepipe-").suffix(".recording");
    // Files in /dev are in memory.
    signals::removable(|| {
        let beside = (!output.starts_with("/dev")).then(|| builder.tempfile_in(folder));
        beside.and_then(Result::ok).map_or_else(|| builder.tempfile(), Ok)
    })
    .context("cannot create a temporary file for the recording")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        graph: GraphOptions,
    }

    fn parse(line: &str) -> GraphOptions {
        Cli::parse_from(std::iter::once("x").chain(line.split_whitespace())).graph
    }

    #[test]
    fn no_flags_mean_the_default() {
        assert_eq!(parse("").record.config().unwrap(), record::Config::default());
        assert_eq!(parse("").outputs, [Path::new("flamegraph.svg")]);
        let mut pipeline = parse("").pipeline(None).unwrap();
        assert_eq!(std::mem::take(&mut pipeline.input.threads), input::threads());
        assert_eq!(pipeline, pipeline::Config::default());
    }

    #[test]
    fn options_mean_what_they_say() {
        let graph = parse(
            "--no-inline --skip-after a --skip-after b --min-width 2 --image-width 700 --palette aqua -i --post-process cat",
        );
        let words = graph.post_process_words().unwrap();
        let config = graph.pipeline(words).unwrap();
        assert!(config.input.script.no_inline && config.render.inverted);
        assert_eq!(config.fold.skip_after, ["a", "b"]);
        assert_eq!((config.render.min_width, config.render.width), (2.0, Some(700)));
        assert_eq!(config.render.colors, "aqua".parse().unwrap());
        assert_eq!(config.post_process, Some(vec!["cat".into()]));
    }

    #[test]
    fn what_cannot_be_drawn_is_refused_before_it_is_recorded() {
        for line in ["--image-width 20", "--min-width nan"] {
            let error = parse(line).pipeline(None).unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(Failure::Usage(_))), "{line}: {error}");
        }
    }

    #[test]
    fn a_chart_shows_one_event_in_time() {
        for (line, is_drawn) in [
            ("--flamechart", true),
            ("--flamechart --split tid --merge-threads", true),
            ("--flamechart --split cpu", false),
            ("--flamechart --event-filter all", false),
            ("--flamechart --weight samples", false),
            ("--weight samples --split cpu", true),
        ] {
            assert_eq!(parse(line).pipeline(None).is_ok(), is_drawn, "{line}");
        }
    }
}
