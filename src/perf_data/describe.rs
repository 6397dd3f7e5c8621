//! Prints what a recording says about itself, as the comment lines of `perf script --header`.
//!
//! ```text
//! # hostname : vm
//! # cmdline : /usr/bin/perf record -g -F 999 -- ls
//! # event : name = cpu-clock, , id = { 8392, 8393 }, type = 1, size = 128, …
//! ```
//!
//! Every line stays a comment: a newline in a command line is written as `\n`, although perf prints
//! it as it is. Sources: `tools/perf/util/header.c`, `tools/perf/util/perf_event_attr_fprintf.c` of
//! Linux 6.1.

use std::collections::BTreeMap;
use std::io::Write;

use bstr::{BStr, ByteSlice};

use super::attr::Attr;
use super::bytes::Cursor;
use super::header::FileHeader;
use super::header::number;

/// The lines of each feature by its number. perf prints them in this order.
pub(super) type Lines = BTreeMap<u64, Vec<u8>>;

/// The most bytes of a feature that is printed. A larger one is hostile.
const LARGEST: usize = 1 << 20;

/// The line above and below the description.
const RULE: &[u8] = b"# ========\n";

/// The whole description.
pub(super) fn text(lines: &Lines) -> Vec<u8> {
    let lines: Vec<&[u8]> = lines.values().map(Vec::as_slice).collect();
    [RULE, &lines.concat(), RULE, b"#\n"].concat()
}

/// The lines that say where the parts of a file are.
pub(super) fn layout(header: &FileHeader) -> Vec<u8> {
    let data = &header.data;
    let end = data.end();
    format!(
        "# header version : 1\n# data offset    : {}\n# data size      : {}\n# feat offset    : {end}\n",
        data.offset, data.size
    )
    .into()
}

/// The lines of one feature. `None` if its number is unknown or it ends too early.
pub(super) fn feature(feature: u64, mut c: Cursor<'_>) -> Option<Vec<u8>> {
    if c.rest().len() > LARGEST {
        return None;
    }
    let string = |what: &str, c: &mut Cursor<'_>| Some(line(what, &[c.string()?]));
    match feature {
        number::HOSTNAME => string("hostname", &mut c),
        number::OSRELEASE => string("os release", &mut c),
        number::VERSION => string("perf version", &mut c),
        number::ARCH => string("arch", &mut c),
        number::CPUDESC => string("cpudesc", &mut c),
        number::CPUID => string("cpuid", &mut c),
        number::NRCPUS => {
            let available = c.u32()?;
            let online = c.u32()?;
            Some(format!("# nrcpus online : {online}\n# nrcpus avail : {available}\n").into())
        }
        number::TOTAL_MEM => Some(format!("# total memory : {} kB\n", c.u64()?).into()),
        number::CMDLINE => {
            let mut words = Vec::new();
            for _ in 0..c.u32()? {
                words.push(c.string()?.replace("'", r"\'"));
                words.push(b" ".to_vec());
            }
            let words: Vec<&BStr> = words.iter().map(|word| word.as_bstr()).collect();
            Some(line("cmdline", &words))
        }
        number::EVENT_DESC => events(c),
        number::PMU_MAPPINGS => {
            let mut list = Vec::new();
            for _ in 0..c.u32()? {
                let kind = c.u32()?;
                list.push(format!("{} = {kind}", c.string()?));
            }
            Some(format!("# pmu mappings: {}\n", list.join(", ").escape_debug()).into_bytes())
        }
        number::SAMPLE_TIME => {
            let first = c.u64()?;
            let last = c.u64()?;
            let seconds =
                |time: u64| format!("{}.{:06}", time / 1_000_000_000, time % 1_000_000_000 / 1000);
            let duration = last.saturating_sub(first) as f64 / 1e6;
            Some(
                format!(
                    "# time of first sample : {}\n# time of last sample : {}\n# sample duration : {duration:10.3} ms\n",
                    seconds(first),
                    seconds(last)
                )
                .into(),
            )
        }
        number::COMPRESSED => {
            let _version = c.u32()?;
            let kind = if c.u32()? == 1 { "Zstd" } else { "Unknown" };
            let level = c.u32()?;
            let ratio = c.u32()?;
            Some(format!("# compressed : {kind}, level = {level}, ratio = {ratio}\n").into())
        }
        _ => None,
    }
}

/// `# what : words`.
fn line(what: &str, words: &[&BStr]) -> Vec<u8> {
    let mut line = format!("# {what} : ").into_bytes();
    for byte in words.iter().flat_map(|word| word.bytes()) {
        match byte {
            b'\n' => line.extend(b"\\n"),
            0..b' ' | 0x7f => line.push(b'?'),
            _ => line.push(byte),
        }
    }
    line.push(b'\n');
    line
}

/// A line for each event.
fn events(mut c: Cursor<'_>) -> Option<Vec<u8>> {
    let mut lines = Vec::new();
    let count = c.u32()?;
    let attr_size = c.u32()?;
    for _ in 0..count {
        let attr = Cursor::new(c.take(attr_size.into())?, c.endian());
        let ids = c.u32()?;
        let name = c.string()?;
        let ids: Vec<String> = c.words(ids.into())?.iter().map(|id| format!(" {id}")).collect();
        let mut text = Vec::new();
        // Writing to a Vec cannot fail. The two commas are perf's.
        let _ = write!(text, "name = {name}, ");
        if !ids.is_empty() {
            let _ = write!(text, ", id = {{{} }}", ids.join(","));
        }
        for (field, value) in fields(attr)? {
            let _ = write!(text, ", {field} = {value}");
        }
        lines.extend(line("event", &[text.as_bstr()]));
    }
    Some(lines)
}

/// The fields of an attr that are not zero, as perf writes them.
fn fields(raw: Cursor<'_>) -> Option<Vec<(&'static str, String)>> {
    let attr = Attr::parse(&mut raw.clone())?;
    let at = |offset: u64, size: u64| {
        let mut c = raw;
        c.skip(offset).and_then(|()| if size == 8 { c.u64() } else { c.u32().map(u64::from) })
    };
    let at = |offset, size| at(offset, size).unwrap_or(0);
    let mut fields = Vec::new();
    let mut add = |name: &'static str, value: u64, shown: String| {
        if value != 0 {
            fields.push((name, shown));
        }
    };
    let number = |value: u64| value.to_string();
    let hex = |value: u64| format!("{value:#x}");
    add("type", attr.kind.into(), number(attr.kind.into()));
    add("size", at(4, 4), number(at(4, 4)));
    add("config", attr.config, hex(attr.config));
    let period = attr.period_or_freq;
    add("{ sample_period, sample_freq }", period, number(period));
    add("sample_type", attr.sample_type, bits(attr.sample_type, &SAMPLE_TYPE));
    add("read_format", attr.read_format, bits(attr.read_format, &READ_FORMAT));
    for (bit, name) in FLAGS.iter().enumerate() {
        // precise_ip has two bits.
        let value = attr.flags >> bit & if *name == "precise_ip" { 3 } else { 1 };
        if !name.is_empty() {
            add(name, value, number(value));
        }
    }
    let wakeup = at(48, 4);
    add("{ wakeup_events, wakeup_watermark }", wakeup, number(wakeup));
    add("bp_type", at(52, 4), number(at(52, 4)));
    add("{ bp_addr, config1 }", at(56, 8), hex(at(56, 8)));
    add("{ bp_len, config2 }", at(64, 8), hex(at(64, 8)));
    let branches = attr.branch_sample_type;
    add("branch_sample_type", branches, bits(branches, &BRANCHES));
    add("sample_regs_user", attr.regs_user, hex(attr.regs_user));
    add("sample_stack_user", attr.stack_user.into(), number(attr.stack_user.into()));
    add("clockid", at(92, 4), attr.clockid.to_string());
    add("sample_regs_intr", attr.regs_intr, hex(attr.regs_intr));
    add("aux_watermark", at(104, 4), number(at(104, 4)));
    let mut max_stack = raw;
    let max_stack = max_stack.skip(108).and_then(|()| max_stack.u16()).unwrap_or(0);
    add("sample_max_stack", max_stack.into(), number(max_stack.into()));
    add("aux_sample_size", at(112, 4), number(at(112, 4)));
    add("sig_data", at(120, 8), number(at(120, 8)));
    Some(fields)
}

/// The names of the bits that are set, in perf's order: `IP|TID|TIME`.
fn bits(value: u64, names: &[(u32, &str)]) -> String {
    let set = names.iter().filter(|(bit, _)| value >> bit & 1 == 1).map(|(_, name)| *name);
    set.collect::<Vec<_>>().join("|")
}

const SAMPLE_TYPE: [(u32, &str); 24] = [
    (0, "IP"),
    (1, "TID"),
    (2, "TIME"),
    (3, "ADDR"),
    (4, "READ"),
    (5, "CALLCHAIN"),
    (6, "ID"),
    (7, "CPU"),
    (8, "PERIOD"),
    (9, "STREAM_ID"),
    (10, "RAW"),
    (11, "BRANCH_STACK"),
    (12, "REGS_USER"),
    (13, "STACK_USER"),
    (16, "IDENTIFIER"),
    (18, "REGS_INTR"),
    (15, "DATA_SRC"),
    (14, "WEIGHT"),
    (19, "PHYS_ADDR"),
    (20, "AUX"),
    (21, "CGROUP"),
    (22, "DATA_PAGE_SIZE"),
    (23, "CODE_PAGE_SIZE"),
    (24, "WEIGHT_STRUCT"),
];
const READ_FORMAT: [(u32, &str); 5] =
    [(0, "TOTAL_TIME_ENABLED"), (1, "TOTAL_TIME_RUNNING"), (2, "ID"), (3, "GROUP"), (4, "LOST")];
const BRANCHES: [(u32, &str); 18] = [
    (0, "USER"),
    (1, "KERNEL"),
    (2, "HV"),
    (3, "ANY"),
    (4, "ANY_CALL"),
    (5, "ANY_RETURN"),
    (6, "IND_CALL"),
    (7, "ABORT_TX"),
    (8, "IN_TX"),
    (9, "NO_TX"),
    (10, "COND"),
    (11, "CALL_STACK"),
    (12, "IND_JUMP"),
    (13, "CALL"),
    (14, "NO_FLAGS"),
    (15, "NO_CYCLES"),
    (16, "TYPE_SAVE"),
    (17, "HW_INDEX"),
];
/// The names of the bits from bit 0 on. precise_ip has two bits; its second one has no name.
#[rustfmt::skip]
const FLAGS: [&str; 38] = [
    "disabled", "inherit", "pinned", "exclusive", "exclude_user", "exclude_kernel", "exclude_hv", "exclude_idle",
    "mmap", "comm", "freq", "inherit_stat", "enable_on_exec", "task", "watermark", "precise_ip", "", "mmap_data",
    "sample_id_all", "exclude_host", "exclude_guest", "exclude_callchain_kernel", "exclude_callchain_user", "mmap2",
    "comm_exec", "use_clockid", "context_switch", "write_backward", "namespaces", "ksymbol", "bpf_event", "aux_output",
    "cgroup", "text_poke", "build_id", "inherit_thread", "remove_on_exec", "sigtrap",
];

#[cfg(test)]
mod tests {
    use super::super::bytes::Endian;
    use super::*;

    #[test]
    fn every_line_is_a_comment() {
        let mut section = 2u32.to_le_bytes().to_vec();
        for word in ["it's", "a\nb\x1b"] {
            section.extend(8u32.to_le_bytes());
            section.extend(format!("{word:\0<8}").bytes());
        }
        let text = feature(number::CMDLINE, Cursor::new(&section, Endian::Little)).unwrap();
        assert_eq!(text.as_bstr(), "# cmdline : it\\'s a\\nb? \n");
        let short = Cursor::new(&section[..section.len() - 1], Endian::Little);
        assert_eq!(feature(number::CMDLINE, short), None);
        assert_eq!(super::text(&Lines::new()).as_bstr(), "# ========\n# ========\n#\n");
    }
}
