//! User stacks out of registers and the bytes of the stack, by the unwind tables of the modules: framehop does the steps.

use std::ops::{Deref, Range};
use std::sync::Arc;

use framehop::aarch64::{CacheAarch64, PtrAuthMask, UnwindRegsAarch64, UnwinderAarch64};
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Unwinder as _};

use crate::perf_data::RawSample;
use crate::symbols::Module;

use super::address::At;

/// An architecture whose stacks can be unwound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    /// By `uname -m`; a stream does not tell, so it is this machine's.
    pub(super) fn of(arch: Option<&str>) -> Option<Machine> {
        match arch.unwrap_or(std::env::consts::ARCH) {
            "x86_64" => Some(Machine::X86_64),
            "aarch64" => Some(Machine::Aarch64),
            _ => None,
        }
    }
}

/// What unwinding starts from.
#[derive(Clone, Copy)]
pub(super) struct Registers {
    machine: Machine,
    ip: u64,
    sp: u64,
    fp: u64,
    lr: u64,
}

impl Registers {
    /// Those of `sample`, if it has them: numbers are those of `enum perf_event_x86_regs` and `perf_event_arm_regs`.
    pub(super) fn of(machine: Machine, sample: &RawSample<'_>) -> Option<Registers> {
        const ABI_64: u64 = 2;
        let regs = sample.regs_user.filter(|regs| regs.abi == ABI_64)?;
        let (ip, sp, fp, lr) = match machine {
            Machine::X86_64 => (8, 7, 6, None),
            Machine::Aarch64 => (32, 31, 29, Some(30)),
        };
        let lr = lr.and_then(|lr| regs.get(lr)).unwrap_or(0);
        Some(Registers { machine, ip: regs.get(ip)?, sp: regs.get(sp)?, fp: regs.get(fp)?, lr })
    }
}

/// Unwinds the stacks of one process.
#[derive(Default)]
pub(super) struct Unwinder {
    x86_64: UnwinderX86_64<Part>,
    aarch64: UnwinderAarch64<Part>,
    caches: Caches,
}

#[derive(Default)]
struct Caches {
    x86_64: CacheX86_64,
    aarch64: CacheAarch64,
}

/// Deeper stacks are endless recursion, or an endless loop in broken tables.
const DEEPEST: usize = 100_000;

impl Unwinder {
    /// Adds what is mapped at `range` and lies `bias` from its own address space.
    pub(super) fn add(&mut self, file: &Arc<Module>, range: Range<u64>, bias: u64) {
        let sections = || {
            let section = |name: &[u8]| {
                let (address, bytes) = file.section(name)?;
                let end = address + bytes.len() as u64;
                Some((address..end, Part { file: Some(file.clone()), bytes }))
            };
            let (eh_frame_svma, eh_frame) = section(b".eh_frame").unzip();
            let (eh_frame_hdr_svma, eh_frame_hdr) = section(b".eh_frame_hdr").unzip();
            let (text_svma, text) = section(b".text").unzip();
            let got_svma = section(b".got").map(|(range, _)| range);
            ExplicitModuleSectionInfo {
                base_svma: 0,
                text_svma,
                text,
                got_svma,
                eh_frame_svma,
                eh_frame,
                eh_frame_hdr_svma,
                eh_frame_hdr,
                ..Default::default()
            }
        };
        let name = || file.path().display().to_string();
        self.x86_64.add_module(framehop::Module::new(name(), range.clone(), bias, sections()));
        self.aarch64.add_module(framehop::Module::new(name(), range, bias, sections()));
    }

    /// Appends the frames from `registers` to the root; false if the root was not reached.
    pub(super) fn unwind(
        &mut self,
        registers: &Registers,
        stack: &[u8],
        frames: &mut Vec<At>,
    ) -> bool {
        let Registers { machine, ip, sp, fp, lr } = *registers;
        let mut read = |address: u64| {
            let at = usize::try_from(address.checked_sub(sp).ok_or(())?).map_err(|_| ())?;
            stack
                .get(at..)
                .and_then(|rest| rest.first_chunk())
                .map(|word| u64::from_le_bytes(*word))
                .ok_or(())
        };
        let mut push = |frame: FrameAddress| {
            frames.push(match frame {
                FrameAddress::InstructionPointer(ip) => At::exact(ip),
                // As perf prints them: the call, not what follows it.
                FrameAddress::ReturnAddress(address) => At::exact(address.get() - 1),
            });
        };
        match machine {
            Machine::X86_64 => {
                let regs = UnwindRegsX86_64::new(ip, sp, fp);
                let mut steps =
                    self.x86_64.iter_frames(ip, regs, &mut self.caches.x86_64, &mut read);
                run(|| steps.next(), &mut push)
            }
            Machine::Aarch64 => {
                let regs =
                    UnwindRegsAarch64::new_with_ptr_auth_mask(PtrAuthMask::new_24_40(), lr, sp, fp);
                let mut steps =
                    self.aarch64.iter_frames(ip, regs, &mut self.caches.aarch64, &mut read);
                run(|| steps.next(), &mut push)
            }
        }
    }
}

fn run(
    mut step: impl FnMut() -> Result<Option<FrameAddress>, framehop::Error>,
    push: &mut impl FnMut(FrameAddress),
) -> bool {
    for _ in 0..DEEPEST {
        match step() {
            Ok(Some(frame)) => push(frame),
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
    false
}

/// A section of a module, where it is mapped; by default none.
#[derive(Default)]
struct Part {
    file: Option<Arc<Module>>,
    bytes: Range<usize>,
}

impl Deref for Part {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.file.as_ref().and_then(|file| file.bytes().get(self.bytes.clone())).unwrap_or_default()
    }
}
