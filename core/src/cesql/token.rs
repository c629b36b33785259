//! Takes the text of an expression apart into words, literals and symbols.

use super::error::Span;

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'s> {
    pub(super) kind: TokenKind<'s>,
    pub(super) span: Span,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind<'s> {
    /// Digits without a sign; whether a sign before them belongs to them is for the parser to say (SQLG-11).
    Number(&'s str),
    /// The text of a string literal, without its quotes and what escaped them.
    Text(String),
    Keyword(Keyword),
    /// Letters, digits and underscores that are no keyword.
    Word(&'s str),
    Symbol(&'static str),
    /// The end of the expression.
    End,
}

/// The words of the language; they cannot name an attribute (SQLG-01, SQLG-06).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    And,
    Or,
    Xor,
    Not,
    In,
    Like,
    Exists,
    True,
    False,
}

const KEYWORDS: [(&str, Keyword); 9] = [
    ("AND", Keyword::And),
    ("OR", Keyword::Or),
    ("XOR", Keyword::Xor),
    ("NOT", Keyword::Not),
    ("IN", Keyword::In),
    ("LIKE", Keyword::Like),
    ("EXISTS", Keyword::Exists),
    ("TRUE", Keyword::True),
    ("FALSE", Keyword::False),
];

/// Longer ones first.
const SYMBOLS: [&str; 15] = ["!=", "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ","];

impl Keyword {
    pub(super) fn as_str(self) -> &'static str {
        KEYWORDS.iter().find(|(_, keyword)| *keyword == self).map_or("", |(word, _)| word)
    }
}

/// What is wrong with the spelling of an expression, and where.
pub(super) type Misspelling = (Span, String);

/// All tokens of an expression, the end included.
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, Misspelling> {
    let mut tokens = Vec::new();
    let mut start = 0;
    loop {
        start = source.len() - source[start..].trim_start_matches([' ', '\t', '\r', '\n']).len();
        let rest = &source[start..];
        let Some(first) = rest.chars().next() else {
            tokens.push(Token { kind: TokenKind::End, span: Span { start, end: start } });
            return Ok(tokens);
        };
        let (kind, length) = match first {
            '\'' | '"' => text(rest, first).ok_or_else(|| unterminated(source, start, first))?,
            _ => word(rest).or_else(|| symbol(rest)).ok_or_else(|| unexpected(rest, first, start))?,
        };
        tokens.push(Token { kind, span: Span { start, end: start + length } });
        start += length;
    }
}

/// A string literal. A backslash belongs to the character after it, and vanishes before the delimiter only
/// (SQLG-02, SQLG-03); two delimiters are two characters of the text (SQLG-04).
fn text(rest: &str, delimiter: char) -> Option<(TokenKind<'_>, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((place, character)) = characters.next() {
        if character == '\\' {
            let (_, escaped) = characters.next()?;
            if escaped != delimiter {
                text.push('\\');
            }
            text.push(escaped);
        } else if character != delimiter {
            text.push(character);
        } else if characters.next_if(|(_, next)| *next == delimiter).is_some() {
            text.extend([delimiter, delimiter]);
        } else {
            return Some((TokenKind::Text(text), place + 1));
        }
    }
    None
}

fn word(rest: &str) -> Option<(TokenKind<'_>, usize)> {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let word = &rest[..end];
    let keyword = KEYWORDS.iter().find(|(keyword, _)| keyword.eq_ignore_ascii_case(word));
    match keyword {
        _ if word.is_empty() => None,
        _ if word.bytes().all(|byte| byte.is_ascii_digit()) => Some((TokenKind::Number(word), end)),
        Some((_, keyword)) => Some((TokenKind::Keyword(*keyword), end)),
        None => Some((TokenKind::Word(word), end)),
    }
}

fn symbol(rest: &str) -> Option<(TokenKind<'_>, usize)> {
    let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol))?;
    Some((TokenKind::Symbol(symbol), symbol.len()))
}

fn unterminated(source: &str, start: usize, delimiter: char) -> Misspelling {
    let hint = if source.ends_with(&format!("\\{delimiter}")) {
        format!("\\{delimiter} is a part of the text; write another {delimiter} behind it")
    } else {
        format!("write {delimiter} behind it")
    };
    (Span { start, end: source.len() }, format!("the text that starts here does not end; {hint}"))
}

fn unexpected(rest: &str, character: char, start: usize) -> Misspelling {
    let hint = match character {
        '&' => "; write AND",
        '|' => "; write OR",
        '!' => "; write NOT, or != for unequal",
        '‘' | '’' | '“' | '”' | '`' | '´' => "; a text stands in ' or \"",
        '.' => "; a text stands in quotes, and numbers are whole",
        '[' | ']' | '{' | '}' => "; write parentheses",
        _ => "",
    };
    let end = start + rest.chars().next().map_or(0, char::len_utf8);
    (Span { start, end }, format!("an expression has no {character:?} outside of a text{hint}"))
}
