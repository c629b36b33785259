//! The functions that there are, by name and number of arguments (SQLS-14, SQLS-20).

use super::value::Type;
use crate::suggest::nearest;

/// A function that can be called; how it is carried out is for the evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Int,
    Bool,
    String,
    IsInt,
    IsBool,
    Abs,
    Length,
    Concat,
    ConcatWs,
    Lower,
    Upper,
    Trim,
    Left,
    Right,
    SubstringFrom,
    Substring,
}

/// How a function is called.
#[derive(Debug)]
pub(super) struct Signature {
    /// In upper case.
    pub(super) name: &'static str,
    /// How many arguments it takes, or takes at least.
    pub(super) arity: usize,
    pub(super) is_variadic: bool,
    pub(super) returns: Type,
    pub(super) function: Function,
}

/// The casts stand in no table of the specification but in its text and its TCK; `IS_INT` and `IS_BOOL` are the
/// Go SDK's, and so Knative's.
pub(super) static FUNCTIONS: [Signature; 16] = [
    fixed("INT", 1, Type::Integer, Function::Int),
    fixed("BOOL", 1, Type::Boolean, Function::Bool),
    fixed("STRING", 1, Type::String, Function::String),
    fixed("IS_INT", 1, Type::Boolean, Function::IsInt),
    fixed("IS_BOOL", 1, Type::Boolean, Function::IsBool),
    fixed("ABS", 1, Type::Integer, Function::Abs),
    fixed("LENGTH", 1, Type::Integer, Function::Length),
    variadic("CONCAT", 0, Type::String, Function::Concat),
    variadic("CONCAT_WS", 1, Type::String, Function::ConcatWs),
    fixed("LOWER", 1, Type::String, Function::Lower),
    fixed("UPPER", 1, Type::String, Function::Upper),
    fixed("TRIM", 1, Type::String, Function::Trim),
    fixed("LEFT", 2, Type::String, Function::Left),
    fixed("RIGHT", 2, Type::String, Function::Right),
    fixed("SUBSTRING", 2, Type::String, Function::SubstringFrom),
    fixed("SUBSTRING", 3, Type::String, Function::Substring),
];

const fn fixed(name: &'static str, arity: usize, returns: Type, function: Function) -> Signature {
    Signature { name, arity, is_variadic: false, returns, function }
}

const fn variadic(name: &'static str, arity: usize, returns: Type, function: Function) -> Signature {
    Signature { name, arity, is_variadic: true, returns, function }
}

/// The function of a name, in upper case, that takes this many arguments: one that takes exactly as many before
/// one that takes any number.
pub(super) fn resolve(name: &str, arguments: usize) -> Option<&'static Signature> {
    let called = || FUNCTIONS.iter().filter(|signature| signature.name == name);
    called()
        .find(|signature| !signature.is_variadic && signature.arity == arguments)
        .or_else(|| called().find(|signature| signature.is_variadic && signature.arity <= arguments))
}

/// Why there is no such function, in one line.
pub(super) fn missing(name: &str, arguments: usize) -> String {
    let arities: Vec<_> = FUNCTIONS
        .iter()
        .filter(|signature| signature.name == name)
        .map(|Signature { arity, is_variadic, .. }| match is_variadic {
            true => format!("{arity} or more"),
            false => arity.to_string(),
        })
        .collect();
    if !arities.is_empty() {
        return format!("{name} takes {} arguments, not {arguments}", arities.join(" or "));
    }
    match nearest(name, FUNCTIONS.iter().map(|signature| signature.name)) {
        Some(near) => format!("there is no function {name}; did you mean {near}?"),
        None => format!("there is no function {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLS-20
    #[test]
    fn no_two_functions_of_one_name_can_be_meant_by_one_call() {
        for (place, one) in FUNCTIONS.iter().enumerate() {
            assert_eq!(one.name, one.name.to_ascii_uppercase());
            for other in FUNCTIONS.iter().skip(place + 1).filter(|other| other.name == one.name) {
                let is_distinct = match (one.is_variadic, other.is_variadic) {
                    (true, true) => false,
                    (true, false) => one.arity > other.arity,
                    (false, true) => other.arity > one.arity,
                    (false, false) => one.arity != other.arity,
                };
                assert!(is_distinct, "{}", one.name);
            }
        }
    }

    /// SQLS-16, SQLS-20
    #[test]
    fn a_function_is_found_by_its_name_and_the_number_of_arguments() {
        let found = |name, arguments| resolve(name, arguments).map(|signature| signature.function);
        assert_eq!(found("SUBSTRING", 2), Some(Function::SubstringFrom));
        assert_eq!(found("SUBSTRING", 3), Some(Function::Substring));
        assert_eq!(found("SUBSTRING", 4), None);
        assert_eq!(found("CONCAT", 0), Some(Function::Concat));
        assert_eq!(found("CONCAT", 100), Some(Function::Concat));
        assert_eq!(found("CONCAT_WS", 0), None);
        assert_eq!(found("CONCAT_WS", 1), Some(Function::ConcatWs));
        assert_eq!(found("length", 1), None, "names come in upper case");
        assert_eq!(missing("SUBSTRING", 1), "SUBSTRING takes 2 or 3 arguments, not 1");
        assert_eq!(missing("CONCAT_WS", 0), "CONCAT_WS takes 1 or more arguments, not 0");
        assert_eq!(missing("LENGHT", 1), "there is no function LENGHT; did you mean LENGTH?");
        assert_eq!(missing("REGEX_MATCHES", 1), "there is no function REGEX_MATCHES");
    }
}
