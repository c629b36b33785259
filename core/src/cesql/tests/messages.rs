//! What is said about expressions that are wrong, or that may be.

use super::*;

#[test]
fn an_error_shows_the_line_and_marks_the_place() {
    for (source, expected) in [
        ("ABC(", "expected a value, found the end\n  |\n1 | ABC(\n  |     ^"),
        (
            "type = 'a' ANND id = '1'",
            "expected an operator or the end, found ANND\n  |\n1 | type = 'a' ANND id = '1'\n  |            ^^^^",
        ),
        (
            "type = 'a' AND\n  id == '1'",
            "expected a value, found =; equality is one =\n  |\n2 |   id == '1'\n  |       ^",
        ),
        (
            "type = 'order",
            "the text that starts here does not end; write ' behind it\n  |\n1 | type = 'order\n  |        ^^^^^^",
        ),
        ("x LIKE 123", "expected a pattern in quotes, found 123\n  |\n1 | x LIKE 123\n  |        ^^^"),
        (
            "'Grüße' = sübject",
            "an expression has no 'ü' outside of a text\n  |\n1 | 'Grüße' = sübject\n  |            ^",
        ),
    ] {
        assert_eq!(Expression::parse(source).expect_err(source).to_string(), expected);
    }
}

#[test]
fn an_error_says_what_would_be_right() {
    for (source, expected) in [
        ("a && b", "1:3: an expression has no '&' outside of a text; write AND"),
        ("a || b", "1:3: an expression has no '|' outside of a text; write OR"),
        ("!a", "1:1: an expression has no '!' outside of a text; write NOT, or != for unequal"),
        ("a = ’b’", "1:5: an expression has no '’' outside of a text; a text stands in ' or \""),
        ("a IS NULL", "1:3: expected an operator or the end, found IS; write EXISTS to ask for presence"),
        ("a BETWEEN 1 AND 2", "1:3: expected an operator or the end, found BETWEEN; write >= AND <="),
        ("a NOT = 1", "1:7: expected LIKE or IN after this NOT, found ="),
        ("a IN ()", "1:7: expected a value: the list of IN has at least one, found )"),
        ("a IN 1", "1:6: expected ( and a list of values, found 1"),
        ("EXISTS 'a'", "1:8: expected the name of an attribute after EXISTS, found 'a'"),
        (
            "my_attribute = 1",
            "1:1: \"my_attribute\" is no name of an attribute; such a name has letters and digits",
        ),
        ("f1(a)", "1:1: \"f1\" is no name of a function; such a name has letters and underscores"),
        ("2147483648", "1:1: a number is between -2147483648 and 2147483647"),
        ("+a", "1:1: expected a value, found +; only a number takes it for a sign"),
        (
            "'a\\'",
            "1:1: the text that starts here does not end; \\' is a part of the text; write another ' behind it",
        ),
        ("(a = 1", "1:7: expected ) or an operator, found the end"),
        ("f(1 2)", "1:5: expected an operator, a comma or ), found 2"),
        ("", "1:1: expected a value, found the end"),
    ] {
        assert_eq!(format!("{:#}", Expression::parse(source).expect_err(source)), expected);
    }
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let source = format!("{} & {}", "a = 'b' AND ".repeat(100), " AND a = 'b'".repeat(100));
    let error = Expression::parse(&source).expect_err("it has an &").to_string();
    let lines: Vec<_> = error.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() < 120), "{error}");
    let caret = lines[3].chars().position(|c| c == '^').expect("a caret");
    assert_eq!(lines[2].chars().nth(caret), Some('&'), "{error}");
}

/// SQLS-02
#[test]
fn an_error_of_an_evaluation_says_where_and_what() {
    for (source, expected) in [
        ("tyep = 'a'", "1:1: the event has no attribute tyep; did you mean type?"),
        ("1 = nothing", "1:5: the event has no attribute nothing"),
        ("LENGHT(type) > 2", "1:1: there is no function LENGHT; did you mean LENGTH?"),
        ("SUBSTRING(type) = 'a'", "1:1: SUBSTRING takes 2 or 3 arguments, not 1"),
        ("type = 5", "1:1: 'order.created' is not an Integer"),
        ("TRUE AND\n type", "2:2: 'order.created' is not a Boolean"),
        ("number / (5 - sequence)", "1:1: 10 cannot be divided by 0"),
        ("ABS(-2147483648)", "1:1: -2147483648 has no absolute value"),
        ("LEFT(type, -1)", "1:1: the number of characters is -1; it cannot be negative"),
        ("SUBSTRING(type, 20)", "1:1: the position is 20, and the text has 13 characters"),
        ("SUBSTRING(type, 1, -2)", "1:1: the length is -2; it cannot be negative"),
    ] {
        let errors = parse(source).evaluate(&event()).errors;
        let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, [expected], "{source}");
    }
}

/// SQLS-02
#[test]
fn the_kinds_of_errors_are_named_as_the_specification_names_them() {
    for (kind, name) in [
        (ErrorKind::Math, "math"),
        (ErrorKind::Cast, "cast"),
        (ErrorKind::MissingAttribute, "missingAttribute"),
        (ErrorKind::MissingFunction, "missingFunction"),
        (ErrorKind::FunctionEvaluation, "functionEvaluation"),
        (ErrorKind::Generic, "generic"),
    ] {
        assert_eq!(serde_json::to_value(kind).expect("it is JSON"), name);
    }
}

/// SQLG-04, SQLG-09, SQLS-16, X-10
#[test]
fn what_may_be_meant_otherwise_is_remarked() {
    for (source, expected) in [
        ("type = 'a' AND id = '1' AND EXISTS subject", &[][..]),
        ("(a AND b) OR c", &[]),
        ("a AND (b OR c)", &[]),
        (
            "a AND b OR c",
            &["AND and OR bind equally and group to the right: a AND b OR c is a AND (b OR c); write the \
               parentheses that you mean"],
        ),
        ("type = 'it''s'", &["'' in a text stays two quotes; write \\' for one"]),
        ("type LIKE 'it''s'", &["'' in a text stays two quotes; write \\' for one"]),
        ("UPER(type) = 'A'", &["there is no function UPER; did you mean UPPER?"]),
        ("id = 1 / 0", &["1 cannot be divided by 0"]),
    ] {
        let found: Vec<_> = parse(source).remarks().iter().map(|remark| remark.message.clone()).collect();
        assert_eq!(found, expected, "{source}");
    }
}

#[test]
fn a_trace_tells_the_value_of_each_part() {
    let trace = |source: &str| parse(source).trace(&event()).to_string();
    assert_eq!(
        trace("type = 'a' AND LENGTH(subject) > 2"),
        "type = 'a' AND LENGTH(subject) > 2: FALSE\n  \
           type = 'a': FALSE\n    \
             type: 'order.created'\n  \
           LENGTH(subject) > 2: not evaluated"
    );
    assert_eq!(
        trace("sequence + 'x' > 1 + 1 OR tyep = 'a'"),
        "sequence + 'x' > 1 + 1 OR tyep = 'a': FALSE, for an error below\n  \
           sequence + 'x' > 1 + 1: FALSE, for an error below\n    \
             sequence + 'x': 0, 1:12: 'x' is not an Integer\n      \
               sequence: '5'\n  \
           tyep = 'a': FALSE, for an error below\n    \
             tyep: FALSE, 1:27: the event has no attribute tyep; did you mean type?"
    );
}
