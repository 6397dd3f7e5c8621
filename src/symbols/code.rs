//! Recognises code by its instructions: where threads start and end, calls, and returns from
//! signals.
//!
//! A stripped program has lost its names, but its entry point and the code that ends a thread are
//! still there.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use object::elf::{EM_386, EM_X86_64};

use super::elf::Segment;
use super::module::Module;

impl Module {
    /// The bytes from `address`, in the file's own address space, to the end of its segment. `None`
    /// if there is no code.
    pub(crate) fn code_at(&self, address: u64) -> Option<&[u8]> {
        let has = |segment: &&Segment| {
            segment.executable
                && address.checked_sub(segment.address).is_some_and(|at| at < segment.file_size)
        };
        let segment = self.segments().iter().find(has)?;
        let at = usize::try_from(address - segment.address).ok()?;
        let start = usize::try_from(segment.offset).ok()?;
        let end = start.saturating_add(usize::try_from(segment.file_size).ok()?);
        let bytes = self.bytes();
        bytes.get(start.checked_add(at)?..end.min(bytes.len()))
    }

    /// Whether it has x86 code, of 64 or 32 bits.
    pub(crate) fn is_x86(&self) -> bool {
        self.machine == EM_X86_64.0 || self.machine == EM_386.0
    }

    /// The size of an address in bytes.
    pub(crate) fn address_size(&self) -> u8 {
        if self.machine == EM_386.0 { 4 } else { 8 }
    }

    /// Whether a thread starts in the x86-64 code around the call at `address`, so it has no
    /// caller.
    pub(crate) fn starts_thread(&self, address: u64) -> bool {
        self.start_at(address).is_some() || self.ending(address) == Some(Ending::Halt)
    }

    /// The name of the function around the call at `address` if a thread starts there, and where
    /// the function begins if that is known.
    ///
    /// A program starts at `_start`, whose address is in its header. `_start` clears the frame
    /// pointer, which means that there is no caller: the psABI, "Process Initialization". Other
    /// threads start in `clone`.
    pub(super) fn start_at(&self, address: u64) -> Option<(&'static [u8], Option<u64>)> {
        if self.machine != EM_X86_64.0 {
            return None;
        }
        if self.is_entered_at(address) {
            return Some((b"_start", Some(self.entry)));
        }
        let code = self.code_at(address)?;
        if is_signal_return(code) {
            return Some((b"__restore_rt", Some(address)));
        }
        if code.starts_with(&START_CONTEXT) {
            return Some((b"__start_context", Some(address)));
        }
        (self.ending(address) == Some(Ending::Exit)).then_some((b"clone", None))
    }

    /// Whether a finished coroutine returns to the x86-64 code at `address`. Boost's
    /// `make_fcontext` puts it on the stack, and it only does `xor %rdi,%rdi; call _exit; hlt`.
    pub(crate) fn ends_coroutine(&self, address: u64) -> bool {
        const MOST: usize = 6;
        let code = self.code_at(address).unwrap_or_default();
        let mut after_call = false;
        for instruction in Decoder::new(64, code, DecoderOptions::NONE).into_iter().take(MOST) {
            match instruction.flow_control() {
                _ if after_call => return instruction.mnemonic() == Mnemonic::Hlt,
                FlowControl::Call | FlowControl::IndirectCall => after_call = true,
                FlowControl::Next => {}
                _ => return false,
            }
        }
        false
    }

    /// Whether the code at `address` returns from a signal's handler.
    pub(crate) fn returns_from_signal(&self, address: u64) -> bool {
        self.code_at(address).is_some_and(is_signal_return)
    }

    /// Whether `address` is in the x86-64 code at the module's entry point, which nothing calls.
    pub(crate) fn is_entered_at(&self, address: u64) -> bool {
        let end = self.entry.saturating_add(LONGEST_START);
        let is_near = self.machine == EM_X86_64.0 && (self.entry..end).contains(&address);
        let code = || self.code_at(self.entry);
        is_near && code().and_then(length_of_start).is_some_and(|len| address - self.entry < len)
    }

    /// How the code behind the call at `address` ends its thread.
    fn ending(&self, address: u64) -> Option<Ending> {
        Ending::of(self.code_at(address.checked_add(1)?)?)
    }
}

/// The first instructions of glibc's `__start_context`, which runs after a context of
/// `makecontext`: `mov %rbx,%rsp; mov (%rsp),%rdi; test %rdi,%rdi`.
const START_CONTEXT: [u8; 10] = [0x48, 0x89, 0xdc, 0x48, 0x8b, 0x3c, 0x24, 0x48, 0x85, 0xff];
/// The most bytes of a `_start`.
const LONGEST_START: u64 = 64;

/// The length of a `_start` up to its first call. Nothing returns to that of a program. glibc's
/// dynamic linker continues after its own call to run the program, in a function of another name.
fn length_of_start(code: &[u8]) -> Option<u64> {
    // mov %rsp,%rdi; call _dl_start
    const OF_LINKER: [u8; 4] = [0x48, 0x89, 0xe7, 0xe8];
    if code.starts_with(&OF_LINKER) {
        return Some(8);
    }
    if !clears_frame_pointer(code) {
        return None;
    }
    let all = Decoder::new(64, code, DecoderOptions::NONE).into_iter();
    let is_call = |instruction: &Instruction| instruction.mnemonic() == Mnemonic::Call;
    let call = all.take_while(|instruction| instruction.ip() < LONGEST_START).find(is_call)?;
    Some(call.next_ip())
}

/// How code ends a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// By the system call: musl's `__clone` does `mov %eax,%edi; xor %eax,%eax; mov $60,%al;
    /// syscall`, and glibc's is similar.
    Exit,
    /// By `hlt`, which no program may run. `_start` ends with it, because nothing returns there.
    Halt,
}

impl Ending {
    fn of(code: &[u8]) -> Option<Ending> {
        const MOST: usize = 6;
        const EXIT: u64 = 60;
        let mut number = None;
        for instruction in Decoder::new(64, code, DecoderOptions::NONE).into_iter().take(MOST) {
            let is_number = instruction.op0_kind() == OpKind::Register
                && instruction.op0_register().full_register() == Register::RAX;
            match instruction.mnemonic() {
                Mnemonic::Hlt => return Some(Ending::Halt),
                Mnemonic::Syscall => return (number == Some(EXIT)).then_some(Ending::Exit),
                Mnemonic::Mov if is_number => number = instruction.try_immediate(1).ok(),
                _ if instruction.flow_control() != FlowControl::Next => return None,
                _ if is_number => number = None,
                _ => {}
            }
        }
        None
    }
}

/// Whether `code` ends with an x86 call, of 64 or 32 bits: `e8` and four bytes, or `ff /2` and its
/// operand.
pub(crate) fn ends_in_call(code: &[u8]) -> bool {
    let Some(code) = code.last_chunk::<7>() else { return false };
    let is_indirect = |at: usize| {
        let operand = &code[at + 1..];
        code[at] == 0xff && length_of_call(operand) == Some(operand.len())
    };
    code[2] == 0xe8 || (0..6).any(is_indirect)
}

/// The length of the operand of `ff /2`: the ModRM byte, a SIB byte and a displacement.
fn length_of_call(operand: &[u8]) -> Option<usize> {
    let modrm = *operand.first()?;
    if modrm >> 3 & 7 != 2 {
        return None;
    }
    let mode = modrm >> 6;
    let base = modrm & 7;
    let sib = if mode < 3 && base == 4 { Some(*operand.get(1)?) } else { None };
    let displacement = match mode {
        0 if base == 5 || sib.is_some_and(|sib| sib & 7 == 5) => 4,
        1 => 1,
        2 => 4,
        _ => 0,
    };
    Some(1 + usize::from(sib.is_some()) + displacement)
}

/// Whether this code returns from a signal's handler: `mov $15,%rax; syscall`. gdb recognises the
/// same bytes.
pub(crate) fn is_signal_return(code: &[u8]) -> bool {
    code.starts_with(b"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05")
        || code.starts_with(b"\xb8\x0f\x00\x00\x00\x0f\x05")
}

/// Whether x86-64 code continues on another stack: it loads the stack pointer from memory, or from
/// another register than the frame pointer.
pub(crate) fn loads_stack_pointer(code: &[u8]) -> bool {
    let loads = |instruction: Instruction| {
        let from = match instruction.op1_kind() {
            OpKind::Register => instruction.op1_register(),
            _ => Register::None,
        };
        instruction.mnemonic() == Mnemonic::Mov
            && instruction.op0_kind() == OpKind::Register
            && instruction.op0_register() == Register::RSP
            && from != Register::RBP
    };
    Decoder::new(64, code, DecoderOptions::NONE).into_iter().any(loads)
}

/// Whether code starts with `xor %ebp,%ebp` or `xor %rbp,%rbp`, perhaps after `endbr64`.
fn clears_frame_pointer(code: &[u8]) -> bool {
    let code = code.strip_prefix(b"\xf3\x0f\x1e\xfa").unwrap_or(code);
    code.starts_with(b"\x31\xed") || code.starts_with(b"\x48\x31\xed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_ends_a_thread_is_recognised() {
        // mov %eax,%edi; xor %eax,%eax; mov $60,%al; syscall; hlt
        let musl = [0x89, 0xc7, 0x31, 0xc0, 0xb0, 0x3c, 0x0f, 0x05, 0xf4];
        assert_eq!(Ending::of(&musl), Some(Ending::Exit));
        // mov %rax,%rdi; mov $60,%eax; syscall
        let glibc = [0x48, 0x89, 0xc7, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
        assert_eq!(Ending::of(&glibc), Some(Ending::Exit));
        assert_eq!(Ending::of(&[0xf4]), Some(Ending::Halt));
        // mov $39,%eax; syscall; a ret before anything; nothing at all
        for other in [&[0xb8, 39, 0, 0, 0, 0x0f, 0x05][..], &[0xc3, 0xf4], &[], &[0x90; 9]] {
            assert_eq!(Ending::of(other), None, "{other:x?}");
        }
    }

    #[test]
    fn a_start_has_no_caller() {
        // xor %ebp,%ebp; call *(%rip); hlt
        let start = [0x31, 0xed, 0xff, 0x15, 0, 0, 0, 0, 0xf4];
        assert_eq!(length_of_start(&start), Some(8));
        assert_eq!(length_of_start(&[0x90; 99]), None);
        assert_eq!(length_of_start(&[0x55, 0xff, 0x15, 0, 0, 0, 0, 0xf4]), None);
        assert_eq!(length_of_start(&[0x48, 0x89, 0xe7, 0xe8, 1, 0, 0, 0, 0x90]), Some(8));
        assert!(clears_frame_pointer(b"\xf3\x0f\x1e\xfa\x31\xed\x49"));
        assert!(clears_frame_pointer(b"\x48\x31\xed") && !clears_frame_pointer(b"\x55\x48\x89"));
    }

    #[test]
    fn calls_are_recognised_by_their_bytes() {
        assert!(ends_in_call(&[0, 0, 0xe8, 1, 2, 3, 4]));
        // call *%rax; call *1(%rip); call *8(%rsp); call *0(,%rax,8)
        assert!(ends_in_call(&[0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xd0]));
        assert!(ends_in_call(&[0x90, 0xff, 0x15, 1, 2, 3, 4]));
        assert!(ends_in_call(&[0x90, 0x90, 0x90, 0xff, 0x54, 0x24, 8]));
        assert!(ends_in_call(&[0xff, 0x14, 0xc5, 0, 0, 0, 0]));
        assert!(!ends_in_call(&[0x90; 9]) && !ends_in_call(&[0xe8, 0, 0, 0, 0]));
        // A displacement that looks like a call; a jump.
        assert!(!ends_in_call(&[0x90, 0x90, 0x90, 0xff, 0xd0, 0x90, 0x90]));
        assert!(!ends_in_call(&[0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xe0]));
    }

    #[test]
    fn code_on_another_stack_is_recognised() {
        // mov 0x38(%rsi),%rsp; mov %rsi,%rsp
        assert!(loads_stack_pointer(&[0x90, 0x48, 0x8b, 0x66, 0x38]));
        assert!(loads_stack_pointer(&[0x48, 0x89, 0xf4, 0xc3]));
        // mov %rbp,%rsp; mov %rsp,%rbp; add $8,%rsp
        assert!(!loads_stack_pointer(&[0x48, 0x89, 0xec, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xc4, 8]));
    }
}
