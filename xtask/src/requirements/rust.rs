//! Rust source as far as it matters here: what is code, what is a comment, and which modules are `#[cfg(test)]`.

use std::ops::Range;

/// A source twice, each of the length and with the lines of the original: code alone and comments alone. What is
/// not there is spaces; texts are in neither.
pub(super) struct Masked {
    code: String,
    comments: String,
}

impl Masked {
    pub(super) fn new(source: &str) -> Self {
        let mut code = blank(source);
        let mut comments = code.clone();
        let mut rest = 0..source.len();
        while let Some(c) = source[rest.clone()].chars().next() {
            let (piece, kind) = piece(source, rest.start, c);
            match kind {
                Kind::Code => code[piece.clone()].copy_from_slice(&source.as_bytes()[piece.clone()]),
                Kind::Comment => comments[piece.clone()].copy_from_slice(&source.as_bytes()[piece.clone()]),
                Kind::Text => {}
            }
            rest.start = piece.end;
        }
        let text = |bytes| String::from_utf8(bytes).expect("whole characters are copied");
        Self { code: text(code), comments: text(comments) }
    }

    pub(super) fn comments(&self) -> &str {
        &self.comments
    }

    /// The comments inside modules for tests, in their lines.
    pub(super) fn test_comments(&self) -> String {
        let mut comments = blank(&self.comments);
        for block in self.test_modules().filter_map(|(_, body)| body) {
            comments[block.clone()].copy_from_slice(&self.comments.as_bytes()[block]);
        }
        String::from_utf8(comments).expect("whole characters are copied")
    }

    /// The names of the modules for tests that have files of their own.
    pub(super) fn test_files(&self) -> Vec<&str> {
        self.test_modules().filter(|(_, body)| body.is_none()).map(|(name, _)| name).collect()
    }

    /// The modules that are `#[cfg(test)]`: name and body.
    fn test_modules(&self) -> impl Iterator<Item = (&str, Option<Range<usize>>)> {
        self.code.match_indices("#[cfg(test)]").filter_map(|(place, attribute)| {
            let start = place + attribute.len();
            let end = start + self.code[start..].find(['{', ';'])?;
            let mut words = self.code[start..end].split_whitespace().rev();
            let (name, keyword) = (words.next()?, words.next()?);
            let is_file = self.code[end..].starts_with(';');
            let body = (!is_file).then(|| end..self.closing(end));
            (keyword == "mod").then_some((name, body))
        })
    }

    /// The end of the block that begins at `open`.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for (place, c) in self.code[open..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => return open + place,
                '}' => depth -= 1,
                _ => {}
            }
        }
        self.code.len()
    }
}

fn blank(source: &str) -> Vec<u8> {
    source.bytes().map(|byte| if byte == b'\n' { b'\n' } else { b' ' }).collect()
}

#[derive(Clone, Copy)]
enum Kind {
    Code,
    Comment,
    /// A literal of text, bytes or one character.
    Text,
}

/// The piece that begins at `start` with `first`, which is code.
fn piece(source: &str, start: usize, first: char) -> (Range<usize>, Kind) {
    let rest = &source[start..];
    let upto = |length: Option<usize>| start..start + length.unwrap_or(rest.len());
    if rest.starts_with("//") {
        return (upto(rest.find('\n')), Kind::Comment);
    }
    if rest.starts_with("/*") {
        return (upto(block_comment(rest)), Kind::Comment);
    }
    match first {
        '"' => (upto(quoted(rest, '"')), Kind::Text),
        // Otherwise it is a lifetime.
        '\'' if rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'') => {
            (upto(quoted(rest, '\'')), Kind::Text)
        }
        _ if is_word(first) => {
            let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let hashes = rest[word..].bytes().take_while(|byte| *byte == b'#').count();
            let is_raw = ["r", "br", "cr"].contains(&&rest[..word]);
            if is_raw && rest[word + hashes..].starts_with('"') {
                let (inside, end) = (word + hashes + 1, format!("\"{}", "#".repeat(hashes)));
                (upto(rest[inside..].find(&end).map(|length| inside + length + end.len())), Kind::Text)
            } else {
                (upto(Some(word)), Kind::Code)
            }
        }
        _ => (upto(Some(first.len_utf8())), Kind::Code),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a literal with its quotes.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (place, c) in rest.char_indices().skip(1) {
        if c == quote && !is_escaped {
            return Some(place + 1);
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    None
}

/// The length of a comment that may have others in it.
fn block_comment(rest: &str) -> Option<usize> {
    let (mut depth, mut place) = (0_usize, 0);
    loop {
        let next = place + rest[place..].find(['/', '*'])?;
        place = next + 2;
        match rest.get(next..place)? {
            "/*" => depth += 1,
            "*/" if depth == 1 => return Some(place),
            "*/" => depth -= 1,
            _ => place = next + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comments(source: &str) -> String {
        let masked = Masked::new(source);
        assert_eq!(masked.comments.len(), source.len());
        masked.comments.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_told_from_texts() {
        for (source, wanted) in [
            ("let a = 1; // one", "// one"),
            ("//! a\n/// b", "//! a /// b"),
            (r#"let a = "// no"; // yes"#, "// yes"),
            (r#"let a = "\"// no"; // yes"#, "// yes"),
            (r##"let a = r"\"; // yes"##, "// yes"),
            ("let a = br#\"\" // no\"#; // yes", "// yes"),
            ("let a = '\"'; // yes", "// yes"),
            (r"let a = '\''; // yes", "// yes"),
            (r"let a = '\\'; // yes", "// yes"),
            ("fn a<'b>(c: &'b str) {} // yes", "// yes"),
            ("'ü' // yes", "// yes"),
            ("/* a /* b */ c */ d", "/* a /* b */ c */"),
            ("/* **/ a", "/* **/"),
            ("/*/ a */ b", "/*/ a */"),
            ("bar\"// no\"", ""),
            ("\"// no", ""),
        ] {
            assert_eq!(comments(source), wanted, "{source}");
        }
    }

    #[test]
    fn modules_for_tests_are_found_with_their_end() {
        let masked = Masked::new(
            "// A\n#[cfg(test)]\n#[path = \"x.rs\"]\npub(crate) mod first;\n#[cfg(test)]\nuse a::b;\n\
             #[cfg(test)]\nmod second {\n    // B }\n    fn c() { \"}\"; } // D\n}\n// E\n\
             // #[cfg(test)] mod none;\n#[cfg(test)]\nmod third { // F",
        );
        assert_eq!(masked.test_files(), ["first"]);
        let found = masked.test_comments();
        assert_eq!(found.split_whitespace().collect::<Vec<_>>(), ["//", "B", "}", "//", "D", "//", "F"]);
        assert_eq!(found.lines().count(), 15);
    }
}
