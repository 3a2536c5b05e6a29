//! The bounds that a JSON Schema sets to numbers and texts: the part of [`Validator`] that looks at single values.

use serde_json::Value;

use super::diagnostic::Problem;
use super::node::Node;
use super::validate::Validator;
use crate::codes::Code;

impl Validator<'_> {
    pub(super) fn number(
        &self,
        node: &Node,
        number: &serde_json::Number,
        schema: &Value,
        label: &str,
        out: &mut Vec<Problem>,
    ) {
        let format = match schema.get("format").and_then(Value::as_str) {
            Some("uint8") => Some((0, i128::from(u8::MAX))),
            Some("uint16") => Some((0, i128::from(u16::MAX))),
            Some("uint32") => Some((0, i128::from(u32::MAX))),
            Some("uint64" | "uint") => Some((0, i128::from(u64::MAX))),
            Some("int8") => Some((i128::from(i8::MIN), i128::from(i8::MAX))),
            Some("int16") => Some((i128::from(i16::MIN), i128::from(i16::MAX))),
            Some("int32") => Some((i128::from(i32::MIN), i128::from(i32::MAX))),
            Some("int64" | "int") => Some((i128::from(i64::MIN), i128::from(i64::MAX))),
            _ => None,
        };
        let bound = |key: &str| schema.get(key).and_then(Value::as_number);
        let (low, high) = (bound("minimum"), bound("maximum"));
        let exact = |n: &serde_json::Number| n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
        let (below, above) = match exact(number) {
            Some(n) => {
                let low = [low.and_then(exact), format.map(|f| f.0)].into_iter().flatten().max();
                let high = [high.and_then(exact), format.map(|f| f.1)].into_iter().flatten().min();
                (
                    low.filter(|low| n < *low).map(|n| n.to_string()),
                    high.filter(|high| n > *high).map(|n| n.to_string()),
                )
            }
            None => {
                let n = number.as_f64().unwrap_or_default();
                let text = |bound: Option<&serde_json::Number>, out: fn(f64, f64) -> bool| {
                    bound.filter(|b| b.as_f64().is_some_and(|b| out(n, b))).map(ToString::to_string)
                };
                (text(low, |n, low| n < low), text(high, |n, high| n > high))
            }
        };
        if let Some(low) = below {
            out.push(
                self.problem(Code::ManifestValue, node, format!("{label} is {number}, but must be at least {low}"))
                    .hint(format!("use {low} or more")),
            );
        }
        if let Some(high) = above {
            out.push(
                self.problem(Code::ManifestValue, node, format!("{label} is {number}, but must be at most {high}"))
                    .hint(format!("use {high} or less")),
            );
        }
    }

    pub(super) fn text(&self, node: &Node, text: &str, schema: &Value, label: &str, out: &mut Vec<Problem>) {
        let length = text.chars().count() as u64;
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
        if bound("minLength").is_some_and(|n| length < n) {
            let message = if length == 0 { format!("{label} is empty") } else { format!("{label} is too short") };
            out.push(
                self.problem(Code::ManifestValue, node, message).hint("write a longer text, or leave the key out"),
            );
        }
        if let Some(most) = bound("maxLength").filter(|n| length > *n) {
            out.push(
                self.problem(Code::ManifestValue, node, format!("{label} is too long"))
                    .hint(format!("use at most {most} characters")),
            );
        }
    }
}
