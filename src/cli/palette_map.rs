//! Reads and writes `palette.map`, where `--cp` keeps the colours of functions, as all flame graph
//! tools do.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use bstr::ByteSlice;

use super::io::Output;
use crate::render::color::PaletteMap;

const FILE: &str = "palette.map";

/// Reads the colours of the working directory; none if it has no such file.
pub(super) fn read() -> Result<PaletteMap> {
    match fs::read(FILE) {
        Ok(text) => PaletteMap::from_reader(&mut text.to_str_lossy().as_bytes()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(PaletteMap::default()),
        Err(error) => Err(error),
    }
    .with_context(|| format!("cannot read {FILE}"))
}

pub(super) fn write(map: &PaletteMap) -> Result<()> {
    let mut output = Output::create(Some(Path::new(FILE)))?;
    map.to_writer(&mut output).with_context(|| format!("cannot write {FILE}"))?;
    output.commit()
}
