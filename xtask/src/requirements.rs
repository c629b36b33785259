//! Which lines of a checklist no test cites, and which identifiers tests cite that the checklist does not have.
//!
//! A checklist is a Markdown list whose lines begin `- **FLN-01** MUST N`: identifier, level, origin; the text
//! follows, and ends with its sources in brackets. It is no part of the project: its path is an argument.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

mod citations;
mod rust;

use citations::{Citation, Id};

/// How much of a line's text the report shows, in characters.
const SHORT: usize = 100;

/// Prints the report; an error names what tests cite and the checklist does not have.
pub(crate) fn report(checklist: &Path, area: Option<&str>) -> Result<(), String> {
    let text = fs::read_to_string(checklist)
        .map_err(|error| format!("could not read the checklist {}: {error}", checklist.display()))?;
    let lines = lines(&text);
    if lines.is_empty() {
        return Err(format!("{} has no line like `- **FLN-01** MUST N …`", checklist.display()));
    }
    if let Some(area) = area
        && !lines.iter().any(|line| line.id.area == area)
    {
        return Err(format!("the checklist has no area {area}; it has {}", areas(&lines).join(", ")));
    }
    let citations = citations::of_tests(Path::new("."))?;
    let cited: BTreeSet<&Id> = citations.iter().map(|citation| &citation.id).collect();
    println!("{}", uncited(&lines, &cited, area));
    let unknown = unknown(&lines, &citations);
    if unknown.is_empty() {
        return Ok(());
    }
    let places: Vec<_> = unknown.iter().map(|citation| format!("\n  {citation}")).collect();
    Err(format!("tests cite what the checklist does not have; correct the identifiers:{}", places.concat()))
}

/// A line of the checklist.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    id: Id,
    level: String,
    text: String,
}

fn lines(checklist: &str) -> Vec<Line> {
    checklist.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Line> {
    let (id, rest) = line.strip_prefix("- **")?.split_once("** ")?;
    let (level, rest) = rest.split_once(' ')?;
    let (_origin, text) = rest.split_once(' ')?;
    let text = match text.rsplit_once(" [") {
        Some((text, sources)) if sources.ends_with(']') => text,
        _ => text,
    };
    Some(Line { id: id.parse().ok()?, level: level.to_owned(), text: text.to_owned() })
}

/// The areas, in the order of the checklist.
fn areas(lines: &[Line]) -> Vec<&str> {
    let mut areas: Vec<&str> = Vec::new();
    for line in lines {
        if !areas.contains(&line.id.area.as_str()) {
            areas.push(&line.id.area);
        }
    }
    areas
}

/// Per area how many lines are cited, and then those that are not.
fn uncited(lines: &[Line], cited: &BTreeSet<&Id>, only: Option<&str>) -> String {
    let mut report = String::new();
    let (mut there, mut total) = (0, 0);
    for area in areas(lines).into_iter().filter(|area| only.is_none_or(|only| only == *area)) {
        let lines: Vec<_> = lines.iter().filter(|line| line.id.area == area).collect();
        let missing: Vec<_> = lines.iter().filter(|line| !cited.contains(&line.id)).collect();
        let found = lines.len() - missing.len();
        report += &format!("{area} {found}/{}\n", lines.len());
        for line in missing {
            report += &format!("  {} {} {}\n", line.id, line.level, short(&line.text));
        }
        there += found;
        total += lines.len();
    }
    report + &format!("cited: {there} of {total}")
}

/// The text, cut at a word.
fn short(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(SHORT) else { return text.to_owned() };
    let end = text[..end].rfind(' ').unwrap_or(end);
    format!("{}…", &text[..end])
}

/// What is cited and not in the checklist. Of an area that the checklist does not have only what a comment begins
/// with is meant as an identifier: `UTF-16` in a sentence is none.
fn unknown<'a>(lines: &[Line], citations: &'a [Citation]) -> Vec<&'a Citation> {
    let known: BTreeSet<&Id> = lines.iter().map(|line| &line.id).collect();
    let areas = areas(lines);
    let is_unknown = |citation: &&Citation| {
        let is_meant = citation.is_listed || areas.contains(&citation.id.area.as_str());
        is_meant && !known.contains(&citation.id)
    };
    citations.iter().filter(is_unknown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKLIST: &str = "\
# Areas
- a list that is none
- **FLN-01** MUST N `filters` absent or `[]` => true. [spec:a.md; other:b.md]
- **FLN-02** SHOULD T Several.
- **X-07** MUST D A contradiction [sic] of two. [spec:a.md]
";

    fn ids(texts: &[&str]) -> Vec<Id> {
        texts.iter().map(|text| text.parse().expect("an identifier")).collect()
    }

    #[test]
    fn a_line_of_the_checklist_has_an_identifier_a_level_and_a_text() {
        let found: Vec<_> =
            lines(CHECKLIST).into_iter().map(|line| (line.id.to_string(), line.level, line.text)).collect();
        let wanted = [
            ("FLN-01", "MUST", "`filters` absent or `[]` => true."),
            ("FLN-02", "SHOULD", "Several."),
            ("X-07", "MUST", "A contradiction [sic] of two."),
        ];
        assert_eq!(found, wanted.map(|(id, level, text)| (id.to_owned(), level.to_owned(), text.to_owned())));
    }

    #[test]
    fn the_report_counts_by_area_and_lists_what_no_test_cites() {
        let (lines, ids) = (lines(CHECKLIST), ids(&["FLN-02"]));
        let cited = ids.iter().collect();
        assert_eq!(
            uncited(&lines, &cited, None),
            "FLN 1/2\n  FLN-01 MUST `filters` absent or `[]` => true.\n\
             X 0/1\n  X-07 MUST A contradiction [sic] of two.\ncited: 1 of 3"
        );
        assert_eq!(
            uncited(&lines, &cited, Some("X")),
            "X 0/1\n  X-07 MUST A contradiction [sic] of two.\ncited: 0 of 1"
        );
    }

    #[test]
    fn a_long_text_is_cut_at_a_word() {
        assert_eq!(short("a short one"), "a short one");
        let long = "ein grüßender Satz ".repeat(20);
        let cut = short(&long);
        assert!(cut.ends_with('…') && cut.chars().count() <= SHORT + 1, "{cut}");
        assert!(long.starts_with(cut.trim_end_matches('…')));
    }

    #[test]
    fn an_identifier_that_the_checklist_does_not_have_is_found() {
        let comments = "/// FLN-01, FLN-20\n/// FLM-01, X-7\n// in UTF-16, as X-08 has it\n";
        let citations = citations::in_comments("a.rs", comments);
        let found: Vec<_> =
            unknown(&lines(CHECKLIST), &citations).into_iter().map(ToString::to_string).collect();
        assert_eq!(found, ["a.rs:1: FLN-20", "a.rs:2: FLM-01", "a.rs:2: X-7", "a.rs:3: X-08"]);
    }
}
