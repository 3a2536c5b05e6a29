//! Numbers by their text: exact, never through a float (S12).
//!
//! The grammar is JSON's, for CSV too: no leading `+`, no leading zeros, no bare point. What looks almost like a number
//! (`007`, a post code; `1.`, a section) is text, because reading it as a number would lose what it says.

use arrow::datatypes::i256;

/// A number taken apart: `0.DIGITS × 10^point`, without zeros at either end of the digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number<'a> {
    negative: bool,
    /// The text that the digits lie in: digits and at most one point.
    mantissa: &'a str,
    /// How many significant digits there are; none for zero.
    len: usize,
    /// Where the point stands, counted from the first significant digit. Zero for zero.
    point: i64,
}

impl<'a> Number<'a> {
    /// Reads a number, or `None` when the text is not one in JSON's grammar (or its exponent is beyond all reason).
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let negative = bytes.first() == Some(&b'-');
        let start = usize::from(negative);
        let digits_from =
            |at: usize| bytes.get(at..).map_or(0, |rest| rest.iter().take_while(|b| b.is_ascii_digit()).count());
        let whole = digits_from(start);
        if whole == 0 || (whole > 1 && bytes.get(start) == Some(&b'0')) {
            return None;
        }
        let mut end = start + whole;
        if bytes.get(end) == Some(&b'.') {
            let fraction = digits_from(end + 1);
            if fraction == 0 {
                return None;
            }
            end += 1 + fraction;
        }
        let mantissa_end = end;
        let mut exponent = 0;
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            end += 1;
            let minus = bytes.get(end) == Some(&b'-');
            if matches!(bytes.get(end), Some(b'-' | b'+')) {
                end += 1;
            }
            let digits = digits_from(end);
            if digits == 0 {
                return None;
            }
            let value = i64::from(text.get(end..end + digits)?.parse::<i32>().ok()?);
            exponent = if minus { -value } else { value };
            end += digits;
        }
        if end != bytes.len() {
            return None;
        }
        Some(Self::normalise(negative, text.get(start..mantissa_end)?, whole, exponent))
    }

    /// `whole`: the length of the part before the point.
    fn normalise(negative: bool, mantissa: &'a str, whole: usize, exponent: i64) -> Self {
        let is_significant = |b: u8| matches!(b, b'1'..=b'9');
        let (first, last) = (mantissa.bytes().position(is_significant), mantissa.bytes().rposition(is_significant));
        let (Some(first), Some(last)) = (first, last) else {
            return Self { negative: false, mantissa: "", len: 0, point: 0 };
        };
        let has_point = first < whole && last > whole;
        // A first digit after the point is one place further from it, because of the point itself.
        let point = whole as i64 - first as i64 + i64::from(first > whole);
        Self {
            negative,
            mantissa: mantissa.get(first..=last).unwrap_or_default(),
            len: last + 1 - first - usize::from(has_point),
            point: point + exponent,
        }
    }

    /// Digits before the point; none for a number below one.
    pub(super) fn whole_digits(&self) -> u64 {
        self.point.max(0) as u64
    }

    /// Digits after the point.
    pub(super) fn scale(&self) -> u64 {
        (self.len as i64 - self.point).max(0) as u64
    }

    /// Whether a decimal of this precision and scale holds the value exactly.
    pub(super) fn fits(&self, precision: u8, scale: i8) -> bool {
        let scale = i64::from(scale);
        self.len == 0 || (self.len as i64 - self.point <= scale && self.point + scale <= i64::from(precision))
    }

    fn digits(&self) -> impl Iterator<Item = u8> + 'a {
        self.mantissa.bytes().filter(|b| *b != b'.')
    }

    /// The value times `10^scale`, or `None` where that is not a whole number of 128 bits.
    pub(super) fn to_i128(self, scale: i64) -> Option<i128> {
        let zeros = scale - (self.len as i64 - self.point);
        if self.len == 0 {
            return Some(0);
        }
        if zeros < 0 || self.point + scale > 39 {
            return None;
        }
        let mut value: i128 = 0;
        for digit in self.digits().chain((0..zeros).map(|_| b'0')) {
            value = value.checked_mul(10)?;
            let digit = i128::from(digit - b'0');
            value = if self.negative { value.checked_sub(digit)? } else { value.checked_add(digit)? };
        }
        Some(value)
    }

    /// The value times `10^scale`, or `None` where that is not a whole number of 256 bits.
    pub(super) fn to_i256(self, scale: i64) -> Option<i256> {
        let zeros = scale - (self.len as i64 - self.point);
        if self.len == 0 {
            return Some(i256::ZERO);
        }
        if zeros < 0 || self.point + scale > 77 {
            return None;
        }
        let mut text = String::with_capacity(80);
        if self.negative {
            text.push('-');
        }
        text.extend(self.digits().map(char::from));
        text.extend((0..zeros).map(|_| '0'));
        i256::from_string(&text)
    }

    /// The value as a 64-bit integer, if it is one.
    pub(super) fn to_i64(self) -> Option<i64> {
        self.to_i128(0).and_then(|v| i64::try_from(v).ok())
    }

    /// Appends the canonical text: plain digits (`-0.05`, `1000`) up to 76 of them, else `d.ddde±n`.
    pub(super) fn write(&self, out: &mut String) {
        if self.len == 0 {
            out.push('0');
            return;
        }
        if self.negative {
            out.push('-');
        }
        let digits = self.digits().map(char::from);
        if self.whole_digits() + self.scale() > 76 {
            for (i, digit) in digits.enumerate() {
                if i == 1 {
                    out.push('.');
                }
                out.push(digit);
            }
            out.push_str(&format!("e{}", self.point - 1));
            return;
        }
        if self.point <= 0 {
            out.push_str("0.");
            out.extend((0..-self.point).map(|_| '0'));
        }
        for (i, digit) in digits.enumerate() {
            if i > 0 && i as i64 == self.point {
                out.push('.');
            }
            out.push(digit);
        }
        out.extend((self.len as i64..self.point).map(|_| '0'));
    }
}

/// Appends the canonical text of a number: see [`Number::write`]. A number whose exponent is beyond all reason keeps
/// its own text, with a lower-case `e`.
pub(super) fn write_canonical(text: &str, out: &mut String) {
    match Number::parse(text) {
        Some(number) => number.write(out),
        None => out.push_str(&text.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Option<String> {
        let mut out = String::new();
        Number::parse(text)?.write(&mut out);
        Some(out)
    }

    #[test]
    fn one_value_has_one_text() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.000", "0"),
            ("0e9", "0"),
            ("1.50", "1.5"),
            ("1.0", "1"),
            ("100", "100"),
            ("1e3", "1000"),
            ("1.0E+3", "1000"),
            ("12.34e1", "123.4"),
            ("1200e-2", "12"),
            ("1e-3", "0.001"),
            ("-0.0500", "-0.05"),
            ("10.01", "10.01"),
            ("0.1e1", "1"),
            ("0.012e3", "12"),
            ("9223372036854775808", "9223372036854775808"),
            ("1e75", &format!("1{}", "0".repeat(75))),
            ("1e76", "1e76"),
            ("12.5e300", "1.25e301"),
            ("1e-77", "1e-77"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
            assert_eq!(canonical(expected).as_deref(), Some(expected), "{expected} again");
        }
        for text in [
            "",
            "-",
            "007",
            "+1",
            " 1",
            "1 ",
            "1.",
            ".5",
            "1e",
            "1e+",
            "0x1",
            "1_000",
            "NaN",
            "--1",
            "1.2.3",
            "1e99999999999",
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn digits_and_values_are_exact() {
        for (text, whole, scale) in
            [("0", 0, 0), ("1000", 4, 0), ("0.001", 0, 3), ("12.50", 2, 1), ("1e-2", 0, 2), ("1.5e3", 4, 0)]
        {
            let number = Number::parse(text).unwrap();
            assert_eq!((number.whole_digits(), number.scale()), (whole, scale), "{text}");
        }
        assert_eq!(Number::parse("-9223372036854775808").unwrap().to_i64(), Some(i64::MIN));
        assert_eq!(Number::parse("9223372036854775808").unwrap().to_i64(), None);
        assert_eq!(Number::parse("1.5").unwrap().to_i128(0), None);
        assert_eq!(Number::parse("1.5").unwrap().to_i128(3), Some(1500));
        assert_eq!(Number::parse("-1.5").unwrap().to_i256(3), Some(i256::from_i128(-1500)));
        assert_eq!(Number::parse("1500").unwrap().to_i128(-2), Some(15));
        assert_eq!(Number::parse("1550").unwrap().to_i128(-2), None);
        assert_eq!(Number::parse("1e400").unwrap().to_i128(0), None);
    }
}
