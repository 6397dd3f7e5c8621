//! Finds out how a function returns by reading its instructions, for x86-64 code that no table
//! describes.
//!
//! musl has neither call frame information nor frame pointers. The same holds for hand-written
//! assembler of codecs, cryptography and linear algebra, and for the code of many JITs. But a
//! function undoes its changes to the stack before it returns. So we read from the thread's
//! instruction to a `ret`: the stack pointer's movement says where the return address lies, and
//! pops restore the caller's registers. We read both sides of a branch, assume that calls return,
//! and follow jumps, because a tail call is a jump too.
//!
//! A function that aligns its stack keeps the old stack pointer in a register or in memory. So we
//! track the value of each register if it is an initial register plus an offset, or a word at such
//! an address.
//!
//! A call that never returns leads on into unrelated code. So there may be several exits, and one
//! is believed only if it leads to a return address.

use std::collections::HashSet;
use std::sync::Arc;

use gimli::Register as Number;
use hashbrown::HashMap as FastMap;
use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register,
};

use super::memory::LONGEST;
use super::value::Value;

/// The most instructions that are read for one address. The kernels of OpenBLAS have about 10,000
/// before their exit. Reading from another address of the same function stops at a known
/// instruction.
const MOST_STEPS: usize = 1 << 15;
/// The most exits. They are all the same, except behind calls that never return.
const MOST_EXITS: usize = 4;
/// The registers that a function must restore: the psABI, "Registers and the Stack Frame".
const KEPT: [Register; 6] =
    [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];
/// DWARF's numbers of the registers, in the order in which instructions number them.
const NUMBERS: [u16; 16] = [0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];

/// A way out of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    /// Where the caller's stack ends, behind the return address: the canonical frame address.
    pub(super) cfa: Value,
    /// The registers that change from the address to the exit, and their values in the caller if
    /// these are known.
    pub(super) changed: Vec<(Number, Option<Value>)>,
    /// It returns. If not, it jumps to an address in a register: to the start of another function,
    /// or through a table to another place in this one.
    pub(super) returns: bool,
}

/// Finds exits in the code of one module, or of one process.
pub(super) struct ExitFinder {
    known: FastMap<u64, Arc<[Exit]>>,
    info: InstructionInfoFactory,
}

impl Default for ExitFinder {
    fn default() -> ExitFinder {
        ExitFinder { known: FastMap::default(), info: InstructionInfoFactory::new() }
    }
}

/// The known values of the registers at an instruction.
#[derive(Clone)]
struct State {
    ip: u64,
    registers: [Option<Value>; 16],
}

impl ExitFinder {
    /// The exits of the function at `address`; those that return come first. `code_at` returns the
    /// bytes from an address on, padded with zeros.
    pub(super) fn exits(
        &mut self,
        address: u64,
        mut code_at: impl FnMut(u64) -> Option<[u8; LONGEST]>,
    ) -> Arc<[Exit]> {
        if let Some(known) = self.known.get(&address) {
            return known.clone();
        }
        let mut waiting = vec![State::at(address)];
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        while let Some(state) = waiting.pop() {
            if !self.read(state, &mut code_at, &mut seen, &mut waiting, &mut found) {
                break;
            }
        }
        let exits: Arc<[Exit]> = best(found).into();
        self.known.insert(address, exits.clone());
        exits
    }

    /// Reads to the next exit, or to an instruction that was read. False if enough is known.
    fn read(
        &mut self,
        mut state: State,
        code_at: &mut impl FnMut(u64) -> Option<[u8; LONGEST]>,
        seen: &mut HashSet<u64>,
        waiting: &mut Vec<State>,
        found: &mut Vec<Exit>,
    ) -> bool {
        let mut instruction = Instruction::default();
        while let Some(code) = code_at(state.ip) {
            let returns = found.iter().filter(|exit| exit.returns).count();
            if seen.len() >= MOST_STEPS || returns >= MOST_EXITS {
                return false;
            }
            if !seen.insert(state.ip) {
                return true;
            }
            if let Some(known) = self.known.get(&state.ip) {
                found.extend(known.iter().filter_map(|exit| state.leave_by(exit)));
                return true;
            }
            Decoder::with_ip(64, &code, state.ip, DecoderOptions::NONE)
                .decode_out(&mut instruction);
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
                    found.extend(state.exit(true).filter(|_| is_near));
                    return true;
                }
                FlowControl::IndirectBranch => {
                    found.extend(state.exit(false));
                    return true;
                }
                // System calls come back too. Nothing comes back from `hlt`.
                FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall
                    if instruction.mnemonic() != Mnemonic::Hlt => {}
                // A trap, or not an instruction.
                _ => return true,
            }
            state.pass(&instruction, &mut self.info);
            state.ip = instruction.next_ip();
        }
        true
    }
}

/// Each exit once. Those that return come first.
fn best(found: Vec<Exit>) -> Vec<Exit> {
    let mut all: Vec<Exit> = Vec::new();
    let (returns, jumps): (Vec<Exit>, Vec<Exit>) = found.into_iter().partition(|exit| exit.returns);
    for exit in returns.into_iter().chain(jumps) {
        let is_new =
            !all.iter().any(|known| known.cfa == exit.cfa && known.changed == exit.changed);
        if all.len() < MOST_EXITS && is_new {
            all.push(exit);
        }
    }
    all
}

impl State {
    fn at(ip: u64) -> State {
        State { ip, registers: NUMBERS.map(|number| Some(Value::of(Number(number)))) }
    }

    fn get(&self, register: Register) -> Option<Value> {
        self.registers[slot(register)?]
    }

    fn set(&mut self, register: Register, value: Option<Value>) {
        if let Some(slot) = slot(register) {
            self.registers[slot] = value;
        }
    }

    /// Applies an instruction that does not jump, or a call.
    fn pass(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        let operand = |at| match instruction.op_kind(at) {
            OpKind::Register => instruction.op_register(at),
            _ => Register::None,
        };
        let target = operand(0);
        let source = operand(1);
        let is_whole = target.is_gpr64();
        let stack = self.get(Register::RSP);
        match instruction.mnemonic() {
            // It pops what it pushes before it returns.
            Mnemonic::Call => {
                for at in 0..self.registers.len() {
                    let register = Register::RAX + at as u32;
                    if register != Register::RSP && !KEPT.contains(&register) {
                        self.registers[at] = None;
                    }
                }
            }
            Mnemonic::Pop if is_whole => {
                self.move_stack(8);
                self.set(target, stack.and_then(Value::word));
            }
            Mnemonic::Leave => {
                let frame = self.get(Register::RBP);
                self.set(Register::RBP, frame.and_then(Value::word));
                self.set(Register::RSP, frame.and_then(|frame| frame.plus(8)));
            }
            Mnemonic::Add if is_whole => self.add(target, instruction, 1),
            Mnemonic::Sub if is_whole => self.add(target, instruction, -1),
            Mnemonic::Lea if is_whole => self.set(target, self.memory(instruction)),
            Mnemonic::Mov if is_whole && source.is_gpr64() => self.set(target, self.get(source)),
            Mnemonic::Mov if is_whole && instruction.op1_kind() == OpKind::Memory => {
                self.set(target, self.memory(instruction).and_then(Value::word));
            }
            _ if target.is_vector_register() => {}
            _ => {
                let moves = instruction.is_stack_instruction();
                for used in info.info(instruction).used_registers() {
                    let register = used.register().full_register();
                    let reads = matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
                    let is_followed = reads || moves && register == Register::RSP;
                    if !is_followed {
                        self.set(register, None);
                    }
                }
                self.move_stack(instruction.stack_pointer_increment().into());
            }
        }
    }

    fn move_stack(&mut self, by: i64) {
        self.set(Register::RSP, self.get(Register::RSP).and_then(|stack| stack.plus(by)));
    }

    fn add(&mut self, target: Register, instruction: &Instruction, sign: i64) {
        // The value is lost if a register is added.
        let by = instruction.try_immediate(1).ok();
        let by = by.map(|by| (by as i64).wrapping_mul(sign));
        self.set(target, by.and_then(|by| self.get(target)?.plus(by)));
    }

    /// The address of an operand such as `[rsp + 8]` or `[rbp - 8]`.
    fn memory(&self, instruction: &Instruction) -> Option<Value> {
        let base = instruction.memory_base();
        let is_fixed = instruction.memory_index() == Register::None
            && instruction.segment_prefix() == Register::None
            && base.is_gpr64();
        let value = self.get(base).filter(|_| is_fixed)?;
        value.plus(instruction.memory_displacement64() as i64)
    }

    /// The exit of a function that leaves here.
    fn exit(&self, returns: bool) -> Option<Exit> {
        let cfa = self.get(Register::RSP)?.plus(8)?;
        let changed = KEPT.iter().filter_map(|&register| {
            let number = Number(NUMBERS[slot(register)?]);
            let value = self.get(register);
            (value != Some(Value::of(number))).then_some((number, value))
        });
        Some(Exit { cfa, changed: changed.collect(), returns })
    }

    /// The exit from where this path began, if an exit from here on is known.
    fn leave_by(&self, exit: &Exit) -> Option<Exit> {
        let earlier = |value: Value| {
            let at = NUMBERS.iter().position(|&number| number == value.register.0)?;
            value.after(self.registers[at]?)
        };
        let cfa = earlier(exit.cfa)?;
        let changed = KEPT.iter().filter_map(|&register| {
            let number = Number(NUMBERS[slot(register)?]);
            let changed = exit.changed.iter().find(|changed| changed.0 == number);
            let value = match changed {
                Some((_, value)) => value.and_then(earlier),
                None => self.get(register),
            };
            (value != Some(Value::of(number))).then_some((number, value))
        });
        Some(Exit { cfa, changed: changed.collect(), returns: exit.returns })
    }
}

/// The index of a general register in [`State::registers`].
fn slot(register: Register) -> Option<usize> {
    let full = register.full_register();
    full.is_gpr64().then(|| full.number())
}

#[cfg(test)]
mod tests {
    use super::super::memory::padded;
    use super::*;
    use proptest::prelude::*;

    const SP: Number = gimli::X86_64::RSP;

    /// The exits of code at 0x1000: the CFA, and the saved registers with their distance from it.
    fn exits_of(code: &[u8]) -> Vec<(Value, Vec<(u16, i64)>)> {
        let exits = ExitFinder::default().exits(0x1000, |address| code_at(code, address));
        exits.iter().map(|exit| (exit.cfa, saved(exit))).collect()
    }

    fn code_at(code: &[u8], address: u64) -> Option<[u8; LONGEST]> {
        padded(code.get(usize::try_from(address.checked_sub(0x1000)?).ok()?..)?)
    }

    fn from(register: Number, offset: i64) -> Value {
        Value::of(register).plus(offset).unwrap()
    }

    fn sp(offset: i64) -> Value {
        from(SP, offset)
    }

    fn saved(exit: &Exit) -> Vec<(u16, i64)> {
        let place = |value: &Value| {
            (-0x100..0).find(|&at| exit.cfa.plus(at).and_then(Value::word) == Some(*value))
        };
        exit.changed
            .iter()
            .filter_map(|(number, value)| Some((number.0, place(value.as_ref()?)?)))
            .collect()
    }

    #[test]
    fn changes_to_the_stack_are_undone() {
        const RBX: u16 = 3;
        const RBP: u16 = 6;
        let frame = |offset| from(gimli::X86_64::RBP, offset);
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
        // xor %ebp,%ebp; leave; ret: rbp is not known.
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
        // jmp *%rdx may stay or leave. The exit that returns comes first.
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
            let mut finder = ExitFinder::default();
            for at in [at, at / 2, 0] {
                let exits = finder.exits(0x1000 + at, |address| code_at(&code, address));
                prop_assert!(exits.len() <= MOST_EXITS);
            }
        }
    }

    /// Compares exits with the tables of code that has them. Most differences are behind a call
    /// that never returns.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn code_tells_what_its_tables_tell() {
        use bstr::ByteSlice;

        use crate::symbols::Module;
        use crate::unwind::cfi::Cfi;
        use crate::unwind::row::{Cfa, Rule};

        const MOST: u32 = 10_000;
        let maps = std::fs::read("/proc/self/maps").unwrap();
        let libc = maps.fields().find(|field| field.contains_str("libc.so")).unwrap();
        for path in [libc.to_path().unwrap().to_owned(), std::env::current_exe().unwrap()] {
            let module = Arc::new(Module::open(&path).unwrap());
            let mut cfi = Cfi::new(&module, &crate::unwind::cfi::Shared::default());
            let code = module.segments().iter().filter(|segment| segment.executable);
            let code = code.max_by_key(|segment| segment.file_size).unwrap();
            let bytes = module.code_at(code.address).unwrap();
            let all = Decoder::with_ip(64, bytes, code.address, DecoderOptions::NONE);
            let is_call = |instruction: &Instruction| instruction.mnemonic() == Mnemonic::Call;
            let at = |address: u64| (address.wrapping_sub(code.address) as usize).min(bytes.len());
            let mut finder = ExitFinder::default();
            let mut found = 0;
            let mut other = 0;
            let mut elsewhere = 0;
            for address in all.into_iter().filter(is_call).map(|call| call.next_ip()) {
                let Some(row) = cfi.row(address).map(|row| cfi.get(row)) else { continue };
                let Cfa::From(register, offset) = row.cfa else { continue };
                let exits = finder.exits(address, |address| code_at(&bytes[at(address)..], 0x1000));
                let Some(exit) = exits.first().filter(|exit| exit.cfa.register == register) else {
                    continue;
                };
                if exit.cfa != from(register, offset) {
                    other += 1;
                    continue;
                }
                found += 1;
                for (register, at) in saved(exit) {
                    let rule = row.registers.iter().find(|(number, _)| number.0 == register);
                    let is_there = |rule: &Rule| matches!(rule, Rule::Saved(there) if *there == at);
                    elsewhere += u32::from(rule.is_some_and(|(_, rule)| !is_there(rule)));
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
