//! Literals and attributes, sums, conditions, and what is missing.

use super::*;

/// SQLG-02, SQLS-01, FLN-09
#[test]
fn literals_and_attributes_are_values() {
    assert_values(&[
        ("TRUE", "TRUE"),
        ("true", "TRUE"),
        ("tRue", "TRUE"),
        ("FALSE", "FALSE"),
        ("false", "FALSE"),
        ("faLSe", "FALSE"),
        ("0", "0"),
        ("-0", "0"),
        ("007", "7"),
        ("+7", "7"),
        ("-7", "-7"),
        ("2147483647", "2147483647"),
        ("-2147483648", "-2147483648"),
        ("''", "''"),
        ("\"\"", "''"),
        ("'abc'", "'abc'"),
        ("\"aBc\"", "'aBc'"),
        ("'😀'", "'😀'"),
        ("id", "'1'"),
        ("type", "'order.created'"),
        ("source", "'/orders'"),
        ("specversion", "'1.0'"),
        ("subject", "'Grüße'"),
        ("time", "'2026-11-21T04:00:00+01:00'"),
        ("sequence", "'5'"),
        ("number", "10"),
        ("flag", "TRUE"),
        ("x2", "'two'"),
        ("SUBJECT", "'Grüße'"),
    ]);
}

/// SQLS-03
#[test]
fn what_is_missing_makes_what_uses_it_fail_with_its_own_zero_value() {
    assert_values(&[
        ("nothing", "FALSE attribute"),
        ("dataschema", "FALSE attribute"),
        ("NOT nothing", "FALSE attribute"),
        ("-nothing", "0 attribute"),
        ("nothing = 1", "FALSE attribute"),
        ("1 = nothing", "FALSE attribute"),
        ("nothing != 1", "FALSE attribute"),
        ("nothing <> 1", "FALSE attribute"),
        ("nothing = nothing", "FALSE attribute attribute"),
        ("nothing < 1", "FALSE attribute"),
        ("nothing >= 1", "FALSE attribute"),
        ("nothing + 1", "0 attribute"),
        ("1 - nothing", "0 attribute"),
        ("nothing * 5", "0 attribute"),
        ("nothing LIKE '%'", "FALSE attribute"),
        ("nothing NOT LIKE 'a'", "FALSE attribute"),
        ("nothing IN ('a')", "FALSE attribute"),
        ("nothing NOT IN ('a')", "FALSE attribute"),
        ("'a' IN (nothing)", "FALSE attribute"),
        ("'a' NOT IN (nothing)", "FALSE attribute"),
        ("LENGTH(nothing)", "0 attribute"),
        ("UPPER(nothing)", "'' attribute"),
        ("IS_INT(nothing)", "FALSE attribute"),
        ("BOOL(nothing)", "FALSE attribute"),
        ("CONCAT('a', nothing)", "'' attribute"),
        ("LEFT(nothing, 1)", "'' attribute"),
        ("LEFT('abc', nothing)", "'' attribute"),
        ("TRUE AND nothing", "FALSE attribute"),
        ("FALSE OR nothing", "FALSE attribute"),
        ("TRUE XOR nothing", "FALSE attribute"),
        ("TRUE AND (nothing = '')", "FALSE attribute"),
        ("NOT (nothing = '')", "FALSE attribute"),
        ("(nothing * 5) + 1", "0 attribute"),
    ]);
}

/// SQLS-04
#[test]
fn what_is_missing_is_not_divided() {
    assert_values(&[
        ("nothing / 0", "0 attribute"),
        ("nothing % 0", "0 attribute"),
        ("1 / nothing", "0 attribute"),
        ("1 % nothing", "0 attribute"),
        ("nothing / nothing", "0 attribute attribute"),
    ]);
}

/// SQLS-05
#[test]
fn exists_asks_for_presence_and_never_fails() {
    assert_values(&[
        ("EXISTS id", "TRUE"),
        ("EXISTS source", "TRUE"),
        ("EXISTS SOURCE", "TRUE"),
        ("EXISTS type", "TRUE"),
        ("EXISTS specversion", "TRUE"),
        ("EXISTS subject", "TRUE"),
        ("EXISTS dataschema", "FALSE"),
        ("EXISTS number", "TRUE"),
        ("EXISTS x2", "TRUE"),
        ("EXISTS nothing", "FALSE"),
        ("exists nothing", "FALSE"),
        ("NOT EXISTS nothing", "TRUE"),
        ("NOT EXISTS subject", "FALSE"),
        ("EXISTS subject AND subject = 'Grüße'", "TRUE"),
        ("EXISTS nothing AND nothing = 'x'", "FALSE"),
        ("EXISTS subject = 'true'", "TRUE"),
    ]);
}

/// SQLS-06
#[test]
fn and_and_or_look_at_the_right_only_when_the_left_has_not_decided() {
    assert_values(&[
        ("TRUE AND TRUE", "TRUE"),
        ("TRUE AND FALSE", "FALSE"),
        ("FALSE AND TRUE", "FALSE"),
        ("FALSE OR FALSE", "FALSE"),
        ("FALSE OR TRUE", "TRUE"),
        ("TRUE OR FALSE", "TRUE"),
        ("TRUE XOR TRUE", "FALSE"),
        ("TRUE XOR FALSE", "TRUE"),
        ("FALSE XOR TRUE", "TRUE"),
        ("FALSE XOR FALSE", "FALSE"),
        ("FALSE AND nothing", "FALSE"),
        ("FALSE AND 1 / 0 = 1", "FALSE"),
        ("FALSE AND NOFUNCTION()", "FALSE"),
        ("lie AND nothing", "FALSE"),
        ("TRUE OR nothing", "TRUE"),
        ("truth OR nothing", "TRUE"),
        ("TRUE OR 1 / 0 = 1", "TRUE"),
        ("TRUE AND 1 / 0 = 1", "FALSE math"),
        ("FALSE OR 1 / 0 != 1", "FALSE math"),
        ("TRUE XOR (1 / 0 = 1)", "FALSE math"),
        ("nothing XOR (1 / 0 = 1)", "FALSE attribute math"),
        // What failed is false, which decides AND, but not OR.
        ("nothing AND 1 / 0 = 1", "FALSE attribute"),
        ("nothing OR 1 / 0 = 1", "FALSE attribute math"),
        ("nothing OR TRUE", "FALSE attribute"),
        ("nothing OR TRUE OR 1 / 0 = 1", "FALSE attribute"),
        ("TRUE AND FALSE AND nothing", "FALSE"),
        ("FALSE OR TRUE OR nothing", "TRUE"),
        ("TRUE XOR TRUE XOR TRUE", "TRUE"),
        ("1 AND 'true'", "TRUE"),
        ("0 OR 'FALSE'", "FALSE"),
        ("'x' AND TRUE", "FALSE cast"),
        ("TRUE AND 'x'", "FALSE cast"),
        ("FALSE OR 'x'", "FALSE cast"),
        ("TRUE XOR 'x'", "FALSE cast"),
    ]);
}

/// SQLG-09, X-10
#[test]
fn and_or_and_xor_group_to_the_right() {
    assert_values(&[
        ("FALSE AND FALSE OR TRUE", "FALSE"),
        ("(FALSE AND FALSE) OR TRUE", "TRUE"),
        ("FALSE AND (FALSE OR TRUE)", "FALSE"),
        ("TRUE OR FALSE AND FALSE", "TRUE"),
        ("(TRUE OR FALSE) AND FALSE", "FALSE"),
        ("TRUE OR TRUE XOR TRUE", "TRUE"),
        ("(TRUE OR TRUE) XOR TRUE", "FALSE"),
        ("TRUE XOR TRUE AND FALSE", "TRUE"),
        ("FALSE AND FALSE XOR TRUE", "FALSE"),
        ("FALSE AND TRUE OR TRUE AND TRUE", "FALSE"),
    ]);
}

/// SQLS-07, SQLS-08
#[test]
fn sums_are_of_32_bits_and_wrap_around() {
    assert_values(&[
        ("1 + 2", "3"),
        ("1 - 2", "-1"),
        ("3 * -4", "-12"),
        ("7 / 2", "3"),
        ("-7 / 2", "-3"),
        ("7 / -2", "-3"),
        ("-7 / -2", "3"),
        ("7 % 2", "1"),
        ("-7 % 2", "-1"),
        ("7 % -2", "1"),
        ("-7 % -2", "-1"),
        ("1 / 0", "0 math"),
        ("1 % 0", "0 math"),
        ("0 / 0", "0 math"),
        ("1 / 0 + 5", "0 math"),
        ("(1 / 0) + (1 % 0)", "0 math math"),
        ("2147483647 + 1", "-2147483648"),
        ("-2147483648 - 1", "2147483647"),
        ("2147483647 * 2", "-2"),
        ("65536 * 65536", "0"),
        ("-2147483648 / -1", "-2147483648"),
        ("-2147483648 % -1", "0"),
        ("--2147483648", "-2147483648"),
        ("-5", "-5"),
        ("--5", "5"),
        ("---5", "-5"),
        ("-'10'", "-10"),
        ("-TRUE", "-1"),
        ("-'ten'", "0 cast"),
        ("-number", "-10"),
        ("-negative", "7"),
        ("'5' + 3", "8"),
        ("'5' + '3'", "8"),
        ("5 + TRUE", "6"),
        ("'a' + 1", "0 cast"),
        ("1 + 'a'", "0 cast"),
        ("'a' + 'b'", "0 cast cast"),
        ("sequence + 1", "6"),
        ("number * sequence", "50"),
        ("big + 0", "0 cast"),
    ]);
}

/// SQLG-07, SQLG-08
#[test]
fn products_come_before_sums_and_parentheses_before_both() {
    assert_values(&[
        ("(7)", "7"),
        ("((TRUE))", "TRUE"),
        ("2 + 3 * 4", "14"),
        ("(2 + 3) * 4", "20"),
        ("4 * (3 + 2)", "20"),
        ("2 * 3 + 8 / 4", "8"),
        ("20 - 5 - 3", "12"),
        ("20 - (5 - 3)", "18"),
        ("100 / 5 / 2", "10"),
        ("100 / (5 / 2)", "50"),
        ("17 % 5 * 2", "4"),
        ("-(2 + 3)", "-5"),
        ("(1 + 1) = 2 AND (TRUE)", "TRUE"),
        ("LENGTH(CONCAT('a', ('b'))) * (1 + 1)", "4"),
    ]);
}

/// SQLS-10, SQLS-21, X-07
#[test]
fn a_condition_takes_what_can_be_cast_to_a_boolean() {
    assert_values(&[
        ("NOT TRUE", "FALSE"),
        ("NOT FALSE", "TRUE"),
        ("NOT 'TRUE'", "FALSE"),
        ("NOT 'false'", "TRUE"),
        ("NOT 10", "FALSE"),
        ("NOT 0", "TRUE"),
        ("NOT -1", "FALSE"),
        ("NOT 'yes'", "FALSE cast"),
        ("NOT ''", "FALSE cast"),
        ("NOT NOT TRUE", "TRUE"),
        ("NOT NOT 5", "TRUE"),
        ("NOT truth", "FALSE"),
        ("NOT flag", "FALSE"),
        ("NOT number", "FALSE"),
    ]);
}

/// SQLS-19
#[test]
fn the_data_of_an_event_cannot_be_addressed() {
    let event = event().into_builder().data(r#"{"price": 5}"#).build().expect("a valid event");
    for (source, expected) in [
        ("EXISTS data", "FALSE"),
        ("data", "FALSE attribute"),
        ("price = 5", "FALSE attribute"),
        ("EXISTS datacontenttype", "FALSE"),
    ] {
        let expression = parse(source);
        let evaluation = expression.evaluate(&event);
        let kinds = evaluation.errors.iter().map(|error| word(error.kind));
        let found: Vec<_> = [evaluation.value.to_string().as_str()]
            .into_iter()
            .map(str::to_owned)
            .chain(kinds.map(str::to_owned))
            .collect();
        assert_eq!(found.join(" "), expected, "{source}");
    }
}

/// SQLS-18, FLN-07, FLN-14
#[test]
fn only_true_without_errors_passes() {
    let event = event();
    for source in
        ["1", "'true'", "truth", "number", "FALSE", "nothing", "LEFT('true', -1)", "nothing OR TRUE"]
    {
        assert!(!parse(source).passes(&event), "{source}");
    }
    for source in ["TRUE", "flag", "EXISTS id", "NOT lie", "BOOL(truth)"] {
        assert!(parse(source).passes(&event), "{source}");
    }
}

/// FLA-04, X-17
#[test]
fn an_event_of_version_0_3_has_its_schema_under_both_names() {
    let event = EventBuilder::default()
        .spec_version("0.3")
        .attribute("id", "1")
        .attribute("source", "/orders")
        .attribute("type", "a")
        .attribute("schemaurl", "urn:a")
        .build()
        .expect("a valid event");
    for source in ["schemaurl = 'urn:a'", "dataschema = 'urn:a'", "EXISTS dataschema", "specversion = '0.3'"]
    {
        assert!(parse(source).passes(&event), "{source}");
    }
    assert!(!parse("EXISTS schemaurl").passes(&super::event()));
}
