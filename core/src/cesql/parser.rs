//! Reads the tokens of an expression as a tree.
//!
//! `AND`, `OR` and `XOR` are of one precedence and group to the right, as the grammar of the specification and
//! the Triggers of Knative have it, and not to the left, as its text has it (SQLG-09, X-10). Where that decides
//! about the meaning of an expression, it is remarked.

use super::ast::{BinaryOperator, Expr, ExprKind, LogicOperator, Precedence};
use super::error::{ParseError, Remark, Span};
use super::token::{Keyword, Token, TokenKind, tokens};
use super::{MAX_DEPTH, MAX_ERRORS};

/// How deep the reader may be in parentheses, lists and signs: whatever can be read can be printed with a pair of
/// parentheses around each of its parts, and that can be read again.
const MAX_NESTED: usize = 2 * MAX_DEPTH;

/// Reads an expression; also says what in it may not mean what its author thinks.
pub(super) fn parse(source: &str) -> Result<(Expr, Vec<Remark>), ParseError> {
    let error = |(span, message): Failure| ParseError(Box::new(Remark::new(source, span, message)));
    let tokens = tokens(source).map_err(error)?;
    let mut parser = Parser { source, tokens, next: 0, nested: 0, remarks: Vec::new() };
    let (expr, _) = parser.all().map_err(error)?;
    Ok((expr, parser.remarks))
}

struct Parser<'s> {
    source: &'s str,
    tokens: Vec<Token<'s>>,
    next: usize,
    /// How deep the reader is in parentheses, lists and signs.
    nested: usize,
    remarks: Vec<Remark>,
}

type Failure = (Span, String);

/// An expression and how deep it nests.
type Read = Result<(Expr, usize), Failure>;

impl<'s> Parser<'s> {
    fn all(&mut self) -> Read {
        let expr = self.expression(Precedence::Logic)?;
        match self.peek().kind {
            TokenKind::End => Ok(expr),
            _ => Err(self.expected("an operator or the end")),
        }
    }

    /// An expression whose parts are held together at least so tightly.
    fn expression(&mut self, least: Precedence) -> Read {
        if least == Precedence::Logic {
            let first = self.expression(Precedence::Comparison)?;
            return if self.logic_operator().is_some() { self.logic(first) } else { Ok(first) };
        }
        let mut left = self.operand()?;
        loop {
            left = match self.peek().kind {
                TokenKind::Keyword(Keyword::Not | Keyword::Like | Keyword::In) => self.suffix(left)?,
                TokenKind::Symbol(symbol) => match BinaryOperator::of_symbol(symbol) {
                    Some(operator) if operator.precedence() >= least => self.binary(left, operator)?,
                    Some(_) | None => return Ok(left),
                },
                _ => return Ok(left),
            };
        }
    }

    /// An operator and what is to its right.
    fn binary(&mut self, left: (Expr, usize), operator: BinaryOperator) -> Read {
        self.next += 1;
        let right = self.expression(operator.precedence().tighter())?;
        let depth = left.1.max(right.1);
        let span = left.0.span.to(right.0.span);
        self.node(ExprKind::Binary(operator, Box::new([left.0, right.0])), span, depth)
    }

    /// A chain of `AND`, `OR` and `XOR`, after its first operand.
    fn logic(&mut self, first: (Expr, usize)) -> Read {
        let mut operands = vec![first];
        let mut operators: Vec<LogicOperator> = Vec::new();
        while let Some(operator) = self.logic_operator() {
            let token = self.take();
            if operators.last().is_some_and(|last| *last != operator) {
                self.remark_mixture(&operators, operator, token.span);
            }
            operators.push(operator);
            operands.push(self.expression(Precedence::Comparison)?);
        }
        let Some(mut tail) = operands.pop() else { return Err(self.expected("a value")) };
        // Back to front, and each run of one operator is one node.
        let mut run: Vec<(Expr, usize)> = Vec::new();
        let mut of_run = operators.last().copied();
        for (operator, left) in operators.into_iter().zip(operands).rev() {
            if let Some(other) = of_run.filter(|other| *other != operator) {
                tail = self.chain(other, std::mem::take(&mut run), tail)?;
            }
            of_run = Some(operator);
            run.push(left);
        }
        match of_run {
            Some(operator) => self.chain(operator, run, tail),
            None => Ok(tail),
        }
    }

    /// A run of one operator, back to front and without its tail, and the tail.
    fn chain(
        &self,
        operator: LogicOperator,
        mut run: Vec<(Expr, usize)>,
        (tail, inner): (Expr, usize),
    ) -> Read {
        run.reverse();
        let start = run.first().map_or(tail.span, |(first, _)| first.span);
        let span = start.to(tail.span);
        let mut depth = run.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
        let mut operands: Vec<_> = run.into_iter().map(|(operand, _)| operand).collect();
        match tail.kind {
            ExprKind::Logic(same, more) if same == operator => {
                operands.extend(more);
                depth = depth.max(inner - 1);
            }
            kind => {
                operands.push(Expr { kind, span: tail.span });
                depth = depth.max(inner);
            }
        }
        self.node(ExprKind::Logic(operator, operands), span, depth)
    }

    fn logic_operator(&self) -> Option<LogicOperator> {
        match self.peek().kind {
            TokenKind::Keyword(Keyword::And) => Some(LogicOperator::And),
            TokenKind::Keyword(Keyword::Or) => Some(LogicOperator::Or),
            TokenKind::Keyword(Keyword::Xor) => Some(LogicOperator::Xor),
            _ => None,
        }
    }

    /// `LIKE`, `IN` or one of them with `NOT`, behind its operand.
    fn suffix(&mut self, (operand, depth): (Expr, usize)) -> Read {
        let is_negated = self.take_keyword(Keyword::Not);
        let operand = Box::new(operand);
        if self.take_keyword(Keyword::Like) {
            let token = self.take();
            let TokenKind::Text(pattern) = token.kind.clone() else {
                // SQLG-10
                return Err(self.again(&token, "a pattern in quotes"));
            };
            self.remark_doubled(token.span);
            let span = operand.span.to(token.span);
            return self.node(ExprKind::Like { is_negated, operand, pattern }, span, depth);
        }
        if !self.take_keyword(Keyword::In) {
            return Err(self.expected("LIKE or IN after this NOT"));
        }
        self.symbol("(", "( and a list of values")?;
        if self.peek().kind == TokenKind::Symbol(")") {
            return Err(self.expected("a value: the list of IN has at least one"));
        }
        let (set, inner) = self.list()?;
        let span = operand.span.to(self.last());
        self.node(ExprKind::In { is_negated, operand, set }, span, depth.max(inner))
    }

    /// What an operator can stand before or behind. What nests is read by functions of their own, so that little
    /// of the stack is taken per level.
    fn operand(&mut self) -> Read {
        let (kind, span) = (&self.peek().kind, self.peek().span);
        match *kind {
            TokenKind::Keyword(Keyword::Not) => self.not(span),
            TokenKind::Symbol("(") => self.parentheses(span),
            TokenKind::Symbol(sign @ ("+" | "-")) => {
                self.next += 1;
                self.signed(sign, span)
            }
            TokenKind::Word(word) => {
                self.next += 1;
                self.word(word, span)
            }
            _ => self.literal(),
        }
    }

    fn not(&mut self, span: Span) -> Read {
        self.next += 1;
        let (operand, depth) = self.nested(Self::operand)?;
        let span = span.to(operand.span);
        self.node(ExprKind::Not(Box::new(operand)), span, depth)
    }

    fn parentheses(&mut self, span: Span) -> Read {
        self.next += 1;
        let (mut expr, depth) = self.nested(|parser| parser.expression(Precedence::Logic))?;
        self.symbol(")", ") or an operator")?;
        expr.span = span.to(self.last());
        Ok((expr, depth))
    }

    /// A literal, or `EXISTS` and its attribute.
    fn literal(&mut self) -> Read {
        let token = self.take();
        let span = token.span;
        let kind = match token.kind {
            TokenKind::Number(digits) => return Ok((integer("", digits, span)?, 1)),
            TokenKind::Text(text) => {
                self.remark_doubled(span);
                ExprKind::String(text)
            }
            TokenKind::Keyword(keyword @ (Keyword::True | Keyword::False)) => {
                ExprKind::Boolean(keyword == Keyword::True)
            }
            TokenKind::Keyword(Keyword::Exists) => return self.exists(span),
            TokenKind::Keyword(_) | TokenKind::Symbol(_) | TokenKind::Word(_) | TokenKind::End => {
                return Err(self.again(&token, "a value"));
            }
        };
        Ok((Expr { kind, span }, 1))
    }

    fn exists(&mut self, span: Span) -> Read {
        let token = self.take();
        let TokenKind::Word(word) = token.kind else {
            return Err(self.again(&token, "the name of an attribute after EXISTS"));
        };
        let kind = ExprKind::Exists(attribute(word, token.span)?);
        Ok((Expr { kind, span: span.to(token.span) }, 1))
    }

    /// A number with a sign that touches it, or the negative of what follows (SQLG-02, SQLG-11).
    fn signed(&mut self, sign: &str, span: Span) -> Read {
        let next = self.peek();
        if let TokenKind::Number(digits) = next.kind
            && next.span.start == span.end
        {
            let number = integer(sign, digits, span.to(next.span))?;
            self.take();
            return Ok((number, 1));
        }
        if sign == "+" {
            return Err((span, "expected a value, found +; only a number takes it for a sign".to_owned()));
        }
        let (operand, depth) = self.nested(Self::operand)?;
        let span = span.to(operand.span);
        self.node(ExprKind::Negate(Box::new(operand)), span, depth)
    }

    /// A function with its arguments, or an attribute.
    fn word(&mut self, word: &'s str, span: Span) -> Read {
        if self.peek().kind != TokenKind::Symbol("(") {
            return Ok((Expr { kind: ExprKind::Attribute(attribute(word, span)?), span }, 1));
        }
        if !is_function_name(word) {
            let message =
                format!("{word:?} is no name of a function; such a name has letters and underscores");
            return Err((span, message));
        }
        self.take();
        let (arguments, depth) = if self.take_symbol(")") { (Vec::new(), 0) } else { self.list()? };
        let span = span.to(self.last());
        self.node(ExprKind::Call { function: word.to_ascii_uppercase(), arguments }, span, depth)
    }

    /// The rest of a list in parentheses, after the opening one: at least one element.
    fn list(&mut self) -> Result<(Vec<Expr>, usize), Failure> {
        self.nested(|parser| {
            let (mut elements, mut depth) = (Vec::new(), 0);
            loop {
                let (element, inner) = parser.expression(Precedence::Logic)?;
                elements.push(element);
                depth = depth.max(inner);
                if !parser.take_symbol(",") {
                    parser.symbol(")", "an operator, a comma or )")?;
                    return Ok((elements, depth));
                }
            }
        })
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        self.nested += 1;
        if self.nested > MAX_NESTED {
            return Err(too_deep(self.last()));
        }
        let result = read(self)?;
        self.nested -= 1;
        Ok(result)
    }

    fn node(&self, kind: ExprKind, span: Span, inner: usize) -> Read {
        if inner >= MAX_DEPTH { Err(too_deep(span)) } else { Ok((Expr { kind, span }, inner + 1)) }
    }

    fn peek(&self) -> &Token<'s> {
        &self.tokens[self.next]
    }

    /// The next token; the end can be taken as often as one likes.
    fn take(&mut self) -> Token<'s> {
        let token = self.peek().clone();
        self.next += usize::from(token.kind != TokenKind::End);
        token
    }

    fn take_keyword(&mut self, keyword: Keyword) -> bool {
        let is_there = self.peek().kind == TokenKind::Keyword(keyword);
        self.next += usize::from(is_there);
        is_there
    }

    fn take_symbol(&mut self, symbol: &'static str) -> bool {
        let is_there = self.peek().kind == TokenKind::Symbol(symbol);
        self.next += usize::from(is_there);
        is_there
    }

    fn symbol(&mut self, symbol: &'static str, expected: &str) -> Result<(), Failure> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.expected(expected)) }
    }

    /// Where the token stands that was taken last.
    fn last(&self) -> Span {
        self.tokens[self.next.saturating_sub(1)].span
    }

    fn expected(&self, what: &str) -> Failure {
        self.again(self.peek(), what)
    }

    fn again(&self, token: &Token<'_>, what: &str) -> Failure {
        let found = match &token.kind {
            TokenKind::Keyword(keyword) => keyword.as_str(),
            TokenKind::End => "the end",
            TokenKind::Number(_) | TokenKind::Text(_) | TokenKind::Word(_) | TokenKind::Symbol(_) => {
                &self.source[token.span.range()]
            }
        };
        let found: String = found.chars().take(40).collect();
        let place = self.tokens.partition_point(|before| before.span.start < token.span.start);
        let before = place.checked_sub(1).map(|before| &self.tokens[before].kind);
        let hint = match (&token.kind, before) {
            (TokenKind::Symbol("="), Some(TokenKind::Symbol("="))) => "; equality is one =",
            (TokenKind::Word(word), _) if word.eq_ignore_ascii_case("is") => {
                "; write EXISTS to ask for presence"
            }
            (TokenKind::Word(word), _) if word.eq_ignore_ascii_case("between") => "; write >= AND <=",
            _ => "",
        };
        (token.span, format!("expected {what}, found {found}{hint}"))
    }

    ///
    fn remark_mixture(&mut self, before: &[LogicOperator], operator: LogicOperator, span: Span) {
        let last = before.last().map_or("", |last| last.as_str());
        let operator = operator.as_str();
        let message = format!(
            "{last} and {operator} bind equally and group to the right: a {last} b {operator} c is \
             a {last} (b {operator} c); write the parentheses that you mean"
        );
        self.remark(span, message);
    }

    /// SQLG-04
    fn remark_doubled(&mut self, span: Span) {
        let delimiter = &self.source[span.start..span.start + 1];
        let literal = &self.source[span.start + 1..span.end - 1];
        if literal.contains(&delimiter.repeat(2)) {
            let message =
                format!("{delimiter}{delimiter} in a text stays two quotes; write \\{delimiter} for one");
            self.remark(span, message);
        }
    }

    fn remark(&mut self, span: Span, message: String) {
        if self.remarks.len() < MAX_ERRORS {
            self.remarks.push(Remark::new(self.source, span, message));
        }
    }
}

fn integer(sign: &str, digits: &str, span: Span) -> Result<Expr, Failure> {
    match format!("{sign}{digits}").parse() {
        Ok(number) => Ok(Expr { kind: ExprKind::Integer(number), span }),
        Err(_) => Err((span, format!("a number is between {} and {}", i32::MIN, i32::MAX))),
    }
}

fn attribute(word: &str, span: Span) -> Result<String, Failure> {
    if word.contains('_') {
        let message = format!("{word:?} is no name of an attribute; such a name has letters and digits");
        return Err((span, message));
    }
    Ok(word.to_ascii_lowercase())
}

fn is_function_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic())
        && !word.contains(|c: char| c.is_ascii_digit())
}

fn too_deep(span: Span) -> Failure {
    (span, format!("the expression nests more than {MAX_DEPTH} deep; make it flatter"))
}
