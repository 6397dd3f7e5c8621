//! Computes the registers of a caller from those of the function that it called.
//!
//! A row holds the rules for one address, from call frame information or from the code itself
//! (`exits.rs`). It owns the expressions that it needs.

use gimli::{
    CfaRule, Encoding, EndianSlice, Evaluation, EvaluationResult, Expression, Format, LittleEndian,
    Location, Register, RegisterRule, UnwindExpression, Value as Operand, X86_64,
};

use super::exits::Exit;
use super::memory::Stack;
use super::registers::Registers;
use super::value::Value;

/// How to find the registers of the caller.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Where the caller's stack ends.
    pub(super) cfa: Cfa,
    /// The registers that the tables mention.
    pub(super) registers: Box<[(Register, Rule)]>,
    pub(super) return_address: Register,
    /// The function returns from a signal's handler, so its caller was interrupted and did not
    /// call.
    pub(super) is_signal: bool,
    /// The function returns. If not, it jumps elsewhere.
    pub(super) returns: bool,
    /// The function loads another stack pointer, which its tables do not describe.
    pub(super) switches: bool,
    pub(super) encoding: Encoding,
}

/// How to find the end of the caller's stack, DWARF's canonical frame address.
#[derive(Clone, Debug)]
pub(super) enum Cfa {
    From(Register, i64),
    Expression(Box<[u8]>),
    Value(Value),
}

/// How to find one register.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// It was not changed.
    Same,
    /// The tables say that it is lost.
    Undefined,
    /// It is in memory, at this offset from the canonical frame address.
    Saved(i64),
    /// It is the canonical frame address plus this offset.
    Offset(i64),
    /// Another register holds it.
    Register(Register),
    /// It is in memory, at the address that an expression computes.
    SavedAt(Box<[u8]>),
    /// An expression computes it.
    Expression(Box<[u8]>),
    Constant(u64),
    Value(Value),
}

/// The result of following a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The caller was found.
    Caller,
    /// There is no caller: the tables say that a thread or the program began here.
    Root,
    /// There is no caller: its address is zero.
    Zero,
    /// There is no caller on this stack: a coroutine began here, or Go switched to this stack.
    Began,
    /// There is a caller, but it was not found. In most cases the copy of the stack ends before it.
    Lost,
}

impl Row {
    /// Converts a row of a table. `expression` copies an expression out of the table's section.
    pub(super) fn of<'a>(
        row: &gimli::UnwindTableRow<usize>,
        cie: &gimli::CommonInformationEntry<EndianSlice<'a, LittleEndian>>,
        is_signal: bool,
        expression: impl Fn(&UnwindExpression<usize>) -> Option<Box<[u8]>>,
    ) -> Option<Row> {
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => Cfa::From(*register, *offset),
            CfaRule::Expression(code) => Cfa::Expression(expression(code)?),
        };
        let rule = |rule: &RegisterRule<usize>| {
            Some(match rule {
                RegisterRule::SameValue => Rule::Same,
                RegisterRule::Offset(offset) => Rule::Saved(*offset),
                RegisterRule::ValOffset(offset) => Rule::Offset(*offset),
                RegisterRule::Register(other) => Rule::Register(*other),
                RegisterRule::Expression(code) => Rule::SavedAt(expression(code)?),
                RegisterRule::ValExpression(code) => Rule::Expression(expression(code)?),
                RegisterRule::Constant(value) => Rule::Constant(*value),
                _ => Rule::Undefined,
            })
        };
        let registers = row.registers().map(|(register, old)| Some((*register, rule(old)?)));
        Some(Row {
            cfa,
            registers: registers.collect::<Option<_>>()?,
            return_address: cie.return_address_register(),
            is_signal,
            returns: true,
            switches: false,
            encoding: cie.encoding(),
        })
    }

    /// The row that a table would have for a function with this exit.
    pub(super) fn of_exit(exit: &Exit) -> Row {
        let return_address = exit.cfa.plus(-8).and_then(Value::word);
        let changed = exit.changed.iter().copied().chain([(X86_64::RA, return_address)]);
        let rule = |value: Option<Value>| value.map_or(Rule::Undefined, Rule::Value);
        Row {
            cfa: Cfa::Value(exit.cfa),
            registers: changed.map(|(register, value)| (register, rule(value))).collect(),
            return_address: X86_64::RA,
            is_signal: false,
            returns: exit.returns,
            switches: false,
            encoding: Encoding { format: Format::Dwarf32, version: 4, address_size: 8 },
        }
    }

    /// The value of `code`, an expression of this row, which starts with the value `initial`.
    fn evaluate(
        &self,
        code: &[u8],
        initial: Option<u64>,
        registers: &Registers,
        word: impl Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        // A hostile file may hold a loop.
        const MOST_STEPS: u32 = 10_000;
        let code = Expression(EndianSlice::new(code, LittleEndian));
        let mut evaluation: Evaluation<EndianSlice<'_, LittleEndian>> =
            code.evaluation(self.encoding);
        evaluation.set_max_iterations(MOST_STEPS);
        if let Some(initial) = initial {
            evaluation.set_initial_value(initial);
        }
        let mut result = evaluation.evaluate().ok()?;
        loop {
            result = match result {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = Operand::Generic(registers.get(register)?);
                    evaluation.resume_with_register(value).ok()?
                }
                EvaluationResult::RequiresMemory { address, size, .. }
                    if size == self.encoding.address_size =>
                {
                    evaluation.resume_with_memory(Operand::Generic(word(address)?)).ok()?
                }
                _ => return None,
            };
        }
        match evaluation.as_result().first()?.location {
            Location::Address { address } => Some(address),
            _ => None,
        }
    }
}

impl Registers {
    /// Makes these registers those of the caller, by `row`. If they are `exact`, they may be those
    /// of any instruction; otherwise they are those after a call.
    pub(super) fn follow(
        &mut self,
        row: &Row,
        exact: bool,
        stack: Stack<'_>,
        as_perf: bool,
    ) -> Step {
        let here = *self;
        let word = |address| stack.word(address);
        let evaluate = |code: &[u8], initial| row.evaluate(code, initial, &here, word);
        let cfa = match &row.cfa {
            Cfa::From(register, offset) => {
                here.get(*register).map(|base| base.wrapping_add_signed(*offset))
            }
            Cfa::Expression(code) => evaluate(code, None),
            Cfa::Value(value) => value.evaluate(&here, word),
        };
        let Some(cfa) = cfa else { return Step::Lost };
        self.set(self.machine.sp(), Some(cfa));
        let mut has_return_address = false;
        for (register, rule) in &row.registers {
            // Tables do not describe that an epilogue has already restored a register. Its place on
            // the stack is free by then, so it was not copied.
            let or_restored = |address| {
                let is_restored = exact && address < here.sp() && !as_perf;
                word(address).or_else(|| here.get(*register).filter(|_| is_restored))
            };
            let value = match rule {
                Rule::Same => here.get(*register),
                Rule::Undefined => None,
                Rule::Saved(offset) => or_restored(cfa.wrapping_add_signed(*offset)),
                Rule::Offset(offset) => Some(cfa.wrapping_add_signed(*offset)),
                Rule::Register(other) => here.get(*other),
                Rule::SavedAt(code) => evaluate(code, Some(cfa)).and_then(word),
                Rule::Expression(code) => evaluate(code, Some(cfa)),
                Rule::Constant(value) => Some(*value),
                Rule::Value(value) => match value.place() {
                    Some(place) => place.evaluate(&here, word).and_then(or_restored),
                    None => value.evaluate(&here, word),
                },
            };
            if *register == row.return_address {
                has_return_address = !matches!(rule, Rule::Undefined);
            }
            self.set(*register, value);
        }
        // On AArch64 a leaf's return address is still in its register, without a rule.
        if !has_return_address && (!exact || row.return_address == self.machine.ip()) {
            return Step::Root;
        }
        let moves = self.sp() > here.sp() || exact || row.is_signal;
        match self.get(row.return_address) {
            Some(address) if moves => self.arrive(here, address),
            _ => Step::Lost,
        }
    }

    /// Makes these registers those of the caller, in code that keeps frame pointers: `[fp]` holds
    /// the caller's frame pointer, and the next word the return address.
    pub(super) fn follow_frame_pointer(&mut self, stack: Stack<'_>) -> Step {
        let here = *self;
        let Some(fp) = here.get(self.machine.fp()) else { return Step::Lost };
        if fp == 0 {
            return Step::Zero;
        }
        let size = self.machine.word();
        let behind = fp.wrapping_add(size);
        let (Some(next), Some(address)) = (stack.copied(fp), stack.copied(behind)) else {
            return Step::Lost;
        };
        if behind < here.sp() {
            return Step::Lost;
        }
        self.set(self.machine.fp(), Some(next));
        self.set(self.machine.sp(), Some(behind.wrapping_add(size)));
        self.arrive(here, address)
    }

    /// Sets the caller's address, and checks that it can be one.
    pub(super) fn arrive(&mut self, from: Registers, address: u64) -> Step {
        // The first page is never mapped, and the upper half is the kernel's.
        const CODE: std::ops::Range<u64> = 0x1000..1 << 56;
        let address = self.machine.plain(address);
        self.set(self.machine.ip(), Some(address));
        match address {
            0 => Step::Zero,
            address if !CODE.contains(&address) => Step::Lost,
            address if address == from.ip() && self.sp() == from.sp() => Step::Lost,
            _ => Step::Caller,
        }
    }
}
