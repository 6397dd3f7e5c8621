//! What went wrong while names were looked for.

use std::path::PathBuf;

use bstr::BString;

/// What went wrong while files were looked for, by the names as recorded, each once, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    /// The file is there, but it is not the recorded build, or it changed since: its names were not
    /// used.
    pub mismatched: Vec<BString>,
    /// The recording was made on another machine and has no build id of the file: the file of that
    /// name here was not used.
    pub elsewhere: Vec<BString>,
    /// There is no such file, or it is no ELF file.
    pub missing: Vec<BString>,
    /// The kernel shows us no addresses of its functions: `kernel.kptr_restrict`, and at 0
    /// `kernel.perf_event_paranoid` too.
    pub kernel_hidden: bool,
    /// Maps of JITs that are not believed, and why.
    pub doubted: Vec<(PathBuf, Doubt)>,
}

/// Why a module has no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// Only files of another build are there.
    Mismatched,
    /// Only this machine's file of that name is there, and the recording is another machine's.
    Elsewhere,
    /// There is no file.
    Missing,
}

/// Why a map is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// It was last written before the process executed its program: it is of another process that
    /// had this number.
    Older,
    /// It was written since another process has the number.
    Newer,
    /// It belongs to a user who is neither the process's, nor the reader, nor root.
    Stranger,
    /// It is a link, a pipe or a device.
    NoFile,
}
