//! What may be asked: one statement that only reads, and names as people write them.
//!
//! Names: DataFusion folds unquoted names to lower case, so that a column `userId` could only be asked for as
//! `"userId"`. Here an unquoted name means the stored column or table of that name in any case (two columns of a table
//! never differ by case only, `HK0706`); any other unquoted name is folded as usual, and a quoted one is exact. This is
//! done on the words of the statement, before it is parsed, so that aliases and references to them stay the same name.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement, Visit as _, Visitor};
use datafusion::sql::sqlparser::dialect::DuckDbDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use hakiri_core::codes::Code;
use hakiri_core::schema::{Field, Type};
use hakiri_core::{Error, Result};

use crate::errors;

/// How deeply a statement may be nested: parsing and planning are recursive.
const MAX_DEPTH: usize = 50;
/// How many operators and keywords a statement may have: chains such as `1 + 1 + …` are as deep as they are long, and the
/// parser's own limit does not count them. Lists of values are not counted.
const MAX_OPERATORS: usize = 500;
/// How long a statement may be, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Names as they are stored, by their lower-case form.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<String, Vec<String>>);

impl Names {
    /// Learns a name. Of several that differ by case only, the first counts where a statement has none of them exactly.
    pub(crate) fn add(&mut self, name: &str) {
        let known = self.0.entry(name.to_lowercase()).or_default();
        if !known.iter().any(|k| k == name) {
            known.push(name.to_owned());
        }
    }

    /// Learns columns and the fields inside them.
    pub(crate) fn add_fields(&mut self, fields: &[Field]) {
        for field in fields {
            self.add(&field.name);
        }
        for field in fields {
            self.add_inner(&field.ty);
        }
    }

    fn add_inner(&mut self, ty: &Type) {
        match ty {
            Type::Struct { fields } => self.add_fields(fields),
            Type::List { item } => self.add_inner(item),
            _ => {}
        }
    }

    fn stored(&self, word: &str) -> String {
        let lower = word.to_lowercase();
        match self.0.get(&lower) {
            Some(known) if known.iter().any(|k| k == word) => word.to_owned(),
            Some(known) => known.first().cloned().unwrap_or(lower),
            None => lower,
        }
    }
}

/// The words of a statement.
///
/// # Errors
/// `HK0801` when it cannot be cut into words or is too long.
pub(crate) fn words(sql: &str) -> Result<Vec<TokenWithSpan>> {
    if sql.len() > MAX_BYTES {
        return Err(Error::new(Code::QuerySyntax, format!("the statement is longer than {MAX_BYTES} bytes"))
            .with_hint("write a shorter one"));
    }
    let words =
        Tokenizer::new(&DuckDbDialect {}, sql).tokenize_with_location().map_err(|e| errors::of_tokenizer(&e))?;
    if words.iter().filter(|w| nests(&w.token)).count() > MAX_OPERATORS {
        return Err(Error::new(Code::QuerySyntax, format!("the statement has more than {MAX_OPERATORS} operators"))
            .with_hint("use `in (…)` or `values` for long lists"));
    }
    Ok(words)
}

/// Whether a word can make a statement deeper.
fn nests(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.keyword != Keyword::NoKeyword,
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::Whitespace(_)
        | Token::EOF => false,
        _ => true,
    }
}

/// Whether a word is used as a name in a statement, in any case.
pub(crate) fn mentions(words: &[TokenWithSpan], name: &str) -> bool {
    words.iter().any(|t| matches!(&t.token, Token::Word(w) if w.value.eq_ignore_ascii_case(name)))
}

/// Parses the words, names as they are stored. Empty statements between semicolons do not count.
///
/// # Errors
/// `HK0801`.
pub(crate) fn parse(mut words: Vec<TokenWithSpan>, names: &Names) -> Result<Vec<Statement>> {
    for word in &mut words {
        if let Token::Word(word) = &mut word.token
            && word.quote_style.is_none()
        {
            word.value = names.stored(&word.value);
        }
    }
    Parser::new(&DuckDbDialect {})
        .with_recursion_limit(MAX_DEPTH)
        .with_tokens_with_locations(words)
        .parse_statements()
        .map_err(|e| errors::of_parser(&e))
}

/// What a query may start with. Anything else that is a word of SQL is refused by its name even where its syntax is not
/// ours, so that `create external table …` is not called a typing mistake.
///
/// # Errors
/// `HK0803`.
pub(crate) fn starts_reading(words: &[TokenWithSpan]) -> Result<()> {
    use Keyword::{DESC, DESCRIBE, EXPLAIN, FROM, NoKeyword, SELECT, SHOW, TABLE, VALUES, WITH};
    let first = words.iter().find(|t| !matches!(t.token, Token::Whitespace(_) | Token::SemiColon));
    match first.map(|t| &t.token) {
        Some(Token::Word(w))
            if !matches!(
                w.keyword,
                NoKeyword | SELECT | WITH | VALUES | EXPLAIN | DESCRIBE | DESC | SHOW | FROM | TABLE
            ) =>
        {
            Err(forbidden(&format!("`{}` is", w.value.to_lowercase())))
        }
        _ => Ok(()),
    }
}

/// The one statement, if it is one that only reads.
///
/// # Errors
/// `HK0801` when there is none, `HK0803` when there are several or it does more than read.
pub(crate) fn only_reading(mut statements: Vec<Statement>) -> Result<Statement> {
    let statement = match (statements.pop(), statements.as_slice()) {
        (Some(statement), []) => statement,
        (Some(_), _) => return Err(forbidden("several statements at once are").with_hint("run them one by one")),
        (None, _) => {
            return Err(
                Error::new(Code::QuerySyntax, "there is no statement").with_hint("write for example `select 1`")
            );
        }
    };
    match &statement {
        Statement::Query(_)
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. }
        | Statement::ExplainTable { .. } => {}
        Statement::Explain { statement, .. } if matches!(statement.as_ref(), Statement::Query(_)) => {}
        _ => return Err(forbidden("this statement is")),
    }
    match statement.visit(&mut Writes) {
        ControlFlow::Break(what) => Err(forbidden(&format!("{what} is"))),
        ControlFlow::Continue(()) => Ok(statement),
    }
}

fn forbidden(what: &str) -> Error {
    Error::new(Code::QueryForbidden, format!("{what} not allowed here: queries only read"))
}

/// Finds what writes inside a query.
struct Writes;

impl Visitor for Writes {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        if !query.locks.is_empty() {
            return ControlFlow::Break("`for update`".to_owned());
        }
        of_body(&query.body)
    }
}

fn of_body(body: &SetExpr) -> ControlFlow<String> {
    match body {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            ControlFlow::Break("a statement that writes".to_owned())
        }
        SetExpr::Select(select) if select.into.is_some() => ControlFlow::Break("`select into`".to_owned()),
        SetExpr::SetOperation { left, right, .. } => {
            of_body(left)?;
            of_body(right)
        }
        _ => ControlFlow::Continue(()),
    }
}
