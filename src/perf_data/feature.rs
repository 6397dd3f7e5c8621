//! What a recording says about itself: the feature sections of a file, the HEADER_FEATURE records of a stream.
//!
//! Those that matter to a profile are read, the others passed over. Source:
//! `tools/perf/Documentation/perf.data-file-format.txt`.

use bstr::BString;

use super::bytes::{Cursor, Endian};
use super::describe;
use super::event::Events;
use super::head::{Head, misc};
use super::number;

/// What was told about the machine and the recorder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The machine's name.
    pub hostname: Option<BString>,
    /// The kernel's release: `6.1.0-13-amd64`.
    pub os_release: Option<BString>,
    /// The recorder's version.
    pub version: Option<BString>,
    /// The architecture as `uname -m` has it: `x86_64`, `aarch64`.
    pub arch: Option<BString>,
    /// The processor's name.
    pub cpu: Option<BString>,
    /// How many CPUs were online.
    pub cpus: Option<u32>,
    /// The recorder's command line.
    pub command: Vec<BString>,
    /// The build ids of the modules that were hit.
    pub build_ids: Vec<BuildId>,
    /// The times of the first and the last sample, in nanoseconds.
    pub sample_time: Option<(u64, u64)>,
    /// What times of the recording are in the world.
    pub clock: Option<Clock>,
    /// There is an instruction trace (Intel PT, Arm CoreSight), of which only perf can make samples.
    pub traced: bool,
    /// All of it for people.
    pub(super) lines: describe::Lines,
    /// How many bytes of records a single compressed record may hold: the recorder's buffer.
    pub(super) inflated_limit: Option<u32>,
}

/// One moment on two clocks: the recording's and the world's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// In nanoseconds since 1970.
    pub wall: u64,
    /// In nanoseconds of the clock that the recording's times are of.
    pub time: u64,
}

impl Clock {
    /// When `time` of the recording was, in nanoseconds since 1970; what was before the recording
    /// was before its beginning.
    pub fn wall_at(&self, time: u64) -> u64 {
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
    /// As the comment lines of `perf script --header`, newline included.
    pub fn describe(&self) -> Vec<u8> {
        describe::text(&self.lines)
    }

    /// Reads one feature. `None` if its section ends too early; what was read until then is kept.
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
            number::VERSION => self.version = owned(&mut c)?,
            number::ARCH => self.arch = owned(&mut c)?,
            number::CPUDESC => self.cpu = owned(&mut c)?,
            number::NRCPUS => {
                let _available = c.u32()?;
                self.cpus = Some(c.u32()?);
            }
            number::CMDLINE => {
                self.command.clear();
                for _ in 0..c.u32()? {
                    self.command.push(c.string()?.into());
                }
            }
            number::EVENT_DESC => events.describe(c)?,
            number::BUILD_ID => self.build_ids(c)?,
            number::SAMPLE_TIME => self.sample_time = Some((c.u64()?, c.u64()?)),
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

    /// A HEADER_BUILD_ID record: an entry of the BUILD_ID section has the same layout.
    pub(super) fn build_id(&mut self, record: &[u8], endian: Endian) -> Option<()> {
        let head = Head::parse(record, endian)?;
        let mut c = Cursor::new(record, endian);
        c.skip(Head::SIZE as u64)?;
        let pid = c.u32()?;
        let field = c.take(24)?;
        // Ids used to be of 20 bytes always; since bit 15 exists, the byte after them has the length.
        let told = head.misc & misc::BIT_15 != 0;
        let size = if told { usize::from(*field.get(20)?).min(20) } else { 20 };
        let id = field.get(..size)?.to_vec();
        self.build_ids.push(BuildId { pid, id, path: c.text().into() });
        Some(())
    }
}
