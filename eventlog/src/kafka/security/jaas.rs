//! A login of the Java Authentication and Authorization Service, as far as Kafka's clients are configured by it:
//! `MODULE required NAME="VALUE" NAME="VALUE";`

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// What it says.
pub(super) struct JaasLogin {
    /// The class of the module.
    pub(super) module: String,
    /// Its options.
    pub(super) options: BTreeMap<String, String>,
}

/// Reads one login; `None` when the text is none.
pub(super) fn parse(text: &str) -> Option<JaasLogin> {
    let mut characters = text.trim().strip_suffix(';')?.chars().peekable();
    let module = word(&mut characters)?;
    word(&mut characters)?;
    let mut options = BTreeMap::new();
    while let Some(name) = word(&mut characters) {
        characters.next_if_eq(&'=')?;
        options.insert(name, word(&mut characters)?);
    }
    Some(JaasLogin { module, options })
}

/// A word up to a space or an equals sign, or a text in quotes; `None` at the end or where a quote is not closed.
fn word(characters: &mut Peekable<Chars<'_>>) -> Option<String> {
    while characters.next_if(|c| c.is_whitespace()).is_some() {}
    let mut word = String::new();
    if let Some(quote) = characters.next_if(|c| matches!(c, '"' | '\'')) {
        loop {
            match characters.next()? {
                '\\' => word.push(characters.next()?),
                c if c == quote => return Some(word),
                c => word.push(c),
            }
        }
    }
    while let Some(c) = characters.next_if(|c| !c.is_whitespace() && *c != '=') {
        word.push(c);
    }
    (!word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_in_quotes_or_alone() {
        let login =
            parse(" a.b.ScramLoginModule required username=\"my user\" password='p\\\"=;w' x=1 ;\n").unwrap();
        assert_eq!(login.module, "a.b.ScramLoginModule");
        assert_eq!(login.options["username"], "my user");
        assert_eq!(login.options["password"], "p\"=;w");
        assert_eq!(login.options["x"], "1");
    }

    #[test]
    fn what_is_no_login_is_not_read() {
        for text in
            ["", ";", "Module;", "Module required user", "Module required a=\"b;", "Module required a b;"]
        {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
