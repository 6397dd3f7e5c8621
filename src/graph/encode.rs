//! Turns a walk of stacks into columns, and columns into base64 text.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bstr::BStr;
use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::{Names, Order, Weight};
use crate::error::{Error, Result};
use crate::leb128;
use crate::stacks::common;
use crate::unit::common_divisor;

/// The fields before the names.
pub(super) struct Header<'a> {
    pub(super) order: Order,
    pub(super) differential: bool,
    pub(super) unit: Option<&'a BStr>,
}

/// The nodes of a call tree, in preorder.
#[derive(Default)]
pub(super) struct Columns {
    /// The stack that was added last.
    last: Vec<u32>,
    /// The depth of the last node plus one: the depth of a child of it.
    below: usize,
    steps: Vec<u8>,
    /// The name of each node; `None` for the parent's own weight.
    names: Vec<Option<u32>>,
    weights: Vec<Weight>,
}

impl Columns {
    /// Adds the nodes of a stack, root first, that it does not share with the stack before.
    pub(super) fn add(&mut self, stack: &[u32], weight: Weight) {
        let shared = common(&self.last, stack);
        let is_same = shared == stack.len() && shared == self.last.len();
        if is_same && let Some(last) = self.weights.last_mut() {
            last.add(weight);
            return;
        }
        for (depth, &name) in stack.iter().enumerate().skip(shared) {
            self.node(depth, Some(name));
        }
        if shared == stack.len() {
            self.node(shared, None);
        }
        if let Some(last) = self.weights.last_mut() {
            *last = weight;
        }
        self.last.truncate(shared);
        self.last.extend_from_slice(&stack[shared..]);
    }

    fn node(&mut self, depth: usize, name: Option<u32>) {
        leb128::write(&mut self.steps, (self.below - depth) as u64);
        self.below = depth + 1;
        self.names.push(name);
        self.weights.push(Weight::default());
    }

    /// All columns, compressed, as base64 text.
    pub(super) fn pack(&self, header: &Header<'_>, names: &Names) -> Result<Vec<u8>> {
        let mut packed = Packed::default();
        let order = match header.order {
            Order::Frames => 0,
            Order::Time => 2,
            Order::Input => 4,
        };
        packed.number(u64::from(header.differential) | order)?;
        let unit: &[u8] = header.unit.map_or(b"", |unit| unit);
        packed.number(unit.len() as u64)?;
        packed.bytes(unit)?;
        let divisor = self.divisor(header.differential);
        packed.number(divisor)?;

        let (order, numbers) = self.numbers();
        packed.number(order.len() as u64)?;
        packed.column(order.iter().map(|&name| names.get(name).len() as u64))?;
        for &name in &order {
            packed.bytes(names.get(name))?;
        }
        packed.number(self.names.len() as u64)?;
        packed.bytes(&self.steps)?;
        packed.column(numbers.iter().copied())?;
        packed.column(self.weights.iter().map(|weight| weight.before / divisor))?;
        if header.differential {
            packed.column(self.weights.iter().map(|weight| weight.after / divisor))?;
        }
        let bytes = packed.deflater.finish().map_err(packing())?;
        Ok(STANDARD.encode(bytes).into_bytes())
    }

    /// The names in order of first appearance, and the number of each node's name.
    fn numbers(&self) -> (Vec<u32>, Vec<u64>) {
        let mut order = Vec::new();
        let most = self.names.iter().flatten().max().map_or(0, |&name| name as usize + 1);
        let mut known = vec![0u64; most];
        let mut number = |name: &Option<u32>| {
            let Some(name) = *name else { return 0 };
            let number = &mut known[name as usize];
            if *number == 0 {
                order.push(name);
                *number = order.len() as u64;
            }
            *number
        };
        let numbers = self.names.iter().map(&mut number).collect();
        (order, numbers)
    }

    /// The greatest number that divides all weights.
    fn divisor(&self, differential: bool) -> u64 {
        let mut divisor = 0;
        for weight in &self.weights {
            divisor = common_divisor(weight.before, divisor);
            if differential {
                divisor = common_divisor(weight.after, divisor);
            }
        }
        divisor.max(1)
    }
}

/// A deflate stream of numbers and bytes.
struct Packed {
    deflater: DeflateEncoder<Vec<u8>>,
    room: Vec<u8>,
}

impl Default for Packed {
    fn default() -> Self {
        let deflater = DeflateEncoder::new(Vec::new(), Compression::new(6));
        Packed { deflater, room: Vec::new() }
    }
}

impl Packed {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.deflater.write_all(bytes).map_err(packing())
    }

    fn number(&mut self, value: u64) -> Result<()> {
        self.column(std::iter::once(value))
    }

    fn column(&mut self, values: impl Iterator<Item = u64>) -> Result<()> {
        self.room.clear();
        values.for_each(|value| leb128::write(&mut self.room, value));
        self.deflater.write_all(&self.room).map_err(packing())
    }
}

fn packing() -> impl FnOnce(io::Error) -> Error {
    Error::io(|| "cannot pack the folded stacks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_where_a_node_hangs() {
        let mut columns = Columns::default();
        let one = Weight { before: 1, after: 1 };
        for stack in [&[5, 6][..], &[5, 6, 7], &[5, 8], &[5, 8], &[5], &[9]] {
            columns.add(stack, one);
        }
        // 5, its child 6, its child 7, their uncle 8, 5 itself, and the next root.
        assert_eq!(columns.steps, [0, 0, 0, 2, 1, 2]);
        assert_eq!(columns.numbers(), (vec![5, 6, 7, 8, 9], vec![1, 2, 3, 4, 0, 5]));
        let weights: Vec<u64> = columns.weights.iter().map(|weight| weight.before).collect();
        assert_eq!(weights, [0, 1, 1, 2, 1, 1]);
    }

    #[test]
    fn the_divisor_is_that_of_all_weights() {
        assert_eq!(common_divisor(12, 18), 6);
        assert_eq!(common_divisor(0, 5), 5);
        assert_eq!(Columns::default().divisor(true), 1);
    }
}
