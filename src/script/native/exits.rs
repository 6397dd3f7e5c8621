//! How x86-64 code that no table describes is left: what its own instructions do to the stack until it returns.
//!
//! musl, and the hand-written assembler of codecs and of cryptography, have neither call frame information nor frame pointers. But what a
//! function did to the stack it undoes before it returns: read on from where a thread was to a `ret`, and the return address lies
//! that far away; what is popped on the way are the caller's registers. Of a branch both ways are read, calls come back, jumps elsewhere
//! are followed, which a last call that jumps to another function is as well.
//!
//! A call that never comes back leads into code of something else. So there may be several exits, and one is believed only if a return
//! address is where it says.

use std::collections::HashSet;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register,
};

use crate::symbols::Module;

/// So many instructions are read for one address. Functions of more before their first exit are rare.
const MOST_STEPS: usize = 4096;
/// So many are enough: they are one and the same, but behind calls that never come back.
const MOST_EXITS: usize = 4;
/// Those that a caller's values are kept in, and a function that uses them restores: the psABI, "Registers and the Stack Frame".
const KEPT: [Register; 6] =
    [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];

/// A word of the stack, as far from what a register held at the address that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relative {
    /// The stack pointer, or the frame pointer.
    pub(super) base: gimli::Register,
    pub(super) offset: i64,
}

/// A way out of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    /// Where the caller's stack ends, behind the return address: what call frame information calls the CFA.
    pub(super) cfa: Relative,
    /// The registers that are restored, and from where, counted from the CFA.
    pub(super) saved: Vec<(gimli::Register, i64)>,
}

/// What is known where an instruction is read.
#[derive(Clone)]
struct State {
    ip: u64,
    /// Where the stack pointer points; `None` if it was aligned or loaded.
    sp: Option<Relative>,
    /// The frame pointer is what it was.
    has_frame: bool,
    saved: [Option<Relative>; KEPT.len()],
}

const SP: gimli::Register = gimli::X86_64::RSP;
const FP: gimli::Register = gimli::X86_64::RBP;

/// The exits of the function at `address`, in the order in which they are found.
pub(super) fn exits(module: &Module, address: u64) -> Vec<Exit> {
    read(|address| module.code_at(address), address)
}

/// The same, given the bytes from an address on.
fn read<'a>(code_at: impl Fn(u64) -> Option<&'a [u8]>, address: u64) -> Vec<Exit> {
    let start = Relative { base: SP, offset: 0 };
    let mut waiting =
        vec![State { ip: address, sp: Some(start), has_frame: true, saved: Default::default() }];
    let mut seen = HashSet::new();
    let mut exits = Exits::default();
    let mut instruction = Instruction::default();
    while let Some(mut state) = waiting.pop() {
        while let Some(code) = code_at(state.ip) {
            if seen.len() >= MOST_STEPS || exits.sure.len() >= MOST_EXITS {
                return exits.all();
            }
            if !seen.insert(state.ip) {
                break;
            }
            Decoder::with_ip(64, code, state.ip, DecoderOptions::NONE).decode_out(&mut instruction);
            match instruction.flow_control() {
                FlowControl::UnconditionalBranch => {
                    state.ip = instruction.near_branch_target();
                    continue;
                }
                FlowControl::ConditionalBranch => {
                    waiting.push(State { ip: instruction.near_branch_target(), ..state.clone() });
                }
                FlowControl::Return => {
                    let is_near = matches!(instruction.code(), Code::Retnq | Code::Retnq_imm16);
                    exits.sure.extend(state.exit().filter(|_| is_near));
                    break;
                }
                FlowControl::IndirectBranch => {
                    exits.jumps.extend(state.exit());
                    break;
                }
                // A system call is one as well; `hlt` is nothing like it.
                FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall
                    if instruction.mnemonic() != Mnemonic::Hlt => {}
                // A trap, what is no instruction.
                _ => break,
            }
            state.pass(&instruction);
            state.ip = instruction.next_ip();
        }
    }
    exits.all()
}

/// Exits as they are found.
#[derive(Default)]
struct Exits {
    /// Where it returns.
    sure: Vec<Exit>,
    /// Where it jumps to what a register says: to another function's start, or by a table to somewhere in its own midst.
    jumps: Vec<Exit>,
}

impl Exits {
    /// Each once, the better ones first.
    fn all(self) -> Vec<Exit> {
        let mut all: Vec<Exit> = Vec::new();
        for exit in self.sure.into_iter().chain(self.jumps) {
            if all.len() < MOST_EXITS && !all.contains(&exit) {
                all.push(exit);
            }
        }
        all
    }
}

impl State {
    /// Goes on behind an instruction that does not jump, or comes back.
    fn pass(&mut self, instruction: &Instruction) {
        let frame = Relative { base: FP, offset: 0 };
        let target = match instruction.op0_kind() {
            OpKind::Register => instruction.op0_register(),
            _ => Register::None,
        };
        match (instruction.mnemonic(), target) {
            // What it pushes is gone when it comes back. The others only look at a register.
            (Mnemonic::Call | Mnemonic::Cmp | Mnemonic::Test, _) => {}
            (Mnemonic::Pop, Register::RSP) => self.sp = None,
            (Mnemonic::Pop, _) => {
                self.restore(target, self.sp);
                self.move_sp(instruction.stack_pointer_increment().into());
            }
            (Mnemonic::Leave, _) => {
                self.sp = self.has_frame.then_some(frame);
                self.restore(Register::RBP, self.sp);
                self.move_sp(8);
            }
            (Mnemonic::Add, Register::RSP) => self.add(instruction, 1),
            (Mnemonic::Sub, Register::RSP) => self.add(instruction, -1),
            (Mnemonic::Lea, Register::RSP) => self.sp = self.memory(instruction),
            (Mnemonic::Mov, Register::RSP) => {
                let is_frame = instruction.op1_kind() == OpKind::Register
                    && instruction.op1_register() == Register::RBP;
                self.sp = (is_frame && self.has_frame).then_some(frame);
            }
            (Mnemonic::Mov, kept) if KEPT.contains(&kept) => {
                let is_loaded = instruction.op1_kind() == OpKind::Memory;
                self.restore(kept, self.memory(instruction).filter(|_| is_loaded));
            }
            // They only push.
            (_, Register::None) | (Mnemonic::Push, _) => {
                self.move_sp(instruction.stack_pointer_increment().into());
            }
            (_, other) => match other.full_register() {
                Register::RSP => self.sp = None,
                Register::RBP => self.restore(Register::RBP, None),
                _ => {}
            },
        }
    }

    /// `register` was loaded from `place`, or changed otherwise.
    fn restore(&mut self, register: Register, place: Option<Relative>) {
        if let Some(at) = KEPT.iter().position(|&kept| kept == register) {
            self.saved[at] = place;
        }
        self.has_frame &= register != Register::RBP;
    }

    fn move_sp(&mut self, by: i64) {
        self.sp = self.sp.map(|sp| Relative { offset: sp.offset.wrapping_add(by), ..sp });
    }

    fn add(&mut self, instruction: &Instruction, sign: i64) {
        // Not by a register.
        match instruction.try_immediate(1) {
            Ok(by) => self.move_sp((by as i64).wrapping_mul(sign)),
            Err(_) => self.sp = None,
        }
    }

    /// The word that an operand `[rsp + 8]` or `[rbp - 8]` names.
    fn memory(&self, instruction: &Instruction) -> Option<Relative> {
        let base = match instruction.memory_base() {
            Register::RSP => self.sp?,
            Register::RBP if self.has_frame => Relative { base: FP, offset: 0 },
            _ => return None,
        };
        let displacement = instruction.memory_displacement64() as i64;
        let is_fixed = instruction.memory_index() == Register::None;
        is_fixed.then_some(Relative { offset: base.offset.wrapping_add(displacement), ..base })
    }

    /// What leaving here means.
    fn exit(&self) -> Option<Exit> {
        let sp = self.sp?;
        let cfa = Relative { offset: sp.offset.wrapping_add(8), ..sp };
        let saved = KEPT.iter().zip(self.saved).filter_map(|(&register, place)| {
            let place = place.filter(|place| place.base == cfa.base)?;
            Some((dwarf(register), place.offset.wrapping_sub(cfa.offset)))
        });
        Some(Exit { cfa, saved: saved.collect() })
    }
}

/// The number that DWARF gives to one of [`KEPT`].
fn dwarf(register: Register) -> gimli::Register {
    match register {
        Register::RBX => gimli::X86_64::RBX,
        Register::RBP => gimli::X86_64::RBP,
        Register::R12 => gimli::X86_64::R12,
        Register::R13 => gimli::X86_64::R13,
        Register::R14 => gimli::X86_64::R14,
        _ => gimli::X86_64::R15,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sp(offset: i64) -> Relative {
        Relative { base: SP, offset }
    }

    /// The exits of code that lies at 0x1000.
    fn exits_of(code: &[u8]) -> Vec<(Relative, Vec<(u16, i64)>)> {
        let at = |address: u64| code.get(address.checked_sub(0x1000)? as usize..);
        let plain = |exit: Exit| {
            (exit.cfa, exit.saved.into_iter().map(|(register, at)| (register.0, at)).collect())
        };
        read(at, 0x1000).into_iter().map(plain).collect()
    }

    #[test]
    fn what_was_done_to_the_stack_is_undone() {
        const RBX: u16 = 3;
        const RBP: u16 = 6;
        let frame = |offset| Relative { base: FP, offset };
        // add $0x18,%rsp; pop %rbx; pop %rbp; ret
        let popped = [0x48, 0x83, 0xc4, 0x18, 0x5b, 0x5d, 0xc3];
        assert_eq!(exits_of(&popped), [(sp(0x30), vec![(RBX, -24), (RBP, -16)])]);
        // mov -0x8(%rbp),%rbx; leave; ret
        let left = [0x48, 0x8b, 0x5d, 0xf8, 0xc9, 0xc3];
        assert_eq!(exits_of(&left), [(frame(16), vec![(RBX, -24), (RBP, -16)])]);
        // and $-64,%rsp; call +0; lea -0x8(%rbp),%rsp; pop %rbx; pop %rbp; ret
        let aligned =
            [0x48, 0x83, 0xe4, 0xc0, 0xe8, 0, 0, 0, 0, 0x48, 0x8d, 0x65, 0xf8, 0x5b, 0x5d, 0xc3];
        assert_eq!(exits_of(&aligned), [(frame(16), vec![(RBX, -24), (RBP, -16)])]);
        // xor %ebp,%ebp; leave; ret: where rbp points is not known.
        assert_eq!(exits_of(&[0x31, 0xed, 0xc9, 0xc3]), []);
        // add %rax,%rsp; ret
        assert_eq!(exits_of(&[0x48, 0x01, 0xc4, 0xc3]), []);
    }

    #[test]
    fn branches_are_read_both_ways_and_loops_once() {
        // dec %rdi; jnz back; jmp +1; hlt; push %rax; pop %rcx; ret
        let loops = [0x48, 0xff, 0xcf, 0x75, 0xfb, 0xeb, 0x01, 0xf4, 0x50, 0x59, 0xc3];
        assert_eq!(exits_of(&loops), [(sp(8), vec![])]);
        // je +1; ret; pop %rax; ret: only one of them can be right.
        assert_eq!(exits_of(&[0x74, 0x01, 0xc3, 0x58, 0xc3]), [(sp(8), vec![]), (sp(16), vec![])]);
        // jmp *%rdx is either; what returns comes first.
        let either = [0x74, 0x02, 0xff, 0xe2, 0x58, 0xc3];
        assert_eq!(exits_of(&either), [(sp(16), vec![]), (sp(8), vec![])]);
        // No instruction, a trap, the end of the code, a jump that leads nowhere.
        for code in [&[0x06][..], &[0x0f, 0x0b], &[0x48], &[0xeb, 0x70], &[0xeb, 0xfe]] {
            assert_eq!(exits_of(code), [], "{code:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(code in prop::collection::vec(any::<u8>(), 0..600), at in 0u64..600) {
            let bytes = |address: u64| code.get(usize::try_from(address.checked_sub(0x1000)?).ok()?..);
            prop_assert!(read(bytes, 0x1000 + at).len() <= MOST_EXITS);
        }
    }

    /// Held against code that tables do describe. What differs is mostly behind a call that never comes back.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn code_tells_what_its_tables_tell() {
        use std::sync::Arc;

        use bstr::ByteSlice;
        use gimli::{CfaRule, RegisterRule};

        use crate::script::native::cfi::Cfi;

        const MOST: u32 = 10_000;
        let maps = std::fs::read("/proc/self/maps").unwrap();
        let libc = maps.fields().find(|field| field.contains_str("libc.so")).unwrap();
        for path in [libc.to_path().unwrap().to_owned(), std::env::current_exe().unwrap()] {
            let module = Arc::new(Module::open(&path).unwrap());
            let mut cfi = Cfi::new(&module);
            let code = module.segments().iter().filter(|segment| segment.executable);
            let code = code.max_by_key(|segment| segment.file_size).unwrap();
            let bytes = module.code_at(code.address).unwrap();
            let all = Decoder::with_ip(64, bytes, code.address, DecoderOptions::NONE);
            let is_call = |instruction: &Instruction| instruction.mnemonic() == Mnemonic::Call;
            let (mut found, mut other, mut elsewhere) = (0, 0, 0);
            for address in all.into_iter().filter(is_call).map(|call| call.next_ip()) {
                let Some(row) = cfi.row(address).map(|row| cfi.get(row)) else { continue };
                let CfaRule::RegisterAndOffset { register, offset } = row.cfa else { continue };
                let exits = exits(&module, address);
                let Some(exit) = exits.first().filter(|exit| exit.cfa.base == register) else {
                    continue;
                };
                if exit.cfa.offset != offset {
                    other += 1;
                    continue;
                }
                found += 1;
                for (register, at) in &exit.saved {
                    let told = row.registers.iter().find(|told| told.0 == *register);
                    elsewhere +=
                        u32::from(told.is_some_and(|told| told.1 != RegisterRule::Offset(*at)));
                }
                if found == MOST {
                    break;
                }
            }
            let path = path.display();
            assert!(found > 2000 && other < found / 20, "{path}: {found}, {other} others");
            assert!(elsewhere < found / 20, "{path}: {elsewhere} of {found}");
        }
    }
}
