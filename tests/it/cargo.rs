//! Tests what `cargo flamegraph` builds and how it runs it, on small workspaces, with cargo itself
//! as the oracle.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bstr::ByteSlice;
use flamepipe::cargo::{
    Build, Built, Chosen, Config, Kind, Launch, Profile, Request, Target, UnitKind, Wanted, choose,
    metadata, prepare,
};
use flamepipe::error::{Error, Result};

use crate::harness::{Dir, cannot_run, repo};

mod program;

/// Where a workspace is built: paths may hold anything.
const WORK: &str = "wörk here";
const TARGET: &str = "tärget dir";

/// A copy of a workspace of tests/fixtures/cargo, whose target folder goes with it.
struct Workspace(Dir);

impl Workspace {
    /// `None`, with a message, if there is no cargo.
    fn new(name: &str) -> Option<Workspace> {
        if let Err(error) = Command::new(cargo()).arg("-V").output() {
            cannot_run(&format!("a test of the workspace {name}"), &format!("no cargo: {error}"));
            return None;
        }
        let dir = Dir::new();
        copy(&repo().join("tests/fixtures/cargo").join(name), &dir.path(WORK));
        Some(Workspace(dir))
    }

    fn path(&self, folder: &str) -> PathBuf {
        let work = self.0.path(WORK);
        // The system resolves links in a working directory, such as the /tmp of macOS.
        let work = if cfg!(windows) { work } else { work.canonicalize().unwrap() };
        work.join(folder).components().collect()
    }

    fn build(&self) -> Build {
        let target_dir = Some(self.0.path(TARGET));
        // Without more debug information, these builds are also cargo's own.
        Build { target_dir, offline: true, quiet: true, no_debuginfo: true, ..Build::default() }
    }

    /// Writes a file of the workspace.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        self.0.write(&format!("{WORK}/{name}"), content);
    }

    /// Reads a file of the workspace.
    #[cfg(target_os = "linux")]
    fn read(&self, name: &str) -> bstr::BString {
        self.0.read(&format!("{WORK}/{name}"))
    }

    fn choose(&self, folder: &str, wanted: Wanted, package: Option<&str>) -> Result<Target> {
        let metadata = metadata(&cargo(), &self.build(), &self.path(folder))?;
        let package = package.map(str::to_owned);
        choose(&metadata, &Request { wanted, package, ..Request::default() })
    }

    fn prepare(
        &self,
        folder: &str,
        wanted: Wanted,
        build: Build,
        args: &[&str],
    ) -> (Launch, String) {
        let config = Config { request: Request { wanted, ..Request::default() }, build };
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let mut said = String::new();
        let launch = prepare(&config, &self.path(folder), &args, &mut |line| {
            said.push_str(line);
            said.push('\n');
        });
        (launch.unwrap_or_else(|error| panic!("{error}\n{said}")), said)
    }

    /// cargo's own doing, for comparison.
    fn cargo(&self, folder: &str, args: &[&str]) -> (bool, String) {
        let mut command = Command::new(cargo());
        command.args(args).current_dir(self.path(folder)).stdin(Stdio::null());
        command.env("CARGO_BUILD_TARGET_DIR", self.0.path(TARGET)).env_remove("CARGO_TARGET_DIR");
        run(command)
    }
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or("cargo".into())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

fn run(mut command: Command) -> (bool, String) {
    let output = command.output().unwrap();
    (output.status.success(), output.stdout.to_str_lossy().into_owned())
}

fn launched(launch: &Launch) -> String {
    let mut command = Command::new(&launch.program);
    command.args(&launch.args).envs(launch.env.clone()).current_dir(&launch.cwd);
    let (success, stdout) = run(command);
    assert!(success, "{launch:?}\n{stdout}");
    stdout
}

fn refused<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Choice { .. }), "{error:?}");
    format!("{error}; {}", error.remedy().unwrap())
}

#[test]
fn several_binaries_are_listed() {
    let Some(workspace) = Workspace::new("bins") else { return };
    let problem = refused(workspace.choose("", Wanted::Run, None));
    assert_eq!(
        problem,
        "several targets match: alpha, beta; name one with --bin, or set default-run in Cargo.toml"
    );
    assert!(!workspace.cargo("", &["run", "-q", "--offline"]).0, "nor does cargo run choose");
    let beta = workspace.choose("src", Wanted::Bin("beta".into()), None).unwrap();
    assert_eq!((beta.name.as_str(), beta.chosen, beta.needs_spec), ("beta", Chosen::Named, false));
    assert_eq!(
        refused(workspace.choose("", Wanted::Bin("gamma".into()), None)),
        "package bins has no bin target `gamma`; the workspace has: alpha, beta; \
         name one of them, and its package with --package if needed"
    );
    let alike = refused(workspace.choose("", Wanted::Bin("alhpa".into()), None));
    assert!(alike.ends_with("; a target with a similar name exists: alpha"), "{alike}");
    assert_eq!(
        refused(workspace.choose("", Wanted::Run, Some("other"))),
        "the workspace has no package `other`; it has: bins; name one of them with --package"
    );
    assert!(
        workspace.choose("", Wanted::Bin("beta".into()), Some("bins@0.1.0")).unwrap().needs_spec
    );
}

#[test]
fn default_run_is_what_cargo_run_runs() {
    let Some(workspace) = Workspace::new("default-run") else { return };
    let target = workspace.choose("", Wanted::Run, None).unwrap();
    assert_eq!((target.name.as_str(), target.chosen), ("two", Chosen::Default));
    assert_eq!(target.announcement(), None);
    // As in 0.6.15, it also decides between the unit tests of several binaries; that is said.
    let unit = workspace.choose("", Wanted::UnitTest(None, None), None).unwrap();
    assert_eq!((unit.name.as_str(), unit.kind), ("two", Kind::UnitTest(UnitKind::Bin)));
    assert!(unit.announcement().unwrap().contains("name another one with --unit-test=NAME"));
}

#[test]
fn every_kind_of_target() {
    let Some(workspace) = Workspace::new("kinds") else { return };
    let choose = |wanted| workspace.choose("", wanted, None);
    let name = || "kinds".to_owned();
    assert_eq!(choose(Wanted::Example("show".into())).unwrap().kind, Kind::Example);
    assert_eq!(choose(Wanted::Test("whole".into())).unwrap().kind, Kind::Test);
    assert_eq!(choose(Wanted::Bench("speed".into())).unwrap().kind, Kind::Bench);
    assert_eq!(choose(Wanted::Bin(name())).unwrap().kind, Kind::Bin);
    assert_eq!(
        refused(choose(Wanted::UnitTest(Some(name()), None))),
        "several targets match: lib kinds, bin kinds; \
         choose with --unit-test-kind bin or --unit-test-kind lib"
    );
    let unit = choose(Wanted::UnitTest(None, None)).unwrap();
    assert_eq!((unit.kind, unit.chosen), (Kind::UnitTest(UnitKind::Lib), Chosen::Library));
    assert_eq!(
        unit.announcement().unwrap(),
        "automatically selected lib target kinds in package kinds@0.1.0 because the library comes first; \
         name another one with --test NAME or --unit-test=NAME"
    );
    let lib = choose(Wanted::UnitTest(None, Some(UnitKind::Lib))).unwrap();
    assert_eq!(lib.kind, Kind::UnitTest(UnitKind::Lib));
    assert_eq!(
        lib.announcement().unwrap(),
        "automatically selected lib target kinds in package kinds@0.1.0 because it is the only valid target"
    );
    assert_eq!(
        refused(choose(Wanted::Bin("show".into()))),
        "package kinds has no bin target `show`; the workspace has: extra, kinds; \
         a target of another kind has this name: use --example show"
    );
    let bin = choose(Wanted::UnitBench(Some(name()), Some(UnitKind::Bin))).unwrap();
    assert_eq!(bin.kind, Kind::UnitBench(UnitKind::Bin));
}

#[test]
fn a_virtual_workspace_is_seen_from_where_one_stands() {
    let Some(workspace) = Workspace::new("virtual") else { return };
    let name = |folder, wanted, package| {
        let target = workspace.choose(folder, wanted, package).unwrap();
        (target.spec, target.name, target.needs_spec)
    };
    let is = |spec: &str, name: &str, needs: bool| (spec.to_owned(), name.to_owned(), needs);
    // The default members, the package of the working directory, and a named package.
    assert_eq!(name("", Wanted::Run, None), is("one@0.1.0", "one", false));
    assert_eq!(name("two", Wanted::Run, None), is("two@0.1.0", "two", false));
    assert_eq!(name("two/src", Wanted::Run, None), is("two@0.1.0", "two", false));
    assert_eq!(name("", Wanted::Run, Some("two")), is("two@0.1.0", "two", true));
    // Default members go first, but targets of other members are found.
    assert_eq!(name("", Wanted::Test("whole".into()), None), is("three@0.1.0", "whole", false));
    assert_eq!(name("", Wanted::Example("show".into()), None), is("two@0.1.0", "show", true));
    // `cargo test --lib` alone would build the libraries of all default members.
    let lib = Wanted::UnitTest(None, Some(UnitKind::Lib));
    assert_eq!(name("", lib, None), is("three@0.1.0", "three", true));
    // `three` has no binary. cargo run gives up, and so do we, because two other packages have one.
    let problem = refused(workspace.choose("three", Wanted::Run, None));
    assert_eq!(
        problem,
        "several targets match: one in one, two in two; \
         name one with --bin, or set default-run in Cargo.toml"
    );
    let manifest = Build { manifest_path: Some("two/Cargo.toml".into()), ..workspace.build() };
    let metadata = metadata(&cargo(), &manifest, &workspace.path("")).unwrap();
    assert_eq!(choose(&metadata, &Request::default()).unwrap().name, "two");
}

#[test]
fn the_choice_is_cargos() {
    let Some(workspace) = Workspace::new("virtual") else { return };
    for (folder, package) in
        [("", None), ("two", None), ("", Some("two")), ("one/src", Some("two"))]
    {
        let chosen = workspace.choose(folder, Wanted::Run, package).unwrap();
        let mut line = vec!["run", "-q", "--offline"];
        line.extend(package.iter().flat_map(|package| ["-p", package]));
        let (success, printed) = workspace.cargo(folder, &line);
        assert!(
            success && printed.trim() == chosen.name,
            "{folder:?} {package:?}: {chosen:?}, {printed}"
        );
    }
}

/// Asserts that two printed environments are the same, except for variables that differ in every
/// process.
#[track_caller]
fn same_environment(ours: &str, cargos: &str, but: &[&str]) {
    let ours = variables(ours, but);
    let cargos = variables(cargos, but);
    // Only what differs is shown: environments hold secrets.
    let names = ours.keys().chain(cargos.keys());
    let different = names.filter(|name| ours.get(*name) != cargos.get(*name));
    let different: Vec<_> =
        different.map(|name| (name, ours.get(name), cargos.get(name))).collect();
    assert!(different.is_empty(), "name, ours, cargo's: {different:#?}");
}

fn variables<'a>(text: &'a str, but: &[&str]) -> BTreeMap<&'a str, &'a str> {
    let process = ["_", "RUST_RECURSION_COUNT", "CARGO_BUILD_TARGET_DIR", "CARGO_TARGET_DIR"];
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(name, _)| !process.contains(name) && !but.contains(name)).collect()
}

#[test]
fn the_environment_is_cargos() {
    let Some(workspace) = Workspace::new("default-run") else { return };
    workspace.write(
        ".cargo/config.toml",
        "[env]\nFROM_CONFIG = \"yes\"\nPATH = \"/not/forced\"\n\
         HERE = { value = \"here\", relative = true }\n\
         CARGO_PKG_NAME = { value = \"not even by force\", force = true }\n",
    );
    let (launch, said) = workspace.prepare("src", Wanted::Run, workspace.build(), &["a b", "--c"]);
    let ours = launched(&launch);
    let line = ["run", "-q", "--offline", "--release", "--", "a b", "--c"];
    let (success, cargos) = workspace.cargo("src", &line);
    assert!(success);
    same_environment(&ours, &cargos, &[]);
    for printed in ["args=[\"a b\", \"--c\"]", "FROM_BUILD_SCRIPT=one two", "FROM_CONFIG=yes"] {
        assert!(cargos.contains(printed), "{printed}");
    }
    assert_eq!(launch.cwd, workspace.path("src"));
    let advice = "omit --no-debuginfo, or set debug = 1 in [profile.release] of Cargo.toml";
    assert!(said.contains(advice), "{said}");
}

#[test]
fn the_environment_is_cargos_in_tests_too() {
    let Some(workspace) = Workspace::new("default-run") else { return };
    let host = host();
    let cross = Build { triple: Some(host.clone()), ..workspace.build() };
    let tests = [
        // Tests run in the package's root, and integration tests know its binaries.
        (workspace.build(), Wanted::Test("around".into()), vec!["--test", "around"]),
        (workspace.build(), Wanted::UnitTest(None, None), vec!["--bin", "two"]),
        (cross, Wanted::Test("around".into()), vec!["--test", "around", "--target", &host]),
    ];
    for (build, wanted, flags) in tests {
        let (launch, _) = workspace.prepare("src", wanted, build, &["--nocapture"]);
        let mut line = vec!["test", "-q", "--offline", "--release"];
        line.extend(flags);
        line.extend(["--", "--nocapture"]);
        let (success, cargos) = workspace.cargo("src", &line);
        assert!(success);
        // `cargo test -q` hands its -q on to the harness.
        same_environment(&launched(&launch), &cargos, &["args"]);
        assert_eq!(launch.cwd, workspace.path(""));
    }
}

/// Native libraries, those of the compiler, a profile of the workspace, and every kind of target.
#[cfg(unix)]
#[test]
fn libraries_are_found_as_cargo_finds_them() {
    let Some(workspace) = Workspace::new("mixed") else { return };
    let print = std::fs::read(repo().join("tests/fixtures/cargo/default-run/src/print.rs"));
    let print = print.unwrap();
    workspace.write("app/src/print.rs", &print);
    workspace.write("macros/src/print.rs", &print);
    let mine = Build { profile: Profile::Named("mine".into()), ..workspace.build() };
    let plain = || workspace.build();
    let show = || Wanted::Example("show".into());
    let unit = || Wanted::UnitTest(None, None);
    for (folder, wanted, build, line, arguments) in [
        ("app/src", Wanted::Run, plain(), "run --release", "a 'b ü' --c"),
        ("", show(), mine, "run --profile mine --example show", "x"),
        ("", Wanted::Test("around".into()), plain(), "test --release --test around", "--nocapture"),
        ("app/src", unit(), plain(), "test --release --lib", "unit --nocapture"),
        ("macros", unit(), plain(), "test --release --lib", "--nocapture"),
        ("app", Wanted::Bench("tiny".into()), plain(), "bench --bench tiny", "x"),
    ] {
        let arguments = shlex::split(arguments).unwrap();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (launch, _) = workspace.prepare(folder, wanted, build, &arguments);
        let line: Vec<&str> = line.split(' ').chain(["-q", "--offline", "--"]).collect();
        let (success, cargos) = workspace.cargo(folder, &[&line[..], &arguments].concat());
        assert!(success, "{line:?}");
        assert!(folder == "macros" || cargos.contains("answer=42"), "{cargos}");
        // `cargo test -q` hands its -q on to the harness.
        let but = if line[0] == "test" { &["args"][..] } else { &[] };
        same_environment(&launched(&launch), &cargos, but);
    }
}

/// The platform we are on.
fn host() -> String {
    let mut rustc = Command::new("rustc");
    rustc.arg("-vV");
    let (_, about) = run(rustc);
    about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

#[test]
fn harnesses_and_benchmarks_get_what_cargo_gives_them() {
    let Some(workspace) = Workspace::new("kinds") else { return };
    let lines = Build { profile: Profile::Named("release-lines".into()), ..workspace.build() };

    let (launch, said) =
        workspace.prepare("", Wanted::Bench("speed".into()), workspace.build(), &["x"]);
    assert_eq!(launch.args, ["x", "--bench"]);
    assert_eq!(launched(&launch), "[\"x\", \"--bench\"]\n");
    for typed in [&["--bench"][..], &["--bench", "x"], &["x", "--bench"]] {
        let wanted = Wanted::Bench("speed".into());
        let (launch, _) = workspace.prepare("", wanted, workspace.build(), typed);
        assert_eq!(launch.args, typed, "--bench is passed once, also if it was typed");
    }
    assert!(said.contains("set debug = 1 in [profile.bench]"), "{said}");

    let name = || Some("kinds".to_owned());
    let lib = Wanted::UnitTest(name(), Some(UnitKind::Lib));
    let (launch, said) = workspace.prepare("", lib, lines.clone(), &[]);
    assert!(launched(&launch).contains("test doubles ... ok"));
    assert_eq!(said, "", "line tables are debug information");

    let bin = Wanted::UnitTest(name(), Some(UnitKind::Bin));
    let (launch, _) = workspace.prepare("", bin, lines.clone(), &[]);
    let printed = launched(&launch);
    assert!(
        printed.contains("test of_the_binary ... ok"),
        "the harness, not the binary: {printed}"
    );

    let (launch, _) = workspace.prepare("", Wanted::Bin("kinds".into()), lines, &[]);
    assert_eq!(launched(&launch), "42\n");

    let dev = Build { profile: Profile::Dev, ..workspace.build() };
    let (launch, said) = workspace.prepare("", Wanted::Example("show".into()), dev, &[]);
    assert_eq!((launched(&launch).as_str(), said.as_str()), ("2\n", ""));
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_profile_strips_is_told() {
    let Some(workspace) = Workspace::new("kinds") else { return };
    for (strip, debug, what, remedy) in [
        ("true", "true", "functions will have no names", "set strip = \"none\" in"),
        ("true", "false", "functions will", "set strip = \"none\" and debug = 1 in"),
        ("'debuginfo'", "true", "the profile strips debug", "set strip = \"none\" in"),
        ("'none'", "false", "the profile has no debug information", "set debug = 1 in"),
    ] {
        let config = [("strip", strip), ("debug", debug)]
            .map(|(name, value)| format!("profile.release.{name}={value}"));
        let build = Build { config: config.to_vec(), ..workspace.build() };
        let (_, said) = workspace.prepare("", Wanted::Bin("kinds".into()), build, &[]);
        assert!(said.contains(what) && said.contains(remedy), "{strip} {debug}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn debug_information_is_added_for_one_build() {
    let Some(workspace) = Workspace::new("kinds") else { return };
    let cargo_builds = || {
        let line = ["build", "-q", "--offline", "--release", "--bin", "kinds"];
        let (success, messages) =
            workspace.cargo("", &[&line[..], &["--message-format", "json"]].concat());
        assert!(success);
        messages.contains("\"fresh\":false")
    };
    assert!(cargo_builds());
    for (stripped, set) in [
        ("", "building with profile.release.debug=1 and profile.release.strip=\"none\" for"),
        ("profile.release.strip=true", "profile.release.debug=1 and profile.release.strip"),
    ] {
        let config = Some(stripped.to_owned()).filter(|setting| !setting.is_empty());
        let config = config.into_iter().collect();
        let build = Build { no_debuginfo: false, config, ..workspace.build() };
        let (_, said) = workspace.prepare("", Wanted::Bin("kinds".into()), build, &[]);
        assert!(said.contains(set) && said.lines().count() == 1, "nothing is missing: {said}");
    }
    assert!(!cargo_builds(), "the user's own build is still up to date");
    let lines = Build {
        profile: Profile::Named("release-lines".into()),
        no_debuginfo: false,
        ..workspace.build()
    };
    let (_, said) = workspace.prepare("", Wanted::Bin("kinds".into()), lines, &[]);
    assert_eq!(said, "", "the user's choice of debug information is left alone");
}

#[test]
fn a_failed_build_is_one_line() {
    let Some(workspace) = Workspace::new("kinds") else { return };
    let request = Request { wanted: Wanted::Bin("extra".into()), ..Request::default() };
    let mut config = Config { request, build: workspace.build() };
    let error = prepare(&config, &workspace.path(""), &[], &mut |_| {}).unwrap_err();
    assert!(error.to_string().starts_with("cargo build failed (exit status: 101)"), "{error}");
    config.build.features = vec!["more".into()];
    prepare(&config, &workspace.path(""), &[], &mut |_| {}).unwrap();

    let nowhere = Dir::new();
    let error = prepare(&Config::default(), &nowhere.path(""), &[], &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("could not find `Cargo.toml`"), "{error}");
}

#[cfg(unix)]
#[test]
fn the_target_runner_runs_it() {
    let Some(workspace) = Workspace::new("kinds") else { return };
    // Relative to the folder of the file, wherever one stands.
    workspace.write(".cargo/config.toml", "[target.'cfg(unix)']\nrunner = ['./run.sh', 'first']\n");
    let (launch, said) =
        workspace.prepare("src", Wanted::Example("show".into()), workspace.build(), &["x"]);
    assert_eq!(Path::new(&launch.program), workspace.path("run.sh"));
    let [first, executable, x] = launch.args.as_slice() else { panic!("{:?}", launch.args) };
    assert_eq!((first, x), (&"first".into(), &"x".into()));
    assert!(Path::new(executable).ends_with("release/examples/show"));
    assert!(said.contains("target runner"), "{said}");
}

#[test]
fn messages_that_are_none() {
    let Some(workspace) = Workspace::new("bins") else { return };
    let target = workspace.choose("", Wanted::Bin("alpha".into()), None).unwrap();
    let built = Built::read(b"a macro says\n\xff\n\n{\"reason\":\"to-come\"}\n");
    assert_eq!(built.talk.first().unwrap(), "a macro says");
    assert!(refused(built.artifact(&target)).contains("cargo built nothing for alpha"));
}
