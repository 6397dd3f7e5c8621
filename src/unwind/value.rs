//! The value of a register at one instruction, expressed by the registers at an earlier one.

use gimli::Register;

use super::registers::Registers;

/// A register plus an offset; or the word at that address plus another offset; and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Value {
    pub(super) register: Register,
    /// How many words are loaded. Each of `offsets` but the last leads to one.
    words: u8,
    offsets: [i32; Value::DEEPEST + 1],
}

impl Value {
    /// Code that saved its stack pointer in memory loads one word to find it, and another one to
    /// find a saved register.
    const DEEPEST: usize = 2;

    /// The value of `register`.
    pub(super) fn of(register: Register) -> Value {
        Value { register, words: 0, offsets: [0; Value::DEEPEST + 1] }
    }

    /// Adds `by`; `None` if the offset becomes too large.
    pub(super) fn plus(mut self, by: i64) -> Option<Value> {
        let last = &mut self.offsets[usize::from(self.words)];
        *last = i32::try_from(i64::from(*last).checked_add(by)?).ok()?;
        Some(self)
    }

    /// The word at this address; `None` if that loads too many words.
    pub(super) fn word(mut self) -> Option<Value> {
        self.words += 1;
        (usize::from(self.words) <= Value::DEEPEST).then_some(self)
    }

    /// The same value, expressed earlier: `base` is the value of its register.
    pub(super) fn after(self, base: Value) -> Option<Value> {
        let mut value = base.plus(self.offsets[0].into())?;
        for &offset in &self.offsets[1..=usize::from(self.words)] {
            value = value.word()?.plus(offset.into())?;
        }
        Some(value)
    }

    /// The address of the word that this value is; `None` if it is not a plain word.
    pub(super) fn place(self) -> Option<Value> {
        let at = usize::from(self.words).checked_sub(1)?;
        let is_plain = self.offsets[usize::from(self.words)] == 0;
        let mut offsets = self.offsets;
        offsets[at + 1] = 0;
        is_plain.then_some(Value { words: at as u8, offsets, ..self })
    }

    pub(super) fn evaluate(
        self,
        registers: &Registers,
        word: impl Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        let mut value = registers.get(self.register)?;
        for (at, &offset) in self.offsets[..=usize::from(self.words)].iter().enumerate() {
            value = if at == 0 { value } else { word(value)? };
            value = value.wrapping_add_signed(offset.into());
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use gimli::X86_64;

    use super::*;
    use crate::unwind::registers::Machine;

    #[test]
    fn values_are_found_from_registers_and_words() {
        let mut registers = Registers::new(Machine::X86_64);
        registers.set(X86_64::RBX, Some(0x100));
        // Each word holds its own place and 1.
        let word = |place: u64| Some(place + 1);
        let saved = Value::of(X86_64::RBX).plus(8).and_then(Value::word).unwrap();
        assert_eq!(saved.evaluate(&registers, word), Some(0x109));
        assert_eq!(saved.place(), Value::of(X86_64::RBX).plus(8));
        let behind = saved.plus(16).and_then(Value::word).unwrap();
        assert_eq!(behind.evaluate(&registers, word), Some(0x11a));
        assert_eq!(behind.word(), None, "too deep");
        // rbx was 0x10 less when the value was expressed.
        let moved = saved.after(Value::of(X86_64::RBX).plus(-16).unwrap()).unwrap();
        assert_eq!(moved.evaluate(&registers, word), Some(0xf9));
        assert_eq!(Value::of(X86_64::R12).evaluate(&registers, word), None);
        assert_eq!(Value::of(X86_64::RBX).plus(1 << 40), None);
    }
}
