//! Functions.

use super::*;

/// SQLS-10, SQLS-14
#[test]
fn casts_by_name() {
    assert_values(&[
        ("INT('1')", "1"),
        ("INT('-1')", "-1"),
        ("INT('+1')", "1"),
        ("INT('0001')", "1"),
        ("INT('2147483647')", "2147483647"),
        ("INT('-2147483648')", "-2147483648"),
        ("INT('2147483648')", "0 cast"),
        ("INT('-2147483649')", "0 cast"),
        ("INT('')", "0 cast"),
        ("INT('-')", "0 cast"),
        ("INT(' 1')", "0 cast"),
        ("INT('1.0')", "0 cast"),
        ("INT('0x10')", "0 cast"),
        ("INT('١')", "0 cast"),
        ("INT(TRUE)", "1"),
        ("INT(FALSE)", "0"),
        ("INT(5)", "5"),
        ("int(sequence)", "5"),
        ("BOOL('TRUE')", "TRUE"),
        ("BOOL('fALSE')", "FALSE"),
        ("BOOL('1')", "FALSE cast"),
        ("BOOL(' true')", "FALSE cast"),
        ("BOOL(0)", "FALSE"),
        ("BOOL(-5)", "TRUE"),
        ("BOOL(TRUE)", "TRUE"),
        ("STRING(TRUE)", "'true'"),
        ("STRING(FALSE)", "'false'"),
        ("STRING(007)", "'7'"),
        ("STRING(-2147483648)", "'-2147483648'"),
        ("STRING('a')", "'a'"),
        ("STRING(number)", "'10'"),
        ("STRING(INT('x'))", "'' cast"),
        ("IS_INT('5')", "TRUE"),
        ("IS_INT('x')", "FALSE"),
        ("IS_INT(TRUE)", "TRUE"),
        ("IS_INT(big)", "FALSE"),
        ("IS_BOOL('true')", "TRUE"),
        ("IS_BOOL('x')", "FALSE"),
        ("is_bool(7)", "TRUE"),
    ]);
}

/// SQLS-09, SQLS-14
#[test]
fn the_absolute_value() {
    assert_values(&[
        ("ABS(10)", "10"),
        ("ABS(-10)", "10"),
        ("ABS(0)", "0"),
        ("ABS('-3')", "3"),
        ("ABS(TRUE)", "1"),
        ("ABS(2147483647)", "2147483647"),
        ("ABS(-2147483647)", "2147483647"),
        ("ABS(-2147483648)", "2147483647 math"),
        ("ABS(-2147483648) = 2147483647", "FALSE math"),
        ("ABS('x')", "0 cast"),
        ("ABS(negative)", "7"),
    ]);
}

/// SQLS-14, SQLS-15
#[test]
fn texts_are_put_together_and_changed() {
    assert_values(&[
        ("LENGTH('')", "0"),
        ("LENGTH('abc')", "3"),
        ("LENGTH('Grüße')", "5"),
        ("LENGTH('😀')", "1"),
        ("LENGTH(TRUE)", "4"),
        ("LENGTH(-12)", "3"),
        ("length(smile)", "3"),
        ("CONCAT()", "''"),
        ("CONCAT('a')", "'a'"),
        ("CONCAT('a', 'b', 'c')", "'abc'"),
        ("CONCAT('a', 1, TRUE)", "'a1true'"),
        ("CONCAT(type, '@', source)", "'order.created@/orders'"),
        ("CONCAT(nothing, INT('x'))", "'' attribute cast"),
        ("CONCAT_WS(',')", "''"),
        ("CONCAT_WS(',', 'a')", "'a'"),
        ("CONCAT_WS(',', 'a', 'b')", "'a,b'"),
        ("CONCAT_WS('', 'a', 'b')", "'ab'"),
        ("CONCAT_WS(1, 2, 3)", "'213'"),
        ("CONCAT_WS(', ', '', '')", "', '"),
        ("CONCAT_WS(nothing, 'a')", "'' attribute"),
        ("CONCAT_WS()", "FALSE function"),
        ("LOWER('AbC')", "'abc'"),
        ("LOWER('ÄÖ')", "'äö'"),
        ("LOWER(TRUE)", "'true'"),
        ("UPPER('aBc')", "'ABC'"),
        ("UPPER('grüße')", "'GRÜSSE'"),
        ("UPPER('')", "''"),
        ("TRIM('  a b  ')", "'a b'"),
        ("TRIM('\t\na\r\n')", "'a'"),
        ("TRIM('\u{2003}a\u{a0}')", "'a'"),
        ("TRIM('\u{200b}a')", "'\u{200b}a'"),
        ("TRIM('\u{0}a')", "'\u{0}a'"),
        ("TRIM('   ')", "''"),
        ("TRIM(CONCAT(' ', 'a', ' '))", "'a'"),
        ("LOWER(type) = 'order.created'", "TRUE"),
    ]);
}

/// SQLS-15
#[test]
fn texts_are_cut_by_characters() {
    assert_values(&[
        ("LEFT('abc', 2)", "'ab'"),
        ("LEFT('abc', 3)", "'abc'"),
        ("LEFT('abc', 10)", "'abc'"),
        ("LEFT('abc', 0)", "''"),
        ("LEFT('', 1)", "''"),
        ("LEFT('abc', -1)", "'abc' evaluation"),
        ("LEFT('abc', -2147483648)", "'abc' evaluation"),
        ("LEFT('abc', -1) = 'abc'", "FALSE evaluation"),
        ("LEFT('Grüße', 3)", "'Grü'"),
        ("LEFT(smile, 2)", "'a😀'"),
        ("LEFT('abc', '2')", "'ab'"),
        ("LEFT('abc', 'x')", "'' cast"),
        ("LEFT(12345, 2)", "'12'"),
        ("LEFT(type, 5) = 'order'", "TRUE"),
        ("RIGHT('abc', 2)", "'bc'"),
        ("RIGHT('abc', 3)", "'abc'"),
        ("RIGHT('abc', 10)", "'abc'"),
        ("RIGHT('abc', 0)", "''"),
        ("RIGHT('', 0)", "''"),
        ("RIGHT('abc', -1)", "'abc' evaluation"),
        ("RIGHT('Grüße', 3)", "'üße'"),
        ("RIGHT(smile, 2)", "'😀b'"),
        ("RIGHT(UPPER('abc'), 1)", "'C'"),
        ("SUBSTRING('abcdef', 1)", "'abcdef'"),
        ("SUBSTRING('abcdef', 6)", "'f'"),
        ("SUBSTRING('abcdef', 7)", "'' evaluation"),
        ("SUBSTRING('abcdef', 0)", "''"),
        ("SUBSTRING('abcdef', -1)", "'f'"),
        ("SUBSTRING('abcdef', -6)", "'abcdef'"),
        ("SUBSTRING('abcdef', -7)", "'' evaluation"),
        ("SUBSTRING('', 0)", "''"),
        ("SUBSTRING('', 1)", "'' evaluation"),
        ("SUBSTRING('abcdef', 2147483647)", "'' evaluation"),
        ("SUBSTRING('abcdef', -2147483648)", "'' evaluation"),
        ("SUBSTRING('abcdef', 2, 3)", "'bcd'"),
        ("SUBSTRING('abcdef', 2, 0)", "''"),
        ("SUBSTRING('abcdef', 2, 100)", "'bcdef'"),
        ("SUBSTRING('abcdef', 2, 2147483647)", "'bcdef'"),
        ("SUBSTRING('abcdef', 2, -1)", "'' evaluation"),
        ("SUBSTRING('abcdef', 0, 3)", "''"),
        ("SUBSTRING('abcdef', -3, 2)", "'de'"),
        ("SUBSTRING('abcdef', -3, 100)", "'def'"),
        ("SUBSTRING('abcdef', 7, 1)", "'' evaluation"),
        ("SUBSTRING('abcdef', -7, 1)", "'' evaluation"),
        ("SUBSTRING('Grüße', 3, 2)", "'üß'"),
        ("SUBSTRING('Grüße', -2)", "'ße'"),
        ("SUBSTRING(smile, 2, 1)", "'😀'"),
        ("SUBSTRING(nothing, 'x', 'y')", "'' attribute cast cast"),
        ("SUBSTRING(CONCAT('ab', 'cd'), 2, 2)", "'bc'"),
    ]);
}

/// SQLS-16, SQLS-20
#[test]
fn a_call_to_nothing_is_false_and_an_error_when_it_is_evaluated() {
    assert_values(&[
        ("NOFUNCTION()", "FALSE function"),
        ("NOFUNCTION(nothing, 1 / 0)", "FALSE function"),
        ("NOFUNCTION() = FALSE", "FALSE function"),
        ("LENGTH()", "FALSE function"),
        ("LENGTH('a', 'b')", "FALSE function"),
        ("LEFT('a')", "FALSE function"),
        ("SUBSTRING('a')", "FALSE function"),
        ("SUBSTRING('a', 1, 1, 1)", "FALSE function"),
        ("INT()", "FALSE function"),
        ("TRUE OR NOFUNCTION()", "TRUE"),
        ("LENGTH(NOFUNCTION())", "0 function"),
    ]);
}
