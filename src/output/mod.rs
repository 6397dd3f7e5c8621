//! Draws folded stacks as an SVG, a page of HTML, or both in one run, and writes them for other
//! tools and as a table.

pub(crate) mod html;
pub(crate) mod index;

use std::io::{self, Write};
use std::path::Path;

pub(crate) use html::live_page;
use html::{Notes, Page};

use crate::error::{Error, Result};
use crate::export::{self, Export};
use crate::folded::{Folded, FoldedSink};
use crate::render::{self, Renderer, color::PaletteMap};
use crate::sample::FrameTable;
use crate::tally::Tally;
use crate::top::{By, Style, Top, write_functions};

/// The format of a picture, or of a profile beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A picture that zooms and searches.
    #[default]
    Svg,
    /// A page with several views, which stays fast however many frames there are.
    Html,
    /// No picture, but a profile for another tool.
    Export(export::Format),
    /// No picture, but the heaviest functions as text.
    Top(Table),
}

/// A table of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// At most this many functions.
    pub lines: usize,
    /// Lines are cut at this width, in characters.
    pub width: Option<usize>,
}

impl Format {
    /// The format for a file of this name: a page if it ends in `.html` or `.htm`, a profile for
    /// another tool if [`export::Format::of`] knows it.
    pub fn of(path: &Path) -> Format {
        if let Some(format) = export::Format::of(path) {
            return Format::Export(format);
        }
        let end = path.extension().unwrap_or_default();
        let is_page = ["html", "htm"].iter().any(|page| end.eq_ignore_ascii_case(page));
        if is_page { Format::Html } else { Format::Svg }
    }
}

/// Where a picture or a profile goes.
#[derive(Debug)]
pub struct Target<W> {
    /// The writer.
    pub out: W,
    /// Its name in errors.
    pub name: String,
    /// The format.
    pub format: Format,
}

/// A sink that draws the same stacks into several targets.
pub struct Pictures<W> {
    svg: Option<Renderer<Copies<W>>>,
    page: Option<Page<Copies<W>>>,
    exports: Vec<Export<W>>,
    tables: Vec<(Table, W, String)>,
    top: Top,
}

impl<W: Write> Pictures<W> {
    /// Pictures of an input that errors call `input`. The colours, sizes and fonts of `config`
    /// apply only to SVGs, and `command` only to pages.
    pub fn new(
        config: render::Config,
        command: Option<String>,
        input: &str,
        targets: Vec<Target<W>>,
    ) -> Self {
        let mut svgs = Vec::new();
        let mut pages = Vec::new();
        let mut exports = Vec::new();
        let mut tables = Vec::new();
        let title = command.clone().unwrap_or_else(|| input.into());
        for target in targets {
            match target.format {
                Format::Svg => svgs.push(target),
                Format::Html => pages.push(target),
                Format::Top(table) => tables.push((table, target.out, target.name)),
                Format::Export(format) => {
                    exports.push(Export::new(format, &*title, target.out, target.name));
                }
            }
        }
        let notes = Notes { command, ..Notes::of(&config) };
        let page = Copies::of(pages).map(|(out, name)| Page::new(notes, input, out, name));
        let svg = Copies::of(svgs).map(|(out, name)| Renderer::new(config, input, out, name));
        Pictures { svg, page, exports, tables, top: Top::default() }
    }

    /// The writers.
    pub fn into_outs(self) -> Vec<W> {
        let svgs = self.svg.map(Renderer::into_inner);
        let pages = self.page.map(Page::into_inner);
        let pictures = svgs.into_iter().chain(pages).flat_map(|copies| copies.0);
        let exports = self.exports.into_iter().map(Export::into_inner);
        let tables = self.tables.into_iter().map(|(_, out, _)| out);
        pictures.chain(exports).chain(tables).collect()
    }

    /// [`Renderer::take_palette_map`]
    pub fn take_palette_map(&mut self) -> Option<PaletteMap> {
        self.svg.as_mut().and_then(Renderer::take_palette_map)
    }
}

impl<W: Write> FoldedSink for Pictures<W> {
    fn folded(&mut self, frames: &mut FrameTable, folded: &Folded<'_>) -> Result<()> {
        if let Some(svg) = &mut self.svg {
            svg.folded(frames, folded)?;
        }
        for export in &mut self.exports {
            export.folded(frames, folded)?;
        }
        if !self.tables.is_empty() {
            self.top.folded(frames, folded)?;
        }
        match &mut self.page {
            Some(page) => page.folded(frames, folded),
            None => Ok(()),
        }
    }

    fn text(&mut self, line: &[u8]) -> Result<()> {
        if let Some(svg) = &mut self.svg {
            svg.text(line)?;
        }
        for export in &mut self.exports {
            FoldedSink::text(export, line)?;
        }
        self.top.text(line)?;
        match &mut self.page {
            Some(page) => page.text(line),
            None => Ok(()),
        }
    }

    fn finish(&mut self, frames: &mut FrameTable, tally: &mut Tally) -> Result<()> {
        // All count the same losses, so only one tally counts.
        let before = tally.clone();
        let mut unseen = before.clone();
        for (Table { lines, width }, out, name) in &mut self.tables {
            let functions = self.top.functions(frames, By::Function);
            let unit = self.top.unit().to_string();
            write_functions(&functions, &unit, Style::Text, *lines, *width, out)
                .map_err(Error::io(|| format!("cannot write {name}")))?;
        }
        for export in &mut self.exports {
            unseen = before.clone();
            FoldedSink::finish(export, frames, &mut unseen)?;
        }
        if let Some(page) = &mut self.page {
            unseen = before;
            page.finish(frames, &mut unseen)?;
        }
        match &mut self.svg {
            Some(svg) => svg.finish(frames, tally),
            None => {
                *tally = unseen;
                Ok(())
            }
        }
    }
}

/// Writers that get the same bytes.
struct Copies<W>(Vec<W>);

impl<W> Copies<W> {
    /// The writers of `targets`, and their names; `None` if there are none.
    fn of(targets: Vec<Target<W>>) -> Option<(Self, String)> {
        let name = targets.iter().map(|target| &*target.name).collect::<Vec<_>>().join(", ");
        let outs: Vec<W> = targets.into_iter().map(|target| target.out).collect();
        if outs.is_empty() { None } else { Some((Copies(outs), name)) }
    }
}

impl<W: Write> Write for Copies<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.iter_mut().try_for_each(|out| out.write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.iter_mut().try_for_each(Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_tells_the_format() {
        for (name, format) in [
            ("x.svg", Format::Svg),
            ("x", Format::Svg),
            ("html", Format::Svg),
            ("a.svg/x.HTML", Format::Html),
            ("x.htm", Format::Html),
            ("x.pb.gz", Format::Export(export::Format::Pprof)),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn every_target_is_written() {
        let target = |format| Target { out: Vec::new(), name: "memory".into(), format };
        let targets = vec![target(Format::Html), target(Format::Svg), target(Format::Html)];
        let mut pictures = Pictures::new(render::Config::default(), None, "text", targets);
        let mut frames = FrameTable::default();
        let mut tally = Tally::default();
        let text = &b"main;f 1.5\n"[..];
        crate::folded::read(text, "text", &mut frames, &mut pictures, &mut tally).unwrap();
        pictures.finish(&mut frames, &mut tally).unwrap();
        assert!(tally.to_string().contains("1 weight rounded down"), "{tally}");
        let outs = pictures.into_outs();
        let starts: Vec<&[u8]> = outs.iter().map(|out| &out[..5]).collect();
        assert_eq!(starts, [b"<?xml", b"<!DOC", b"<!DOC"]);
        assert_eq!(outs[1], outs[2]);
    }
}
