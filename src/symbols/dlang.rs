//! Demangles D: `_D3std5stdio__T7writelnTAyaZQnFNfQjZv` is `std.stdio.writeln!(immutable(char)[])`.
//!
//! The result has no parameters and no type of the function itself, as in C++. Format: the D ABI,
//! <https://dlang.org/spec/abi.html#name_mangling>. A name with a part that is not read stays
//! mangled.

/// The most steps and the most bytes of a name. One that exceeds them refers to itself again and
/// again.
const MOST_STEPS: usize = 4096;
const LONGEST: usize = 16 << 10;

/// Demangles `symbol`. `None` if it is not a name of D in a known form.
pub(super) fn demangle(symbol: &str) -> Option<String> {
    // Drop the suffix of an optimizer.
    let symbol = symbol.split_once('.').map_or(symbol, |(name, _)| name);
    if symbol == "_Dmain" {
        return Some("D main".into());
    }
    let text = symbol.as_bytes();
    let mut parser = Parser { text, at: 2, steps: 0, refers_from: text.len(), out: String::new() };
    let is_d = symbol.starts_with("_D") && parser.is_name();
    if !is_d || !symbol.is_ascii() {
        return None;
    }
    parser.qualified()?;
    let name = std::mem::take(&mut parser.out);
    if parser.at < parser.text.len() {
        parser.type_of_symbol()?;
    }
    (parser.at == parser.text.len()).then_some(name)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    steps: usize,
    /// The offset of the reference to a type that is being followed.
    refers_from: usize,
    out: String,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn step(&mut self) -> Option<()> {
        self.steps += 1;
        (self.steps < MOST_STEPS && self.out.len() < LONGEST).then_some(())
    }

    fn number(&mut self) -> Option<usize> {
        let mut value = None;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            let before: usize = value.unwrap_or(0);
            value = Some(before.checked_mul(10)?.checked_add(usize::from(digit - b'0'))?);
            self.at += 1;
        }
        value
    }

    /// The offset that `Q` refers to. It has the distance back in base 26, with the last digit in
    /// lower case.
    fn reference(&mut self) -> Option<usize> {
        let from = self.at;
        if !self.eat(b'Q') {
            return None;
        }
        let mut distance = 0usize;
        loop {
            let byte = self.next()?;
            let (digit, is_last) = match byte {
                b'A'..=b'Z' => (byte - b'A', false),
                b'a'..=b'z' => (byte - b'a', true),
                _ => return None,
            };
            distance = distance.checked_mul(26)?.checked_add(digit.into())?;
            if is_last {
                return from.checked_sub(distance).filter(|_| distance > 0);
            }
        }
    }

    /// Whether a name starts here.
    fn is_name(&mut self) -> bool {
        match self.peek() {
            Some(b'0'..=b'9') => true,
            Some(b'_') => self.is_template(),
            Some(b'Q') => {
                let at = self.at;
                let target = self.reference();
                self.at = at;
                target.and_then(|target| self.text.get(target)).is_some_and(u8::is_ascii_digit)
            }
            _ => false,
        }
    }

    /// Whether the type of a function starts here, with its calling convention.
    fn is_function(&self) -> bool {
        self.peek().is_some_and(|call| b"FUWVRY".contains(&call))
    }

    fn is_template(&self) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        rest.starts_with(b"__T") || rest.starts_with(b"__U")
    }

    /// Names of modules, types and functions, joined by dots. The parameters of an enclosing
    /// function stay, because they distinguish its overloads.
    fn qualified(&mut self) -> Option<()> {
        let start = self.out.len();
        loop {
            self.step()?;
            while self.eat(b'0') {}
            let before = self.out.len();
            if before > start {
                self.out.push('.');
            }
            let empty = self.out.len();
            self.name()?;
            if self.out.len() == empty {
                self.out.truncate(before);
            }
            let end = self.at;
            let length = self.out.len();
            if self.peek() == Some(b'M') || self.is_function() {
                if self.eat(b'M') {
                    self.modifiers();
                }
                let is_enclosing = self.parameters().is_some() && self.is_name();
                if !is_enclosing {
                    self.out.truncate(length);
                    self.at = end;
                    return Some(());
                }
            }
            if !self.is_name() {
                return Some(());
            }
        }
    }

    fn name(&mut self) -> Option<()> {
        self.step()?;
        if self.is_template() {
            return self.template();
        }
        if self.peek() == Some(b'Q') {
            let target = self.reference()?;
            let after = std::mem::replace(&mut self.at, target);
            self.identifier()?;
            self.at = after;
            return Some(());
        }
        self.identifier()
    }

    /// A length and that many bytes.
    fn identifier(&mut self) -> Option<()> {
        let length = self.number()?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.text.len())?;
        if self.is_template() && length > 4 {
            self.template()?;
            return (self.at == end).then_some(());
        }
        let name = std::str::from_utf8(self.text.get(self.at..end)?).ok()?;
        self.at = end;
        let is_fake =
            |number: &str| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        match name {
            "__ctor" => self.out.push_str("this"),
            "__dtor" => self.out.push_str("~this"),
            // A parent that only distinguishes names.
            _ if name.strip_prefix("__S").is_some_and(is_fake) => {}
            _ => self.out.push_str(name),
        }
        Some(())
    }

    /// `__T4swapTiZ` is `swap!(int)`.
    fn template(&mut self) -> Option<()> {
        self.step()?;
        self.at += 3;
        self.name()?;
        self.out.push_str("!(");
        let start = self.out.len();
        while !self.eat(b'Z') {
            self.separate(start);
            self.eat(b'H');
            match self.next()? {
                b'T' => self.type_name()?,
                b'S' => {
                    let is_mangled = self.text.get(self.at..)?.starts_with(b"_D");
                    self.at += if is_mangled { 2 } else { 0 };
                    self.qualified()?;
                    if is_mangled {
                        self.type_of_symbol()?;
                    }
                }
                b'V' => {
                    let kind = self.peek()?;
                    let length = self.out.len();
                    self.type_name()?;
                    // The value of a struct starts with its type: `app.S(1, "abc")`.
                    if self.peek()? != b'S' {
                        self.out.truncate(length);
                    }
                    self.value(kind)?;
                }
                b'X' => self.identifier()?,
                _ => return None,
            }
        }
        self.out.push(')');
        Some(())
    }

    fn value(&mut self, kind: u8) -> Option<()> {
        self.step()?;
        match self.peek()? {
            b'n' => {
                self.at += 1;
                self.out.push_str("null");
            }
            b'a' | b'w' | b'd' => self.string()?,
            b'A' => self.values('[', kind == b'H', ']')?,
            b'S' => self.values('(', false, ')')?,
            b'e' => {
                self.at += 1;
                let real = self.real()?;
                self.out.push_str(&real.to_string());
            }
            b'c' => {
                self.at += 1;
                let real = self.real()?;
                if !self.eat(b'c') {
                    return None;
                }
                let imaginary = self.real()?;
                self.out.push_str(&format!("{real}{imaginary:+}i"));
            }
            sign => {
                if sign == b'N' || sign == b'i' {
                    self.at += 1;
                }
                let number = self.number()?;
                match kind {
                    b'b' => self.out.push_str(if number == 0 { "false" } else { "true" }),
                    b'a' | b'u' | b'w' => {
                        let character = char::from_u32(number.try_into().ok()?)?;
                        self.out.push_str(&format!("{character:?}"));
                    }
                    _ => {
                        let minus = if sign == b'N' { "-" } else { "" };
                        self.out.push_str(&format!("{minus}{number}"));
                    }
                }
            }
        }
        Some(())
    }

    /// `A2i1i2` is `[1, 2]`; of keys and their values, `A1i1i2` is `[1:2]`.
    fn values(&mut self, open: char, are_pairs: bool, close: char) -> Option<()> {
        self.at += 1;
        self.out.push(open);
        let start = self.out.len();
        for _ in 0..self.number()? {
            self.separate(start);
            self.value(0)?;
            if are_pairs {
                self.out.push(':');
                self.value(0)?;
            }
        }
        self.out.push(close);
        Some(())
    }

    /// Writes a comma, unless nothing was written since `start`.
    fn separate(&mut self, start: usize) {
        if self.out.len() > start {
            self.out.push_str(", ");
        }
    }

    /// `N18P1` is -0x1.8p1, which is -3. A `real` has more digits than an f64 keeps.
    fn real(&mut self) -> Option<f64> {
        for (word, value) in
            [(&b"NAN"[..], f64::NAN), (b"INF", f64::INFINITY), (b"NINF", f64::NEG_INFINITY)]
        {
            if self.text.get(self.at..)?.starts_with(word) {
                self.at += word.len();
                return Some(value);
            }
        }
        let sign = if self.eat(b'N') { -1.0 } else { 1.0 };
        let mut mantissa = 0.0;
        let mut place = 1.0;
        while let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) {
            mantissa += f64::from(digit) * place;
            place /= 16.0;
            self.at += 1;
        }
        if !self.eat(b'P') {
            return None;
        }
        let is_small = self.eat(b'N');
        let exponent = i32::try_from(self.number()?).ok()?;
        Some(sign * mantissa * 2f64.powi(if is_small { -exponent } else { exponent }))
    }

    /// `a3_616263` is `"abc"`.
    fn string(&mut self) -> Option<()> {
        self.at += 1;
        let length = self.number()?;
        if !self.eat(b'_') {
            return None;
        }
        let mut bytes = Vec::new();
        for _ in 0..length {
            let hex = std::str::from_utf8(self.text.get(self.at..self.at + 2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            self.at += 2;
        }
        self.out.push_str(&format!("{:?}", String::from_utf8_lossy(&bytes)));
        Some(())
    }

    /// Reads what follows a mangled name: its type, or the mark of data.
    fn type_of_symbol(&mut self) -> Option<()> {
        if self.eat(b'Z') {
            return Some(());
        }
        let length = self.out.len();
        if self.eat(b'M') {
            self.modifiers();
        }
        self.type_name()?;
        self.out.truncate(length);
        Some(())
    }

    fn modifiers(&mut self) {
        while self.eat(b'x') || self.eat(b'y') || self.eat(b'O') || self.eat_pair(b"Ng") {}
    }

    fn eat_pair(&mut self, pair: &[u8; 2]) -> bool {
        let is_there = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(pair));
        self.at += if is_there { 2 } else { 0 };
        is_there
    }

    /// The calling convention, the attributes and the parameters: `(int, char)`.
    fn parameters(&mut self) -> Option<()> {
        if !self.is_function() {
            return None;
        }
        self.at += 1;
        while self.peek() == Some(b'N')
            && self.text.get(self.at + 1).is_some_and(|kind| b"abcdefijlm".contains(kind))
        {
            self.at += 2;
        }
        self.out.push('(');
        let start = self.out.len();
        loop {
            self.step()?;
            match self.peek()? {
                b'X' => self.out.push_str("..."),
                b'Y' => self.out.push_str(", ..."),
                b'Z' => {}
                _ => {
                    self.separate(start);
                    loop {
                        let word = match self.peek()? {
                            b'I' => "in ",
                            b'J' => "out ",
                            b'K' => "ref ",
                            b'L' => "lazy ",
                            b'M' => "scope ",
                            _ if self.eat_pair(b"Nk") => continue,
                            _ => break,
                        };
                        self.out.push_str(word);
                        self.at += 1;
                    }
                    self.type_name()?;
                    continue;
                }
            }
            self.at += 1;
            self.out.push(')');
            return Some(());
        }
    }

    /// The type of a function. Its result comes last in the text and first in the name.
    fn function(&mut self, word: &str) -> Option<()> {
        let start = self.out.len();
        self.parameters()?;
        let parameters = self.out.split_off(start);
        self.type_name()?;
        self.out.push_str(&parameters);
        self.out.push_str(word);
        Some(())
    }

    fn inside(&mut self, word: &str) -> Option<()> {
        self.out.push_str(word);
        self.out.push('(');
        self.type_name()?;
        self.out.push(')');
        Some(())
    }

    /// Follows a reference and reads its target. A type that refers to one around it would never
    /// end, so it is refused.
    fn refer(&mut self, read: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let from = self.at;
        let outer = std::mem::replace(&mut self.refers_from, from);
        let target = self.reference().filter(|_| from < outer);
        let after = self.at;
        let done = target.and_then(|target| {
            self.at = target;
            read(self)
        });
        self.refers_from = outer;
        self.at = after;
        done
    }

    fn type_name(&mut self) -> Option<()> {
        self.step()?;
        if self.is_function() {
            return self.function(" function");
        }
        if self.peek() == Some(b'Q') {
            return self.refer(Parser::type_name);
        }
        match self.next()? {
            b'O' => self.inside("shared")?,
            b'x' => self.inside("const")?,
            b'y' => self.inside("immutable")?,
            b'N' => match self.next()? {
                b'g' => self.inside("inout")?,
                b'h' => self.inside("__vector")?,
                b'n' => self.out.push_str("noreturn"),
                _ => return None,
            },
            b'A' => {
                self.type_name()?;
                self.out.push_str("[]");
            }
            b'G' => {
                let length = self.number()?;
                self.type_name()?;
                self.out.push_str(&format!("[{length}]"));
            }
            b'H' => {
                let start = self.out.len();
                self.type_name()?;
                let key = self.out.split_off(start);
                self.type_name()?;
                self.out.push_str(&format!("[{key}]"));
            }
            b'P' if self.is_function() => self.function(" function")?,
            b'P' => {
                self.type_name()?;
                self.out.push('*');
            }
            b'D' => {
                self.modifiers();
                match self.peek()? {
                    b'Q' => self.refer(|parser| parser.function(" delegate"))?,
                    _ => self.function(" delegate")?,
                }
            }
            b'C' | b'S' | b'E' | b'T' | b'I' => self.qualified()?,
            b'B' => {
                self.out.push_str("Tuple!(");
                let start = self.out.len();
                for _ in 0..self.number()? {
                    self.separate(start);
                    self.type_name()?;
                }
                self.out.push(')');
            }
            b'z' => match self.next()? {
                b'i' => self.out.push_str("cent"),
                b'k' => self.out.push_str("ucent"),
                _ => return None,
            },
            letter => self.out.push_str(basic(letter)?),
        }
        Some(())
    }
}

fn basic(letter: u8) -> Option<&'static str> {
    Some(match letter {
        b'v' => "void",
        b'g' => "byte",
        b'h' => "ubyte",
        b's' => "short",
        b't' => "ushort",
        b'i' => "int",
        b'k' => "uint",
        b'l' => "long",
        b'm' => "ulong",
        b'f' => "float",
        b'd' => "double",
        b'e' => "real",
        b'o' => "ifloat",
        b'p' => "idouble",
        b'j' => "ireal",
        b'q' => "cfloat",
        b'r' => "cdouble",
        b'c' => "creal",
        b'b' => "bool",
        b'a' => "char",
        b'u' => "wchar",
        b'w' => "dchar",
        b'n' => "typeof(null)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_cxxfilt_prints_them_without_parameters() {
        for (mangled, readable) in [
            ("_Dmain", "D main"),
            ("_D8demangle4testFZv", "demangle.test"),
            ("_D8demangle4testMFZ2fnMFZv", "demangle.test().fn"),
            ("_D8demangle4testPFLAiYi", "demangle.test"),
            ("_D8demangle4test6__ctorMFZv", "demangle.test.this"),
            ("_D8demangle4testFLC6ObjectLDFLiZiZi", "demangle.test"),
            ("_D8demangle9__T4testZv", "demangle.test!()"),
            ("_D8demangle16__T4testTaTOiTaZv", "demangle.test!(char, shared(int), char)"),
            ("_D8demangle17__T4testS6symbolZv", "demangle.test!(symbol)"),
            ("_D8demangle12__T4testHTaZv", "demangle.test!(char)"),
            ("_D8demangle15__T4testViN123Zv", "demangle.test!(-123)"),
            ("_D8demangle13__T4testVbi1Zv", "demangle.test!(true)"),
            ("_D8demangle14__T4testVai65Zv", "demangle.test!('A')"),
            ("_D3app__T1fVde18P0ZQkFNaNbNiNfZv", "app.f!(1.5).f"),
            ("_D3app__T1fVdeN10624DD2F1A9FBE76PN10ZQBcFNaNbNiNfZv", "app.f!(-0.001).f"),
            ("_D3app__T1fVdeNANZQjFNaNbNiNfZv", "app.f!(NaN).f"),
            ("_D3app__T1fVdeNINFZQkFNaNbNiNfZv", "app.f!(-inf).f"),
            (
                "_D3app__T1gVSQl1SS3i1a3_616263e14P1ZQBbFNaNbNiNfZv",
                "app.g!(app.S(1, \"abc\", 2.5)).g",
            ),
            (
                "_D3app__T1hVSQl1NS2S3N1neN14P1A2i3i4ZQBcFNaNbNiNfZv",
                "app.h!(app.N((-1, null, -2.5), [3, 4])).h",
            ),
            ("_D3app__T2aaVHAyaiA2a1_61i1a1_62i2ZQBaFNaNbNiNfZv", "app.aa!([\"a\":1, \"b\":2]).aa"),
            (
                "_D3std5stdio__T7writelnTAyaZQnFNfQjZv",
                "std.stdio.writeln!(immutable(char)[]).writeln",
            ),
            (
                "_D2rt6dmain212_d_run_main2UAAamPUQgZiZ6runAllMFZv",
                "rt.dmain2._d_run_main2(char[][], ulong, int(char[][]) function).runAll",
            ),
            ("_D3app3fooFiZ3barMFZv.isra.0", "app.foo(int).bar"),
        ] {
            assert_eq!(demangle(mangled).as_deref(), Some(readable), "{mangled}");
        }
        for other in [
            "_D",
            "_D_",
            "_D1a__T1fVde18PZv",
            "_D1a__T1fVdeN10624DD2F1A9FBE76PN99999999999ZQBcFv",
            "_Dxyz",
            "_D3ab",
            "_D1aQ",
            "_DQa",
            "_D1a__T1bTQaZv",
            "_D1\u{e9}Z",
        ] {
            assert_eq!(demangle(other), None, "{other}");
        }
    }
}
