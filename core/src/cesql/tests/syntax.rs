//! What is an expression, and what stands for what.

use super::*;

/// Both read as the same expression.
#[track_caller]
fn assert_same(rows: &[(&str, &str)]) {
    for (one, other) in rows {
        assert_eq!(parse(one), parse(other), "{one} is {}, {other} is {}", parse(one), parse(other));
    }
}

/// SQLG-07, SQLG-08
#[test]
fn operators_bind_in_their_order() {
    assert_same(&[
        ("NOT a = b", "(NOT a) = b"),
        ("NOT a LIKE 'x'", "(NOT a) LIKE 'x'"),
        ("NOT a IN (1)", "(NOT a) IN (1)"),
        ("NOT a AND b", "(NOT a) AND b"),
        ("NOT EXISTS a", "NOT (EXISTS a)"),
        ("NOT -a", "NOT (-a)"),
        ("-NOT a", "-(NOT a)"),
        ("-a * b", "(-a) * b"),
        ("-a LIKE 'x'", "(-a) LIKE 'x'"),
        ("- 5 + 3", "(-(5)) + 3"),
        ("a * b LIKE 'x'", "a * (b LIKE 'x')"),
        ("a = b LIKE 'x'", "a = (b LIKE 'x')"),
        ("a = b IN (1)", "a = (b IN (1))"),
        ("a + b IN (1)", "a + (b IN (1))"),
        ("-a IN (1)", "(-a) IN (1)"),
        ("a IN (1) LIKE 'x'", "(a IN (1)) LIKE 'x'"),
        ("EXISTS a LIKE 'x'", "(EXISTS a) LIKE 'x'"),
        ("EXISTS a IN (TRUE)", "(EXISTS a) IN (TRUE)"),
        ("EXISTS a = b", "(EXISTS a) = b"),
        ("a = EXISTS b", "a = (EXISTS b)"),
        ("a NOT LIKE 'x' NOT IN (1)", "(a NOT LIKE 'x') NOT IN (1)"),
        ("a + b * c", "a + (b * c)"),
        ("a * b + c", "(a * b) + c"),
        ("a - b - c", "(a - b) - c"),
        ("a / b * c % d", "((a / b) * c) % d"),
        ("a + b = c - d", "(a + b) = (c - d)"),
        ("a < b = c", "(a < b) = c"),
        ("a = b != c", "(a = b) != c"),
        ("a = NOT b = c", "(a = (NOT b)) = c"),
        ("a = b AND c < d", "(a = b) AND (c < d)"),
        ("a AND b AND c", "a AND (b AND c)"),
        ("a OR b AND c XOR d", "a OR (b AND (c XOR d))"),
        ("a AND b AND c OR d", "a AND (b AND (c OR d))"),
        ("LENGTH(a) + 1", "(LENGTH(a)) + 1"),
        ("LENGTH (a)", "LENGTH(a)"),
        ("((a))", "a"),
        ("a <> b", "a != b"),
    ]);
    for (one, other) in [
        ("(a AND b) AND c", "a AND b AND c"),
        ("(a AND b) OR c", "a AND b OR c"),
        ("a - (b - c)", "a - b - c"),
        ("NOT (a = b)", "NOT a = b"),
        ("-(5)", "-5"),
        ("'a'", "a"),
    ] {
        assert_ne!(parse(one), parse(other), "{one} and {other}");
    }
}

/// SQLG-01, SQLG-05
#[test]
fn keywords_functions_and_attributes_know_no_case() {
    assert_same(&[
        ("not a and b or c xor d", "NOT A AND B OR C XOR D"),
        ("a like 'x' and b in (TRUE, False) and exists c", "A LIKE 'x' AND B IN (true, fALSE) AND EXISTS C"),
        ("Length(a) = iS_iNt(b)", "LENGTH(A) = IS_INT(B)"),
        ("a not like 'x' and b not in (1)", "A NOT LIKE 'x' AND B NOT IN (1)"),
    ]);
    assert_ne!(parse("a LIKE 'x'"), parse("a LIKE 'X'"));
    assert_ne!(parse("a = 'x'"), parse("a = 'X'"));
}

/// SQLG-02, SQLG-03, SQLG-04
#[test]
fn only_the_delimiter_of_a_text_is_escaped() {
    assert_values(&[
        (r"'a\'b'", "'a'b'"),
        (r#""a\"b""#, "'a\"b'"),
        (r#"'a"b'"#, "'a\"b'"),
        (r#""a'b""#, "'a'b'"),
        (r"'ab\c'", r"'ab\c'"),
        (r"'a\\b'", r"'a\\b'"),
        (r"'a\\'", r"'a\\'"),
        (r"'\n'", r"'\n'"),
        (r#"'a\"b'"#, r#"'a\"b'"#),
        (r#""a\'b""#, r"'a\'b'"),
        (r"'\%'", r"'\%'"),
        ("'it''s'", "'it''s'"),
        ("\"a\"\"b\"", "'a\"\"b'"),
        ("''''", "''''"),
        ("' a '", "' a '"),
        ("'a\nb'", "'a\nb'"),
        (r"'\'\'' = '\'' ", "FALSE"),
        (r"LENGTH('\'')", "1"),
        (r"LENGTH('\\')", "2"),
    ]);
}

/// SQLG-05, SQLG-06
#[test]
fn attributes_have_letters_and_digits_and_are_no_keywords() {
    for source in ["a", "a1", "1a", "9z9", "1e5", "length", "concat", "abcdefghijklmnopqrstuvwxyz0123456789"]
    {
        assert_eq!(parse(source).to_string(), source);
        assert_eq!(parse(&format!("EXISTS {source}")).to_string(), format!("EXISTS {source}"));
    }
    for source in
        ["and", "OR", "xor", "not", "in", "like", "exists", "EXISTS true", "EXISTS 12", "a_b", "EXISTS a_b"]
    {
        assert!(Expression::parse(source).is_err(), "{source}");
    }
    assert_eq!(parse("12").to_string(), "12", "it is a number");
}

/// SQLG-11
#[test]
fn a_sign_behind_a_value_is_an_operator() {
    assert_values(&[
        ("1-2", "-1"),
        ("1+2", "3"),
        ("1 -2", "-1"),
        ("1--2", "3"),
        ("1- -2", "3"),
        ("1+-2", "-1"),
        ("1++2", "3"),
        ("(1)-2", "-1"),
        ("number-1", "9"),
        ("number -1", "9"),
        ("LENGTH('ab')-1", "1"),
        ("2*-3", "-6"),
        ("-2--3", "1"),
        ("-number-1", "-11"),
    ]);
}

/// SQLG-02, SQLG-07, SQLG-10, SQLG-12
#[test]
fn what_is_no_expression_is_refused() {
    for source in [
        "",
        " ",
        "\t\r\n",
        "(",
        ")",
        "()",
        "(1",
        "1)",
        "ABC(",
        "ABC(1",
        "ABC(1,",
        "ABC(,)",
        "ABC(1,)",
        "ABC(1 2)",
        "1 2",
        "a b",
        "'a' 'b'",
        "a =",
        "= a",
        "a == b",
        "a = = b",
        "a ! b",
        "a !== b",
        "a <=> b",
        "+",
        "-",
        "- ",
        "+a",
        "+ 5",
        "1 +",
        "* 1",
        "NOT",
        "AND",
        "a AND",
        "AND a",
        "a AND OR b",
        "a NOT b",
        "a NOT",
        "a NOT = b",
        "x LIKE 123",
        "x LIKE y",
        "x LIKE",
        "x LIKE ('a')",
        "LIKE 'a'",
        "x LIKE TRUE",
        "x NOT LIKE 5",
        "EXISTS",
        "EXISTS 'a'",
        "EXISTS (a)",
        "EXISTS a.b",
        "EXISTS LENGTH(a)",
        "a IN",
        "a IN ()",
        "a IN 1",
        "a IN (1",
        "a IN (1,)",
        "a IN (,1)",
        "IN (1)",
        "a NOT IN ()",
        "2147483648",
        "-2147483649",
        "99999999999999999999",
        "- 2147483648",
        "1.5",
        "'abc",
        "\"abc",
        "'abc\"",
        "'abc\\'",
        "'",
        "\"",
        "a.b",
        "a-b-",
        "a;b",
        "a && b",
        "a || b",
        "!a",
        "[1]",
        "{a}",
        "a ? b",
        "a # b",
        "$a",
        "@a",
        "ü",
        "a\u{a0}= 1",
        "\u{feff}a",
        "_a",
        "a_b",
        "_f()",
        "f1()",
        "1f()",
        "TRUE()",
        "a() b",
        "a()()",
        "’a’",
        "a IS NULL",
        "a BETWEEN 1 AND 2",
        "SELECT a",
        "CASE WHEN a THEN b END",
    ] {
        let error = Expression::parse(source).map(|read| read.to_string()).expect_err(source);
        assert!(error.0.offset <= source.len(), "{source}");
        assert!(error.to_string().lines().count() >= 4, "{error}");
    }
}

#[test]
fn an_expression_is_printed_in_its_normal_form() {
    for (source, printed) in [
        ("  type='a'and not(exists subject)", "type = 'a' AND NOT EXISTS subject"),
        ("(a or b) and c", "(a OR b) AND c"),
        ("a and (b or c)", "a AND (b OR c)"),
        ("a and b or c", "a AND (b OR c)"),
        ("((1 + 2)) * 3", "(1 + 2) * 3"),
        ("1 + (2 * 3)", "1 + 2 * 3"),
        ("1 - (2 - 3)", "1 - (2 - 3)"),
        ("- 5", "-(5)"),
        ("-(-5)", "--5"),
        ("-(a)", "-a"),
        ("(-a) * 2", "-a * 2"),
        ("-(a * 2)", "-(a * 2)"),
        ("a <> +5", "a != 5"),
        ("\"it's\"", r"'it\'s'"),
        (r#""a\'b""#, r#""a\'b""#),
        ("f()", "F()"),
        ("substring( a ,1, 2 )", "SUBSTRING(a, 1, 2)"),
        ("a in(1,2)", "a IN (1, 2)"),
        ("(a = b) in (TRUE)", "(a = b) IN (TRUE)"),
        ("(a like 'x') like 'y'", "a LIKE 'x' LIKE 'y'"),
        ("a not  like '%\\_'", "a NOT LIKE '%\\_'"),
    ] {
        assert_eq!(parse(source).to_string(), printed);
        assert_eq!(parse(printed), parse(source), "{source}");
    }
}
