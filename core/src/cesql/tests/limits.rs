//! Bounds: no expression and no event takes long.

use super::*;
use crate::cesql::program::{Constant, Node, NodeKind};
use crate::cesql::{EvaluationError, MAX_DEPTH, MAX_ERRORS, MAX_LENGTH};

fn message(source: &str) -> String {
    Expression::parse(source).expect_err("it exceeds a bound").0.message
}

/// What is kept of a program as the same with every event.
fn constants(program: &Node) -> impl Iterator<Item = (&Constant, &[EvaluationError])> {
    let mut nodes = vec![program];
    std::iter::from_fn(move || {
        let node = nodes.pop()?;
        nodes.extend(node.operands());
        Some(node)
    })
    .filter_map(|node| match &node.kind {
        NodeKind::Constant { value, errors } => Some((value, &**errors)),
        _ => None,
    })
}

fn bytes(value: &Constant) -> usize {
    if let Constant::String(text) = value { text.len() } else { 0 }
}

/// SQLS-19, FLN-17
#[test]
fn length_is_bounded() {
    let longest = format!("'{}'", "a".repeat(MAX_LENGTH - 2));
    assert_eq!(parse(&longest).source(), longest);
    assert!(message(&format!("{longest} ")).contains("longer than 65536 bytes"));
    assert!(message(&"ü".repeat(MAX_LENGTH)).contains("longer than"));
}

/// SQLS-19, FLN-17
#[test]
fn depth_is_bounded_whatever_nests() {
    let deep =
        |open: &str, close: &str, depth: usize| format!("{}a{}", open.repeat(depth), close.repeat(depth));
    for (open, close) in [("(", ")"), ("NOT ", ""), ("-", ""), ("F(", ")"), ("1 IN (", ")"), ("1 + (", ")")] {
        parse(&deep(open, close, MAX_DEPTH - 1));
        let most = if open == "(" { 2 * MAX_DEPTH } else { MAX_DEPTH };
        assert!(message(&deep(open, close, most + 1)).contains("more than 64 deep"), "{open}");
        assert!(message(&deep(open, close, 9_000)).contains("more than 64 deep"), "{open}");
    }
    for chain in ["1 + ", "1 * ", "1 = ", "a AND a OR "] {
        assert!(message(&format!("{}a", chain.repeat(5_000))).contains("more than 64 deep"), "{chain}");
    }
    for suffix in [" LIKE ''", " IN (1)"] {
        assert!(message(&format!("a{}", suffix.repeat(5_000))).contains("more than 64 deep"), "{suffix}");
    }
}

#[test]
fn a_chain_of_one_operator_is_not_deep() {
    for chain in ["FALSE OR ", "TRUE AND ", "FALSE XOR "] {
        let expression = parse(&format!("{}flag", chain.repeat(5_000)));
        assert!(expression.passes(&event()), "{chain}");
        assert!(expression.trace(&event()).to_string().len() > 5_000);
        assert_eq!(parse(&expression.to_string()), expression);
    }
    let set = (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    assert!(parse(&format!("number IN ({set})")).passes(&event()));
}

/// SQLS-19
#[test]
fn an_evaluation_that_takes_too_long_fails() {
    let large = "a".repeat(1024 * 1024);
    let event = event().into_builder().attribute("large", large).build().expect("a valid event");
    let kinds = |source: &str| -> Vec<_> {
        let expression = parse(source);
        let evaluation = expression.evaluate(&event);
        assert!(evaluation.errors.is_empty() || !expression.passes(&event));
        evaluation.errors.into_iter().map(|error| word(error.kind)).collect()
    };
    assert!(kinds("large LIKE '%a%a%a%a%b'").is_empty(), "segments of text cost nothing more");
    assert!(kinds("CONCAT(large, large) LIKE '%a'").is_empty());
    let large = vec!["large"; 1_000].join(", ");
    assert_eq!(kinds(&format!("CONCAT({large})")).first(), Some(&"generic"));
    let pattern = "a_".repeat(5_000);
    assert_eq!(kinds(&format!("large LIKE '%{pattern}b%'")), ["generic"]);
    for pattern in [format!("%_{}b%", "a".repeat(60_000)), format!("%{}x%", "_".repeat(60_000))] {
        assert_eq!(kinds(&format!("large LIKE '{pattern}'")), ["generic"]);
    }
    let once = format!("{}%{}", "_".repeat(30_000), "_a".repeat(15_000));
    assert!(kinds(&format!("large LIKE '{once}'")).is_empty(), "the start and the end are tried once");
    let upper = (0..60).fold("large".to_owned(), |text, _| format!("UPPER({text})"));
    assert_eq!(kinds(&upper), ["generic"]);
    let compared = format!("{} OR TRUE", vec!["large = 'a'"; 20].join(" OR "));
    assert_eq!(kinds(&compared).first(), Some(&"generic"));
    let many = vec!["EXISTS nothing"; 2_000].join(" OR ");
    assert!(kinds(&many).is_empty());
}

#[test]
fn the_number_of_errors_and_remarks_is_bounded() {
    for source in ["nothing OR ".repeat(5_000) + "TRUE", "F() OR ".repeat(5_000) + "TRUE"] {
        let expression = parse(&source);
        assert_eq!(expression.evaluate(&event()).errors.len(), MAX_ERRORS);
        assert!(!expression.passes(&event()));
        assert!(expression.trace(&event()).is_failed);
    }
    assert_eq!(parse(&("F() OR ".repeat(5_000) + "TRUE")).remarks().len(), MAX_ERRORS);
    assert_eq!(parse(&("'a''b' != id AND ".repeat(1_000) + "TRUE")).remarks().len(), MAX_ERRORS);
}

/// SQLS-05, SQLS-19
#[test]
fn looking_for_what_there_is_not_costs_what_is_passed_by() {
    let crowded =
        (0..5_000).fold(event().into_builder(), |builder, n| builder.attribute(format!("a{n}"), ""));
    let crowded = crowded.build().expect("a valid event");
    let errors = parse(&vec!["EXISTS b"; 5_000].join(" OR ")).evaluate(&crowded).errors;
    assert_eq!(errors.first().map(|error| word(error.kind)), Some("generic"));
}

/// SQLS-19
#[test]
fn what_reading_an_expression_computes_is_bounded_by_its_length() {
    let joined = format!("CONCAT_WS('{}'{})", "a".repeat(4_000), ", 1".repeat(4_000));
    let repeated = format!("id = {0} OR id = {0}", &joined);
    let upper = (0..60).fold(format!("'{}'", "ß".repeat(20_000)), |text, _| format!("UPPER({text})"));
    let matched = vec![format!("'{}' LIKE '%_{}b%'", "a".repeat(4_000), "a".repeat(4_000)); 7].join(" OR ");
    for source in [format!("id = {joined}"), repeated, format!("id != {upper}"), matched] {
        let expression = parse(&source);
        let kept: usize = constants(&expression.0.program).map(|(value, _)| bytes(value)).sum();
        assert!(kept <= 2 * MAX_LENGTH, "{kept} bytes are kept");
        assert!(expression.remarks().is_empty(), "that the budget is spent is nobody's mistake");
    }
    // What is left to the evaluation comes to the same.
    let long = format!("CONCAT_WS('{}', 'x', 'y', 'z')", "a".repeat(30_000));
    assert_values(&[(&format!("LENGTH({long}) = 60003"), "TRUE"), (&format!("{long} LIKE 'x%z'"), "TRUE")]);
    assert_values(&[(&format!("LENGTH({long}) = 60003 AND NOT FALSE AND 1 + 1 = 2"), "TRUE")]);
}

/// SQLS-16, SQLS-19
#[test]
fn an_expression_that_is_full_of_mistakes_keeps_a_few() {
    let expression = parse(&vec!["F()"; 9_000].join(" OR "));
    let kept: usize = constants(&expression.0.program).map(|(_, errors)| errors.len()).sum();
    assert_eq!((kept, expression.remarks().len()), (MAX_ERRORS, MAX_ERRORS));
    assert_eq!(expression.evaluate(&event()).errors.len(), MAX_ERRORS);
}

/// SQLS-19
#[test]
fn a_text_that_is_handed_on_costs_again() {
    let large = "a".repeat(1024 * 1024);
    let event = event().into_builder().attribute("large", large).build().expect("a valid event");
    let trimmed = (0..60).fold("CONCAT(large)".to_owned(), |text, _| format!("TRIM({text})"));
    let errors = parse(&trimmed).evaluate(&event).errors;
    assert_eq!(errors.first().map(|error| word(error.kind)), Some("generic"));
}

#[test]
fn what_nests_as_deep_as_it_may_can_be_printed_and_read_again() {
    let chain = "a AND b OR ".repeat(11) + "- 5";
    let source = format!("{}{chain}{}", "NOT (1 IN (".repeat(20), "))".repeat(20));
    let expression = parse(&source);
    assert_eq!(parse(&expression.to_string()), expression);
    let longer = format!("{}{chain}{}", "NOT (1 IN (".repeat(22), "))".repeat(22));
    assert!(message(&longer).contains("more than 64 deep"));
}
