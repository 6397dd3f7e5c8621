//! Samples → the processed profile of the Firefox Profiler, version 55, as samply 0.13 writes it.
//!
//! A profile is made of tables, whose columns are lists. A sample has a stack, a stack has a frame
//! and the stack of its caller, a frame has a function. The viewer upgrades older versions itself.

use std::io::{self, Write};

use hashbrown::HashMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::profile::{Names, Position, Profile};
use super::timed::{Named, Timed};
use crate::sample::Kind;

const VERSION: u32 = 55;
/// The number of the kind of resources that are libraries.
const LIBRARY: u32 = 1;

pub(super) fn write(
    profile: &Profile,
    timed: &Timed,
    title: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut threads = Vec::new();
    for lane in &timed.lanes {
        let mut thread = Thread::new(profile, timed.modules.len());
        for sample in &lane.samples {
            let stack = thread.stack(timed.stacks[sample.stack].iter().copied());
            let weight = if timed.counts_samples { 1 } else { sample.weight };
            thread.sample(sample.start - timed.from, stack, weight);
            if timed.is_clock {
                let used = if sample.is_off { 0 } else { sample.weight };
                thread.samples.thread_cpu_delta.push(used as f64 / 1e3);
            }
        }
        thread.name = lane.comm.clone();
        thread.is_main_thread = lane.pid == lane.tid;
        thread.pid = lane.pid.unwrap_or(0).to_string();
        thread.tid = lane.tid.unwrap_or(0);
        let is_time = timed.is_clock && !timed.counts_samples;
        threads.push(thread.finish(is_time, &timed.modules));
    }
    // The unit of stacks that were folded before.
    let unit = profile.unit();
    let is_time = unit.as_deref() == Some("ns");
    let mut thread = Thread::new(profile, 0);
    let mut now = 0;
    for (stack, weight) in profile.stacks() {
        let named = |&position| Named { position, kind: Kind::User, module: None };
        let stack = thread.stack(stack.iter().map(named));
        thread.sample(now, stack, weight);
        now += if is_time { weight } else { weight.saturating_mul(1_000_000) };
    }
    if now > 0 {
        thread.is_main_thread = true;
        thread.pid = "0".into();
        thread.process_name = title.into();
        let mut thread = thread.finish(is_time, &[]);
        if unit.as_deref() == Some("bytes") {
            thread.samples.weight_type = "bytes";
        }
        threads.push(thread);
    }
    let libs: Vec<Value> = timed.modules.iter().map(|module| lib(module)).collect();
    let file = json!({
        "meta": meta(title),
        "libs": libs,
        "pages": [],
        "profilerOverhead": [],
        "counters": [],
    });
    // The tables of large profiles must not be copied.
    let mut whole = file.to_string();
    whole.pop();
    write!(out, "{whole},\"threads\":")?;
    serde_json::to_writer(&mut *out, &threads)?;
    writeln!(out, "}}")
}

fn meta(title: &str) -> Value {
    let category =
        |name, color| json!({ "name": name, "color": color, "subcategories": ["Other"] });
    json!({
        "preprocessedProfileVersion": VERSION,
        "version": 24,
        "product": title,
        "interval": 1,
        "sampleUnits": { "time": "ms", "eventDelay": "ms", "threadCPUDelta": "µs" },
        "startTime": 0,
        "processType": 0,
        "stackwalk": 1,
        "symbolicated": true,
        "debug": false,
        "usesOnlyOneStackType": true,
        "sourceCodeIsNotOnSearchfox": true,
        "importedFrom": concat!("flamepipe ", env!("CARGO_PKG_VERSION")),
        "extensions": { "baseURL": [], "id": [], "name": [], "length": 0 },
        "pausedRanges": [],
        "markerSchema": [],
        "categories": [
            category("Other", "grey"),
            category("User", "yellow"),
            category("Kernel", "orange"),
            category("JIT", "green"),
        ],
    })
}

/// The number of the category of a kind.
fn category(kind: Kind) -> u32 {
    match kind {
        Kind::Truncated => 0,
        Kind::User | Kind::Inlined => 1,
        Kind::Kernel => 2,
        Kind::Jit => 3,
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn lib(path: &str) -> Value {
    let name = file_name(path);
    json!({
        "name": name,
        "path": path,
        "debugName": name,
        "debugPath": path,
        "breakpadId": "000000000000000000000000000000000",
        "codeId": null,
        "arch": null,
    })
}

/// A thread in JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Thread<'a> {
    name: String,
    is_main_thread: bool,
    process_name: String,
    process_type: &'static str,
    process_startup_time: u64,
    process_shutdown_time: Option<u64>,
    register_time: u64,
    unregister_time: Option<u64>,
    paused_ranges: [(); 0],
    pid: String,
    tid: u64,
    samples: Samples,
    stack_table: StackTable,
    frame_table: FrameTable,
    func_table: FuncTable,
    resource_table: ResourceTable,
    native_symbols: Value,
    markers: Value,
    string_array: Vec<&'a str>,
    #[serde(skip)]
    tables: Tables<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Samples {
    length: usize,
    stack: Vec<Option<u32>>,
    /// In milliseconds.
    time: Vec<f64>,
    weight: Vec<f64>,
    weight_type: &'static str,
    /// The processor time since the sample before, in microseconds, if it is known.
    #[serde(rename = "threadCPUDelta", skip_serializing_if = "Vec::is_empty")]
    thread_cpu_delta: Vec<f64>,
}

#[derive(Default, Serialize)]
struct StackTable {
    length: usize,
    prefix: Vec<Option<u32>>,
    frame: Vec<u32>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct FrameTable {
    length: usize,
    address: Vec<i32>,
    inline_depth: Vec<u32>,
    category: Vec<u32>,
    subcategory: Vec<u32>,
    func: Vec<u32>,
    native_symbol: Vec<()>,
    #[serde(rename = "innerWindowID")]
    inner_window_id: Vec<u32>,
    line: Vec<Option<u32>>,
    column: Vec<()>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct FuncTable {
    length: usize,
    name: Vec<u32>,
    #[serde(rename = "isJS")]
    is_js: Vec<bool>,
    #[serde(rename = "relevantForJS")]
    relevant_for_js: Vec<bool>,
    /// -1 for none.
    resource: Vec<i64>,
    file_name: Vec<Option<u32>>,
    line_number: Vec<()>,
    column_number: Vec<()>,
}

#[derive(Default, Serialize)]
struct ResourceTable {
    length: usize,
    lib: Vec<u32>,
    name: Vec<u32>,
    host: Vec<()>,
    #[serde(rename = "type")]
    kind: Vec<u32>,
}

/// What is in the tables of a thread so far.
struct Tables<'a> {
    names: &'a Names,
    frames: HashMap<Named, u32>,
    functions: HashMap<(u32, Kind, Option<u32>), u32>,
    stacks: HashMap<(Option<u32>, u32), u32>,
    strings: HashMap<&'a str, u32>,
    /// The resource of each module.
    resources: Vec<Option<u32>>,
}

impl<'a> Thread<'a> {
    fn new(profile: &'a Profile, modules: usize) -> Self {
        Thread {
            name: String::new(),
            is_main_thread: false,
            process_name: String::new(),
            process_type: "default",
            process_startup_time: 0,
            process_shutdown_time: None,
            register_time: 0,
            unregister_time: None,
            paused_ranges: [],
            pid: String::new(),
            tid: 0,
            samples: Samples::default(),
            stack_table: StackTable::default(),
            frame_table: FrameTable::default(),
            func_table: FuncTable::default(),
            resource_table: ResourceTable::default(),
            native_symbols: json!({ "length": 0, "address": [], "functionSize": [], "libIndex": [], "name": [] }),
            markers: json!({ "length": 0, "category": [], "data": [], "endTime": [], "name": [], "phase": [], "startTime": [] }),
            string_array: Vec::new(),
            tables: Tables {
                names: &profile.names,
                frames: HashMap::new(),
                functions: HashMap::new(),
                stacks: HashMap::new(),
                strings: HashMap::new(),
                resources: vec![None; modules],
            },
        }
    }

    /// Adds a sample. `weight` is set right at the end.
    fn sample(&mut self, time: u64, stack: Option<u32>, weight: u64) {
        self.samples.time.push(time as f64 / 1e6);
        self.samples.stack.push(stack);
        self.samples.weight.push(weight as f64);
    }

    /// The number of a stack, root first.
    fn stack(&mut self, stack: impl Iterator<Item = Named>) -> Option<u32> {
        let mut prefix = None;
        for named in stack {
            let frame = self.frame(named);
            let new = self.stack_table.frame.len() as u32;
            let number = *self.tables.stacks.entry((prefix, frame)).or_insert(new);
            if number == new {
                self.stack_table.prefix.push(prefix);
                self.stack_table.frame.push(frame);
            }
            prefix = Some(number);
        }
        prefix
    }

    fn frame(&mut self, named: Named) -> u32 {
        let new = self.frame_table.func.len() as u32;
        let number = *self.tables.frames.entry(named).or_insert(new);
        if number == new {
            let Position { function, line } = self.tables.names.positions[named.position as usize];
            let function = self.function(function, named);
            self.frame_table.func.push(function);
            self.frame_table.category.push(category(named.kind));
            self.frame_table.line.push((line > 0).then_some(line));
        }
        number
    }

    /// The number of a function that is the frame `named` or part of it.
    fn function(&mut self, function: u32, Named { kind, module, .. }: Named) -> u32 {
        let new = self.func_table.name.len() as u32;
        let number = *self.tables.functions.entry((function, kind, module)).or_insert(new);
        if number == new {
            let names = self.tables.names;
            let name = self.string(&names.functions[function as usize].name);
            let file = names.file(function).map(|file| self.string(file));
            self.func_table.name.push(name);
            self.func_table.file_name.push(file);
            self.func_table.resource.push(-1);
            self.func_table.is_js.push(false);
        }
        number
    }

    fn string(&mut self, text: &'a str) -> u32 {
        let new = self.string_array.len() as u32;
        let number = *self.tables.strings.entry(text).or_insert(new);
        if number == new {
            self.string_array.push(text);
        }
        number
    }

    /// Fills the columns that follow from others. `is_time` says that weights are nanoseconds.
    fn finish(mut self, is_time: bool, modules: &'a [String]) -> Self {
        let mut functions: Vec<_> = self.tables.functions.drain().collect();
        functions.sort_by_key(|(_, number)| *number);
        for ((_, _, module), number) in functions {
            let Some(module) = module else { continue };
            let new = self.resource_table.lib.len() as u32;
            let resource = *self.tables.resources[module as usize].get_or_insert(new);
            if resource == new {
                self.resource_table.lib.push(module);
                self.resource_table.name.push(self.string_array.len() as u32);
                self.string_array.push(file_name(&modules[module as usize]));
                self.resource_table.kind.push(LIBRARY);
            }
            self.func_table.resource[number as usize] = i64::from(resource);
        }
        if is_time {
            self.samples.weight.iter_mut().for_each(|weight| *weight /= 1e6);
        }
        self.samples.weight_type = if is_time { "tracing-ms" } else { "samples" };
        self.samples.length = self.samples.stack.len();
        self.stack_table.length = self.stack_table.frame.len();
        let count = self.frame_table.func.len();
        let frames = &mut self.frame_table;
        frames.length = count;
        frames.address = vec![-1; count];
        frames.inline_depth = vec![0; count];
        frames.subcategory = vec![0; count];
        frames.native_symbol = vec![(); count];
        frames.inner_window_id = vec![0; count];
        frames.column = vec![(); count];
        let count = self.func_table.name.len();
        let functions = &mut self.func_table;
        functions.length = count;
        functions.relevant_for_js = vec![false; count];
        functions.line_number = vec![(); count];
        functions.column_number = vec![(); count];
        let resources = &mut self.resource_table;
        resources.length = resources.lib.len();
        resources.host = vec![(); resources.length];
        self
    }
}
