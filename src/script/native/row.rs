//! How the registers of a caller are found from those of the function that it called.
//!
//! A row is what call frame information says of one address, or what the code itself says: see [`exits`](super::exits). It
//! stands alone: the expressions that it needs are copied out of their section.

use gimli::{
    CfaRule, Encoding, EndianSlice, Evaluation, EvaluationResult, Expression, Format, LittleEndian,
    Location, Register, RegisterRule, UnwindExpression, Value as Operand, X86_64,
};

use super::exits::Exit;
use super::memory::Stack;
use super::registers::Registers;

/// How the registers of the caller are found.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Where the caller's stack ends.
    pub(super) cfa: Cfa,
    /// The registers that the tables mention.
    pub(super) registers: Box<[(Register, Rule)]>,
    /// The column of the return address.
    pub(super) return_address: Register,
    /// The kernel called this function, as it does to return from a signal's handler: the caller was interrupted, it did not
    /// call.
    pub(super) is_signal: bool,
    /// Its function returns behind it. If not, it jumps elsewhere.
    pub(super) returns: bool,
    /// The function loads another stack pointer, which its tables do not know of.
    pub(super) switches: bool,
    pub(super) encoding: Encoding,
}

/// How the end of the caller's stack is found: what DWARF calls the canonical frame address.
#[derive(Clone, Debug)]
pub(super) enum Cfa {
    From(Register, i64),
    Expression(Box<[u8]>),
    Value(Value),
}

/// How one register is found.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// It was not changed.
    Same,
    /// The tables say that it is lost.
    Undefined,
    /// It lies so far from the canonical frame address.
    Saved(i64),
    /// It is the canonical frame address and so much.
    Offset(i64),
    /// Another register holds it.
    Register(Register),
    /// It lies where an expression says.
    SavedAt(Box<[u8]>),
    /// An expression computes it.
    Expression(Box<[u8]>),
    Constant(u64),
    Value(Value),
}

/// What a register holds, plus an offset; or the word that lies there, plus another offset; and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Value {
    pub(super) register: Register,
    /// How many of `offsets` lead to a word. One more offset is added at the end.
    words: u8,
    offsets: [i32; Value::DEEPEST + 1],
}

impl Value {
    /// Code that saved its stack pointer in memory loads one word to find it, and another to find what it saved.
    const DEEPEST: usize = 2;

    /// What `register` holds.
    pub(super) fn of(register: Register) -> Value {
        Value { register, words: 0, offsets: [0; Value::DEEPEST + 1] }
    }

    /// `by` more; `None` if that is too far.
    pub(super) fn plus(mut self, by: i64) -> Option<Value> {
        let last = &mut self.offsets[usize::from(self.words)];
        *last = i32::try_from(i64::from(*last).checked_add(by)?).ok()?;
        Some(self)
    }

    /// The word that lies there; `None` if it takes too many words to find it.
    pub(super) fn word(mut self) -> Option<Value> {
        self.words += 1;
        (usize::from(self.words) <= Value::DEEPEST).then_some(self)
    }

    /// The same, where `base` says what the register held earlier.
    pub(super) fn after(self, base: Value) -> Option<Value> {
        let mut value = base.plus(self.offsets[0].into())?;
        for &offset in &self.offsets[1..=usize::from(self.words)] {
            value = value.word()?.plus(offset.into())?;
        }
        Some(value)
    }

    /// Where the word lies that this is, and what is added to it; `None` if no word has to be read.
    fn place(self) -> Option<Value> {
        let at = usize::from(self.words).checked_sub(1)?;
        let is_plain = self.offsets[usize::from(self.words)] == 0;
        let mut offsets = self.offsets;
        offsets[at + 1] = 0;
        is_plain.then_some(Value { words: at as u8, offsets, ..self })
    }

    fn evaluate(self, registers: &Registers, word: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut value = registers.get(self.register)?;
        for (at, &offset) in self.offsets[..=usize::from(self.words)].iter().enumerate() {
            value = if at == 0 { value } else { word(value)? };
            value = value.wrapping_add_signed(offset.into());
        }
        Some(value)
    }
}

/// Where following a row led.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Caller,
    /// There is no caller: the tables say that a thread or the program began here.
    Root,
    /// There is no caller: its address is zero.
    Zero,
    /// There is no caller on this stack: a coroutine began here, or Go changed to this stack.
    Began,
    /// There is a caller, but it was not found. Mostly the copy of the stack ends before.
    Lost,
}

impl Row {
    /// The row that a table says.
    ///
    /// `expression` reads one out of the table's section.
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
        let registers = row.registers().map(|(register, told)| Some((*register, rule(told)?)));
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

    /// What the table of a function that is left like this would say.
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

    /// What `code`, an expression of this row, makes of the registers, the stack, and the value that it starts with.
    fn evaluate(
        &self,
        code: &[u8],
        initial: Option<u64>,
        registers: &Registers,
        word: impl Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        // A loop in a hostile file.
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
    /// Makes these registers those of the caller, by `row`. They may have been recorded at any instruction, if they are
    /// `exact`, else they are those behind a call.
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
        let mut tells_return = false;
        for (register, rule) in &row.registers {
            // Epilogues do not say that a register was restored, though its place is free, and not copied, by then.
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
                tells_return = !matches!(rule, Rule::Undefined);
            }
            self.set(*register, value);
        }
        // On AArch64 a leaf's return address is still in its register, and nothing is said of it.
        if !tells_return && (!exact || row.return_address == self.machine.ip()) {
            return Step::Root;
        }
        let moves = self.sp() > here.sp() || exact || row.is_signal;
        match self.get(row.return_address) {
            Some(address) if moves => self.arrive(here, address),
            _ => Step::Lost,
        }
    }

    /// The caller of code that keeps frame pointers: `[fp]` is the caller's, its return address lies behind.
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

    /// The caller was found to be at `address`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_from_registers_and_words() {
        let mut registers = Registers::new(crate::script::native::registers::Machine::X86_64);
        registers.set(X86_64::RBX, Some(0x100));
        // Each word holds its own place and 1.
        let word = |place: u64| Some(place + 1);
        let saved = Value::of(X86_64::RBX).plus(8).and_then(Value::word).unwrap();
        assert_eq!(saved.evaluate(&registers, word), Some(0x109));
        assert_eq!(saved.place(), Value::of(X86_64::RBX).plus(8));
        let behind = saved.plus(16).and_then(Value::word).unwrap();
        assert_eq!(behind.evaluate(&registers, word), Some(0x11a));
        assert_eq!(behind.word(), None, "too deep");
        // rbx was 0x10 less where the value was told.
        let moved = saved.after(Value::of(X86_64::RBX).plus(-16).unwrap()).unwrap();
        assert_eq!(moved.evaluate(&registers, word), Some(0xf9));
        assert_eq!(Value::of(X86_64::R12).evaluate(&registers, word), None);
        assert_eq!(Value::of(X86_64::RBX).plus(1 << 40), None);
    }
}
