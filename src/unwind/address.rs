//! An address in a stack, and which byte it stands for.

/// An address in a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct At {
    pub(crate) address: u64,
    /// How far before the address the byte lies whose function is meant: 1 for return addresses.
    back: u8,
}

impl At {
    /// Where a thread was.
    pub(crate) fn exact(address: u64) -> At {
        At { address, back: 0 }
    }

    /// Where a thread will return to.
    pub(crate) fn call(address: u64) -> At {
        At { address, back: 1 }
    }

    /// The address whose function is meant.
    pub(crate) fn lookup(self) -> u64 {
        self.address.saturating_sub(self.back.into())
    }
}
