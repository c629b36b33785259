//! Files of properties, as Kafka's own tools read them: `KEY=VALUE` per line, `#` and `!` begin comments, and a
//! backslash at its end continues a line.

use std::path::Path;

use super::{Properties, Property};

/// Reads a file.
///
/// # Errors
/// What is wrong, with file and line, and without a value.
pub(super) fn read(file: &Path) -> Result<Properties, String> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("--kafka-config-file: could not read {name}: {error}"))?;
    parse(&name.to_string(), &text)
}

fn parse(file: &str, text: &str) -> Result<Properties, String> {
    let mut properties = Properties::new();
    let mut problems = Vec::new();
    let mut lines = text.lines().zip(1_usize..);
    while let Some((line, number)) = lines.next() {
        let mut line = line.trim().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while line.ends_with('\\') {
            line.pop();
            match lines.next() {
                Some((next, _)) => line.push_str(next.trim()),
                None => break,
            }
        }
        let origin = format!("{file}:{number}");
        match line.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                let value = value.trim().to_owned();
                properties.insert(name.trim().to_owned(), Property { value, origin });
            }
            _ => problems.push(format!("{origin}: write KEY=VALUE")),
        }
    }
    if problems.is_empty() { Ok(properties) } else { Err(problems.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_property_a_comment_or_empty_and_the_last_of_one_name_wins() {
        let text =
            "# comment\n! comment\n\n linger.ms = 5 \na=b=c\nlong=one, \\\n  two\nempty=\nlinger.ms=7\n";
        let properties = parse("k.properties", text).unwrap();
        let value = |name: &str| properties[name].value.as_str();
        assert_eq!(
            (value("linger.ms"), value("a"), value("long"), value("empty")),
            ("7", "b=c", "one, two", "")
        );
        assert_eq!(properties["long"].origin, "k.properties:6");
        assert_eq!(properties["linger.ms"].origin, "k.properties:9");
    }

    #[test]
    fn what_is_no_property_is_named_with_its_line_and_without_its_text() {
        let error = parse("k.properties", "a=b\nhush\n=hush\n").unwrap_err();
        assert_eq!(error, "k.properties:2: write KEY=VALUE\nk.properties:3: write KEY=VALUE");
    }
}
