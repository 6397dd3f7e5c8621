//! Compares the machine of a recording with this one, and says which files run there.

use bstr::{BString, ByteSlice};
use object::elf;

/// The machine of a recording, as the recording describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The machine's name.
    pub hostname: Option<BString>,
    /// The kernel's release: `6.1.0-13-amd64`.
    pub release: Option<BString>,
    /// The architecture as `uname -m` prints it.
    pub arch: Option<BString>,
}

impl Origin {
    /// This machine.
    pub(crate) fn here() -> Origin {
        let read = |what: &str| {
            let text = std::fs::read(format!("/proc/sys/kernel/{what}")).ok()?;
            Some(BString::from(text.trim_end()))
        };
        Origin {
            hostname: read("hostname"),
            release: read("osrelease"),
            arch: Some(std::env::consts::ARCH.into()),
        }
    }

    /// Whether the recording says that it was made on another machine.
    pub(crate) fn is_elsewhere(&self) -> bool {
        let here = Origin::here();
        self.hostname.is_some() && self.hostname != here.hostname || self.has_other_arch(&here)
    }

    /// Whether the recording says that it was made on this machine, with a kernel of the release
    /// that runs here now.
    pub(crate) fn has_kernel_of_here(&self) -> bool {
        let here = Origin::here();
        let is_same = |its: &Option<BString>, ours| its.is_some() && its == ours;
        is_same(&self.hostname, &here.hostname)
            && is_same(&self.release, &here.release)
            && !self.has_other_arch(&here)
    }

    /// Whether the recording says that its kernel is not the one that runs here.
    pub(super) fn has_other_kernel(&self) -> bool {
        let here = Origin::here();
        self.release.is_some() && self.release != here.release || self.has_other_arch(&here)
    }

    fn has_other_arch(&self, here: &Origin) -> bool {
        let machines =
            |origin: &Origin| origin.arch.as_ref().map_or(&[][..], |arch| machines(arch));
        !machines(self).is_empty() && machines(self) != machines(here)
    }

    /// Whether files with this `e_machine` in their ELF header run there.
    pub(super) fn runs(&self, machine: u16) -> bool {
        let machines = self.arch.as_ref().map_or(&[][..], |arch| machines(arch));
        machines.is_empty() || machines.contains(&machine)
    }
}

/// The `e_machine`s that an architecture runs; none if it is unknown.
fn machines(arch: &[u8]) -> &'static [u16] {
    const X86: &[u16] = &[elf::EM_X86_64.0, elf::EM_386.0];
    const ARM: &[u16] = &[elf::EM_AARCH64.0, elf::EM_ARM.0];
    match arch {
        b"x86_64" | b"i386" | b"i486" | b"i586" | b"i686" | b"x86" => X86,
        b"aarch64" | b"arm64" => ARM,
        _ if arch.starts_with(b"arm") => ARM,
        b"riscv64" | b"riscv32" => &[elf::EM_RISCV.0],
        b"s390x" | b"s390" => &[elf::EM_S390.0],
        b"loongarch64" => &[elf::EM_LOONGARCH.0],
        _ if arch.starts_with(b"ppc") => &[elf::EM_PPC64.0, elf::EM_PPC.0],
        _ if arch.starts_with(b"mips") => &[elf::EM_MIPS.0],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_run_their_own_files() {
        let of = |arch: &str| Origin { arch: Some(arch.into()), ..Origin::default() };
        assert!(of("x86_64").runs(elf::EM_386.0) && of("i686").runs(elf::EM_X86_64.0));
        assert!(of("armv7l").runs(elf::EM_ARM.0) && !of("armv7l").runs(elf::EM_X86_64.0));
        assert!(!of("aarch64").runs(elf::EM_X86_64.0));
        assert!(of("vax").runs(elf::EM_X86_64.0) && Origin::default().runs(1), "not known");
    }

    #[test]
    fn this_machine_is_here() {
        let here = Origin::here();
        assert!(!here.is_elsewhere());
        assert_eq!(here.has_kernel_of_here(), here.hostname.is_some() && here.release.is_some());
        assert!(!Origin::default().is_elsewhere() && !Origin::default().has_kernel_of_here());
        let other = Origin { hostname: Some("no such machine".into()), ..here.clone() };
        assert!(other.is_elsewhere() && !other.has_kernel_of_here());
        assert!(!here.has_other_kernel() && !Origin::default().has_other_kernel());
        let old = Origin { release: Some("2.6.32".into()), ..here };
        assert!(old.has_other_kernel());
        assert!(!old.is_elsewhere() && !old.has_kernel_of_here());
    }
}
