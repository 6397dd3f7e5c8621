//! Packs outputs whose names end in `.gz` or `.zst`.

use std::io::{self, Write};
use std::path::Path;

use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

/// A writer that packs what is written, or does not.
pub(super) enum Packed<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    Zstd(ZstdEncoder<'static, W>),
}

impl<W: Write> Packed<W> {
    /// Writes to `out`, packed as the name `path` says.
    pub(super) fn by_name(path: &Path, out: W) -> io::Result<Packed<W>> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Ok(Packed::Gzip(GzEncoder::new(out, flate2::Compression::default()))),
            Some("zst") => {
                Ok(Packed::Zstd(ZstdEncoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?))
            }
            _ => Ok(Packed::Plain(out)),
        }
    }

    /// Writes the end, and returns the writer.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Packed::Plain(out) => Ok(out),
            Packed::Gzip(out) => out.finish(),
            Packed::Zstd(out) => out.finish(),
        }
    }
}

impl<W: Write> Write for Packed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Packed::Plain(out) => out.write(bytes),
            Packed::Gzip(out) => out.write(bytes),
            Packed::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Packed::Plain(out) => out.flush(),
            Packed::Gzip(out) => out.flush(),
            Packed::Zstd(out) => out.flush(),
        }
    }
}
