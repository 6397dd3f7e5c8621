"""For scripts/golden-arm: copies the registers and the stack of a program at each stop of gdb into a perf.data."""

import struct

import gdb

PID, COMM = 4242, b"chained"
PERIOD, STACK = 1000, 512
# TID, TIME and CPU follow other records; samples also have IP, PERIOD, REGS_USER and STACK_USER.
SAMPLE_TYPE = 1 | 2 | 4 | 0x80 | 0x100 | 0x1000 | 0x2000
REGISTERS = [f"x{number}" for number in range(31)] + ["sp", "pc"]


def padded(text):
    return text + b"\0" * (8 - len(text) % 8)


def record(kind, misc, body):
    return struct.pack("<IHH", kind, misc, 8 + len(body)) + body


def identity(time):
    return struct.pack("<IIQII", PID, PID, time, 0, 0)


def value(register):
    return int(gdb.parse_and_eval(f"${register}")) & (1 << 64) - 1


def sample(time):
    values = [value(register) for register in REGISTERS]
    stack = gdb.selected_inferior().read_memory(values[31], STACK).tobytes()
    body = struct.pack("<Q", values[32]) + identity(time) + struct.pack("<Q", PERIOD)
    body += struct.pack(f"<Q{len(values)}Q", 2, *values)
    return record(9, 2, body + struct.pack("<Q", STACK) + stack + struct.pack("<Q", STACK))


def code(path):
    """Address, length and place in the file of the segment with the code."""
    elf = open(path, "rb").read()
    [table] = struct.unpack_from("<Q", elf, 32)
    [count] = struct.unpack_from("<H", elf, 56)
    for at in range(count):
        kind, flags, offset, address, _, _, length = struct.unpack_from("<IIQQQQQ", elf, table + at * 56)
        if kind == 1 and flags & 1:
            return address, length, offset


def names():
    """The functions of gdb's backtrace, root first."""
    frame, names = gdb.newest_frame(), []
    while frame:
        names.append(str(frame.name()))
        frame = frame.older()
    return ";".join([COMM.decode(), *reversed(names)])


def write(data):
    attr = struct.pack("<IIQQQQQ", 1, 112, 0, PERIOD, SAMPLE_TYPE, 0, 1 << 5 | 1 << 18)
    attr += struct.pack("<IIQQQQIiQIHH", 0, 0, 0, 0, 0, (1 << 33) - 1, STACK, 0, 0, 0, 0, 0)
    arch = b"aarch64\0"
    features = 1 << 6
    start = 104 + len(attr) + 16
    header = b"PERFILE2" + struct.pack("<QQ", 104, len(attr) + 16)
    header += struct.pack("<QQQQQQ", 104, len(attr) + 16, start, len(data), 0, 0)
    header += struct.pack("<QQQQ", features, 0, 0, 0)
    end = start + len(data)
    with open(f"{program}.data", "wb") as file:
        file.write(header + attr + struct.pack("<QQ", 0, 0) + data)
        file.write(struct.pack("<QQ", end + 16, 4 + len(arch)))
        file.write(struct.pack("<I", len(arch)) + arch)


gdb.execute(f"target remote {program.rsplit('/', 1)[0]}/port")
address, length, offset = code(program)
data = record(3, 1 << 13, struct.pack("<II", PID, PID) + padded(COMM) + identity(1))
mapped = struct.pack("<IIQQQIIQQII", PID, PID, address, length, offset, 0, 0, 0, 0, 5, 2)
data += record(10, 2, mapped + padded(program.encode()) + identity(2))
stacks, last = [], None
# The trap at the end is never passed.
while value("pc") != last:
    last = value("pc")
    function = gdb.newest_frame().name()
    if function not in ("_start", "run"):
        stacks.append(names())
        data += sample(1_000_000 + PERIOD * len(stacks))
    # Where frames are made and left, each few instructions count.
    gdb.execute(f"stepi {67 if function == 'spin' else 3}")
write(data)
with open(f"{program}.stacks", "w") as file:
    file.writelines(f"{stack}\n" for stack in stacks)
