//! A program: whether its functions will have names, and whether its stacks can be unwound.

use std::path::Path;

use object::{Architecture, File, Object, ObjectSection, ObjectSymbol};

use super::Finding;
use crate::lookup;

/// Examines the program that `typed` names, as a shell would find it.
pub(super) fn examine(typed: &Path) -> Vec<Finding> {
    let subject = typed.display().to_string();
    let Ok(path) = lookup::find(typed.as_os_str()) else {
        let remedy = "name an existing program, or build it first";
        return vec![Finding::error(&subject, "no such program can be run", remedy)];
    };
    let Ok(bytes) = std::fs::read(&path) else {
        return vec![Finding::error(&subject, "cannot be read", "make it readable for you")];
    };
    if let Some(interpreter) = interpreter(&bytes) {
        let what = format!("a script of {interpreter}, whose functions are what will be seen");
        return vec![Finding::note(&subject, what, "")];
    }
    match File::parse(&*bytes) {
        Ok(file @ (File::Elf32(_) | File::Elf64(_))) => of_elf(&file),
        _ => vec![Finding::note(&subject, "not an ELF file: names may be missing", "")],
    }
}

/// The first line of a script: `#!/usr/bin/env python3`.
fn interpreter(bytes: &[u8]) -> Option<String> {
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).trim().to_owned())
}

fn of_elf(file: &File<'_>) -> Vec<Finding> {
    let has = |name: &str| file.section_by_name(name).is_some_and(|section| section.size() > 0);
    let is_go = has(".gopclntab");
    let build_id = file.build_id().ok().flatten();
    let hint = "a build with debug information: -g, or debug = 1 in the profile of cargo";
    let mut findings = Vec::new();
    findings.push(if has(".symtab") || has(".gnu_debugdata") {
        Finding::ok("symbols", "functions have names")
    } else {
        let what = "stripped: only functions that it exports have names";
        Finding::note("symbols", what, "omit -s and strip, or strip = \"none\" in Cargo.toml")
    });
    findings.push(if has(".debug_info") {
        Finding::ok("debug information", "inlined functions have names")
    } else if has(".gnu_debuglink") || build_id.is_some() {
        let what = "not in the file: inlined functions have names only if a debug file is found";
        Finding::note("debug information", what, &format!("{hint}; or --debuginfod"))
    } else {
        Finding::note("debug information", "none: inlined functions will be missing", hint)
    });
    findings.push(if has(".eh_frame") || has(".debug_frame") {
        Finding::ok("call frame information", "stacks can be unwound")
    } else {
        let what = "none: stacks are unwound by frame pointers and by reading code";
        Finding::note("call frame information", what, "build with -fasynchronous-unwind-tables")
    });
    if is_go {
        // They are stored after the stack is grown, so the start of a function does not show them.
        let what = "Go keeps them; --call-graph fp works";
        findings.push(Finding::ok("frame pointers", what));
    } else if let Some(share) = frame_pointers(file) {
        let what = format!("{share} % of the functions keep one");
        findings.push(if share >= 90 {
            Finding::ok("frame pointers", format!("{what}; --call-graph fp works"))
        } else {
            Finding::ok(
                "frame pointers",
                format!("{what}; they are needed only for --call-graph fp"),
            )
        });
    }
    findings.push(match build_id {
        Some(id) => {
            let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            Finding::ok("build id", id)
        }
        None => {
            let what = "none: recordings cannot tell this build from another one";
            let remedy =
                if is_go { "build with Go 1.24 or newer" } else { "link with -Wl,--build-id" };
            Finding::note("build id", what, remedy)
        }
    });
    findings
}

/// How many functions in a hundred start with the instructions that save a frame pointer; `None`
/// if there are no functions to look at.
fn frame_pointers(file: &File<'_>) -> Option<u64> {
    // push %rbp; mov %rsp,%rbp in both encodings
    const X86_64: [&[u8]; 2] = [b"\x55\x48\x89\xe5", b"\x55\x48\x8b\xec"];
    // The mark of a target of indirect jumps may come first.
    const ENDBR64: &[u8] = b"\xf3\x0f\x1e\xfa";
    if file.architecture() != Architecture::X86_64 {
        return None;
    }
    let section = file.section_by_name(".text")?;
    let code = section.data().ok()?;
    let functions = file.symbols().filter(|symbol| symbol.is_definition() && symbol.size() > 32);
    let mut all = 0;
    let mut with = 0;
    for function in functions.filter(|symbol| symbol.kind() == object::SymbolKind::Text) {
        let offset = function.address().checked_sub(section.address());
        let start = offset.and_then(|offset| code.get(usize::try_from(offset).ok()?..));
        let Some(start) = start else { continue };
        let start = start.strip_prefix(ENDBR64).unwrap_or(start);
        all += 1;
        with += u64::from(X86_64.iter().any(|prologue| start.starts_with(prologue)));
    }
    (all > 0).then(|| with * 100 / all)
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn what_is_no_program() {
        let error = &examine(Path::new("./no/such/program"))[0];
        assert_eq!(error.severity, Severity::Error);
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        std::fs::write(&script, "#!/usr/bin/env python3\nprint()\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        assert!(examine(&script)[0].what.contains("/usr/bin/env python3"));
        std::fs::write(&script, "text").unwrap();
        assert!(examine(&script)[0].what.contains("not an ELF file"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_test_has_names() {
        let findings = examine(&std::env::current_exe().unwrap());
        let of =
            |subject: &str| findings.iter().find(|finding| finding.subject == subject).unwrap();
        for subject in ["symbols", "debug information", "call frame information", "build id"] {
            assert_eq!(of(subject).severity, Severity::Ok, "{subject}: {findings:?}");
        }
    }
}
