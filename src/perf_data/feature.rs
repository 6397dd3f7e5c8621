//! What a recording says about itself, in the feature sections of a file or the HEADER_FEATURE
//! records of a stream.
//!
//! Features that do not matter to a profile are skipped. Source:
//! `tools/perf/Documentation/perf.data-file-format.txt`.

use bstr::BString;

use super::bytes::{Cursor, Endian};
use super::describe;
use super::event::Events;
use super::head::{Head, misc};
use super::header::number;

/// The machine and the recorder, as the recording describes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The machine's name.
    pub hostname: Option<BString>,
    /// The kernel's release: `6.1.0-13-amd64`.
    pub os_release: Option<BString>,
    /// The architecture as `uname -m` prints it: `x86_64`, `aarch64`.
    pub arch: Option<BString>,
    /// The build ids of the modules that were hit.
    pub build_ids: Vec<BuildId>,
    /// One moment on the recording's clock and on the wall clock.
    pub clock: Option<Clock>,
    /// There is an instruction trace (Intel PT, Arm CoreSight). Only perf can make samples of it.
    pub traced: bool,
    /// Every known feature as lines for people.
    pub(super) lines: describe::Lines,
    /// How many bytes of records a single compressed record may hold: the recorder's buffer.
    pub(super) inflated_limit: Option<u32>,
}

/// One moment on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// In nanoseconds since 1970.
    pub wall: u64,
    /// In nanoseconds of the recording's clock.
    pub time: u64,
}

impl Clock {
    /// Turns `time` of the recording into nanoseconds since 1970. Time 0, which synthetic records
    /// have, becomes the moment of this clock.
    pub(crate) fn wall_at(&self, time: u64) -> u64 {
        let since = time.saturating_sub(self.time);
        if time == 0 { self.wall } else { self.wall.saturating_add(since) }
    }
}

/// Which build of a module was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildId {
    /// The process, or `u32::MAX` for all.
    pub pid: u32,
    /// The id: 20 bytes, or fewer.
    pub id: Vec<u8>,
    /// The module's path.
    pub path: BString,
}

impl Features {
    /// The comment lines of `perf script --header`.
    pub(crate) fn describe(&self) -> Vec<u8> {
        describe::text(&self.lines)
    }

    /// Reads one feature. `None` if its section ends too early; the part before that is kept.
    pub(super) fn read(
        &mut self,
        feature: u64,
        mut c: Cursor<'_>,
        events: &mut Events,
    ) -> Option<()> {
        if let Some(lines) = describe::feature(feature, c) {
            self.lines.insert(feature, lines);
        }
        let owned = |c: &mut Cursor<'_>| c.string().map(BString::from).map(Some);
        match feature {
            number::HOSTNAME => self.hostname = owned(&mut c)?,
            number::OSRELEASE => self.os_release = owned(&mut c)?,
            number::ARCH => self.arch = owned(&mut c)?,
            number::EVENT_DESC => events.describe(c)?,
            number::BUILD_ID => self.build_ids(c)?,
            number::CLOCK_DATA => {
                c.skip(2 * 4)?; // version, clock
                self.clock = Some(Clock { wall: c.u64()?, time: c.u64()? });
            }
            number::COMPRESSED => {
                c.skip(4 * 4)?; // version, type, level, ratio
                self.inflated_limit = Some(c.u32()?);
            }
            _ => {}
        }
        Some(())
    }

    fn build_ids(&mut self, mut c: Cursor<'_>) -> Option<()> {
        while !c.rest().is_empty() {
            let head = Head::parse(c.rest(), c.endian())?;
            let record = c.take(head.size.into())?;
            self.build_id(record, c.endian())?;
        }
        Some(())
    }

    /// Reads a HEADER_BUILD_ID record. An entry of the BUILD_ID section has the same layout.
    pub(super) fn build_id(&mut self, record: &[u8], endian: Endian) -> Option<()> {
        let head = Head::parse(record, endian)?;
        let mut c = Cursor::new(record, endian);
        c.skip(Head::SIZE as u64)?;
        let pid = c.u32()?;
        let field = c.take(24)?;
        // Ids always had 20 bytes before bit 15 existed. With it, the byte after them is the
        // length.
        let told = head.misc & misc::BIT_15 != 0;
        let size = if told { usize::from(*field.get(20)?).min(20) } else { 20 };
        let id = field.get(..size)?.to_vec();
        self.build_ids.push(BuildId { pid, id, path: c.text().into() });
        Some(())
    }
}
