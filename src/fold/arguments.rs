//! Finds where the argument list of a function's name starts.
//!
//! Only C++, Java, .NET and a few others print argument lists. Parentheses are parts of names
//! elsewhere: in Go's `(*Client).Do`, in Crystal's `Array(Int32)`, in a regular expression, in the
//! path of a script. So a list is only what ends a name, apart from words that may follow a list,
//! such as `const`.

use std::ops::Range;

use bstr::ByteSlice;

/// How far `name` goes without its argument list and what follows it: `ns::f(int) const` ends
/// behind `ns::f`.
///
/// The list of an enclosing function stays, because it tells its overloads apart:
/// `process(std::string const&)::{lambda(int)#1}::operator()(int) const` loses `(int) const` alone.
pub(super) fn arguments_start(name: &[u8]) -> usize {
    if memchr::memchr(b'(', name).is_none() || has_no_lists(name) {
        return name.len();
    }
    let mut list = None;
    let has_path = parentheses(name, |group| {
        if is_list(&name[..group.start]) && may_follow_list(&name[group.end..]) {
            list = Some(group);
        }
    });
    list.filter(|list| !has_path || is_descriptor(&name[list.end..]))
        .map_or_else(|| mono_list(name).unwrap_or(name.len()), |list| list.start)
}

/// Calls `found` with the parentheses that are not inside others or inside brackets: from the
/// opening one to behind the closing one, or to the end of the name if there is none.
///
/// Answers whether there is a slash outside of all brackets: the name holds a path, or Java's name
/// of a class.
fn parentheses(name: &[u8], mut found: impl FnMut(Range<usize>)) -> bool {
    let mut has_path = false;
    // What is open, innermost last.
    let mut brackets = Vec::new();
    let mut open = None;
    let mut at = 0;
    while let Some(&byte) = name.get(at) {
        match byte {
            b'(' | b'<' | b'{' | b'[' => {
                if byte == b'(' && brackets.is_empty() {
                    open = Some(at);
                }
                brackets.push(byte);
            }
            // Java has brackets that nothing closes: `sort([I)V`.
            b')' => {
                if let Some(opened) = brackets.iter().rposition(|&bracket| bracket == b'(') {
                    brackets.truncate(opened);
                }
            }
            b'>' | b'}' | b']' => {
                let opening = match byte {
                    b'>' => b'<',
                    b'}' => b'{',
                    _ => b'[',
                };
                if brackets.last() == Some(&opening) {
                    brackets.pop();
                }
            }
            b'-' if name[at + 1..].starts_with(b">") => at += 1,
            b'/' if brackets.is_empty() => has_path |= !name[at..].starts_with(b"/0x"),
            b'o' => at += operator_len(name, at).saturating_sub(1),
            _ => {}
        }
        at += 1;
        if brackets.is_empty()
            && let Some(open) = open.take()
        {
            found(open..at);
        }
    }
    if let Some(open) = open {
        found(open..name.len());
    }
    has_path
}

/// Whether `name` is of a language whose names have no argument lists though they may end with a
/// parenthesis.
fn has_no_lists(name: &[u8]) -> bool {
    // What V8 writes before a name (its `CodeTag`s), and CPython before that of a Python function.
    const TAGS: [&[u8]; 14] = [
        b"JS:",
        b"RegExp:",
        b"LazyCompile:",
        b"Function:",
        b"Script:",
        b"Eval:",
        b"Builtin:",
        b"BytecodeHandler:",
        b"Handler:",
        b"Callback:",
        b"Stub:",
        b"NativeFunction:",
        b"NativeLazyCompile:",
        b"NativeScript:",
    ];
    // Crystal: `*Array(Int32)#each:Array(Int32)`, and `~procProc(Nil)` for its closures.
    let is_crystal = name.starts_with(b"*") || name.starts_with(b"~");
    let tag = name.find_byte(b':').map(|colon| &name[..=colon]);
    is_crystal
        || tag.is_some_and(|tag| TAGS.contains(&tag))
        || name.starts_with(b"wasm-function")
        || name.starts_with(b"py::")
}

/// Whether parentheses behind `before` are an argument list.
fn is_list(before: &[u8]) -> bool {
    match before.last() {
        // `(anonymous namespace)`, Go's `(*T)`, a word of its own such as `StubRoutines (1)`.
        None | Some(b' ' | b'.' | b':' | b'(') => false,
        // D's template arguments.
        Some(b'!') => before.ends_with(b"operator!"),
        Some(_) => !before.ends_with(b"decltype"),
    }
}

/// Whether `text` can stand behind an argument list.
fn may_follow_list(text: &[u8]) -> bool {
    if text.is_empty() {
        return true;
    }
    // Qualifiers of C++, of Swift.
    const WORDS: [&[u8]; 10] = [
        b" const",
        b" volatile",
        b" restrict",
        b" noexcept",
        b" &&",
        b" &",
        b" async",
        b" throws",
        b" rethrows",
        b" static",
    ];
    if let Some(rest) = WORDS.iter().find_map(|word| text.strip_prefix(*word)) {
        return may_follow_list(rest);
    }
    // Swift's type; in `closure #1 () -> () in main.f() -> ()` the first list is not that of the
    // function.
    if let Some(result) = text.strip_prefix(b" -> ") {
        return !result.contains_str(" in ");
    }
    // Copies that the optimizer made: `.isra.0`, `.cold`, ` [clone .isra.0]`, ` (.llvm.17)`. C++'s
    // constraints.
    const STARTS: [&[u8]; 11] = [
        b".isra",
        b".constprop",
        b".part",
        b".cold",
        b".llvm",
        b".lto_priv",
        b".localalias",
        b".clone",
        b" [clone ",
        b" (.",
        b" requires ",
    ];
    // What a version of the code is called: .NET's `[Tier0]`, `[abi:cxx11]`.
    let is_version = |text: &[u8]| {
        text.starts_with(b"[")
            && text.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"_:[]".contains(&byte))
    };
    // Kotlin/Native's types: `kfun:Foo#bar(kotlin.Int){}kotlin.Int`.
    text.starts_with(b"{")
        || STARTS.iter().any(|start| text.starts_with(start))
        || is_version(text)
        || is_descriptor(text)
}

/// The JVM's name of the type that a method returns: `V`, `[I`, `Ljava/lang/Object;` (JVMS 4.3.2).
fn is_descriptor(text: &[u8]) -> bool {
    let element = text.trim_start_with(|c| c == '[');
    match element.split_first() {
        Some((b'L', class)) => class.ends_with(b";"),
        Some((kind, b"")) => b"BCDFIJSZV".contains(kind),
        _ => false,
    }
}

/// Mono puts a blank before its lists: `System.String:Concat (string,string)`.
fn mono_list(name: &[u8]) -> Option<usize> {
    let blank = name.strip_suffix(b")")?.rfind(" (")?;
    let method = name[..blank].rsplit_once_str(" ").map_or(&name[..blank], |(_, method)| method);
    let colon = method.find_byte(b':')?;
    let is_method = colon > 0 && colon + 1 < method.len() && !method[colon..].starts_with(b"::");
    (is_method && !method.contains(&b'/')).then_some(blank)
}

/// The length of an operator whose signs look like brackets: `operator<<`, `operator->`,
/// `operator()`; and of `operator/`. 0 for anything else.
fn operator_len(name: &[u8], at: usize) -> usize {
    const SIGNS: [&[u8]; 13] = [
        b"<<=", b">>=", b"<=>", b"->*", b"<<", b">>", b"<=", b">=", b"->", b"<", b">", b"()", b"/",
    ];
    let starts_word = at == 0 || !(name[at - 1].is_ascii_alphanumeric() || name[at - 1] == b'_');
    match name[at..].strip_prefix(b"operator") {
        Some(rest) if starts_word => SIGNS
            .iter()
            .find(|sign| rest.starts_with(sign))
            .map_or(0, |sign| b"operator".len() + sign.len()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(name: &str) -> &str {
        &name[..arguments_start(name.as_bytes())]
    }

    #[test]
    fn lists_are_dropped_with_what_follows_them() {
        for (name, expected) in [
            ("f(int)", "f"),
            ("f(int", "f"),
            ("ns::A<int>::f(int) const &", "ns::A<int>::f"),
            ("f(int) [clone .isra.0] [clone .cold]", "f"),
            ("f(int) (.llvm.123)", "f"),
            ("f(int).cold", "f"),
            ("f[abi:cxx11](int)", "f[abi:cxx11]"),
            ("bool f<int>(int) requires C<int>", "bool f<int>"),
            ("A::operator()(int) const", "A::operator()"),
            ("A::operator()<int>(int)", "A::operator()<int>"),
            ("operator new[](unsigned long)", "operator new[]"),
            ("A::operator bool()", "A::operator bool"),
            ("A::operator/(A)", "A::operator/"),
            ("A::operator!(A)", "A::operator!"),
            ("A::operator,(A)", "A::operator,"),
            ("A::operator->*(int)", "A::operator->*"),
            ("decltype(auto) f(int)", "decltype(auto) f"),
            ("std::function<void (int)>::f(int)", "std::function<void (int)>::f"),
            ("g(int)::A::f(int)", "g(int)::A::f"),
            (
                "process(X&)::'lambda'(int)::operator()(int) const",
                "process(X&)::'lambda'(int)::operator()",
            ),
            // Java: perf-map-agent, jcmd Compiler.perfmap, a hidden class.
            ("Lcom/acme/Foo;::call(Ljava/lang/Object;I)V", "Lcom/acme/Foo;::call"),
            (".run()V", ".run"),
            ("Lcom/acme/Foo;::all([I)[Ljava/lang/Object;", "Lcom/acme/Foo;::all"),
            ("void com.acme.Foo.run(int, java.lang.String)", "void com.acme.Foo.run"),
            ("int J$$Lambda/0x00007f1c.apply(int)", "int J$$Lambda/0x00007f1c.apply"),
            // .NET, mono, Swift, Kotlin/Native.
            ("void [app] Foo::Bar(int32,!!0)[Tier0]", "void [app] Foo::Bar"),
            ("System.String:Concat (string,string)", "System.String:Concat"),
            (
                "(wrapper runtime-invoke) object:call (intptr)",
                "(wrapper runtime-invoke) object:call",
            ),
            ("main.f(_: Swift.Int) throws -> (Swift.Int) -> Swift.Int", "main.f"),
            ("closure #1 () -> () in main.f() -> ()", "closure #1 () -> () in main.f"),
            ("kfun:acme.Foo#bar(kotlin.Int){}kotlin.Int", "kfun:acme.Foo#bar"),
        ] {
            assert_eq!(without(name), expected);
        }
    }

    #[test]
    fn names_without_lists_are_whole() {
        for name in [
            "process(std::vector<int>&)::{lambda(int)#1}::operator()",
            "process(std::string const&)::{lambda(auto:1)#2}::operator()<int>",
            "A::operator()",
            "(anonymous namespace)::f",
            "x::(anonymous namespace)",
            "std::operator<< <char>",
            "core::ops::function::FnOnce<(u32,)>::call_once",
            "<fn() -> u8 as F>::call",
            "<impl Fn(u8) for (A, B)>::call",
            "net/http.(*Client).Do",
            "main.(*T)",
            "py::fib:/srv/app (v2)/m.py",
            "py::fib:/srv/app/m(1).py",
            "py::fib:/srv/app (v2)",
            "JS:~page /srv/(auth)/page.js:1:16",
            "JS:*f /srv/page(1)",
            "RegExp:^(a|b)(c)",
            "RegExp:f(x)",
            "LazyCompile:~f /srv/(x)/y.js",
            "StubRoutines (1)",
            "StubRoutines (initial stubs)",
            "*Array(Int32)#each:Array(Int32)",
            "*HTTP::Server#listen<Hash(String, Int32)>:Nil",
            "~procProc(HTTP::Server::Context, Nil)",
            "std.stdio.writeln!(int)",
            "array_list.ArrayList(u8).append",
            "hot@/srv/app (copy)/lib.rb",
            "hot@/srv/lib(1)",
            "-[NSView(Drawing) draw:]",
            "[(foo)]::bar",
            "(foo)",
        ] {
            assert_eq!(without(name), name);
        }
    }
}
