//! Values that are stored as text, written as the server writes them: numbers of any digits, intervals, addresses.
//!
//! Why not let the server cast them: its casts are not its output (`inet` gains a netmask when it is cast), and a cast
//! costs it more than sending its bytes. That both agree is a test with a real server.

use std::fmt::Write as _;

use super::column::Fault;

/// The parts of a numeric as they travel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numeric<'a> {
    /// Groups of four decimal digits, two bytes each.
    groups: &'a [u8],
    /// Which power of 10,000 the first group counts.
    pub(super) weight: i32,
    pub(super) sign: Sign,
    /// Digits after the point that the value is shown with.
    scale: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Plus,
    Minus,
    NaN,
    Infinity,
    MinusInfinity,
}

impl<'a> Numeric<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (head, groups) = bytes.split_first_chunk::<8>().ok_or(Fault::Malformed)?;
        let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let sign = match word(4) {
            0x0000 => Sign::Plus,
            0x4000 => Sign::Minus,
            0xC000 => Sign::NaN,
            0xD000 => Sign::Infinity,
            0xF000 => Sign::MinusInfinity,
            _ => return Err(Fault::Malformed),
        };
        if groups.len() != usize::from(word(0)) * 2 || word(6) > 0x3fff {
            return Err(Fault::Malformed);
        }
        let numeric = Self { groups, weight: i32::from(word(2).cast_signed()), sign, scale: usize::from(word(6)) };
        if numeric.groups().any(|g| g > 9999) { Err(Fault::Malformed) } else { Ok(numeric) }
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = u16> + 'a {
        self.groups.chunks_exact(2).map(|g| u16::from_be_bytes([g[0], g[1]]))
    }

    /// As the server prints it, with as many digits after the point as it was given.
    pub(super) fn print(&self, out: &mut String) {
        match self.sign {
            Sign::NaN => return out.push_str("NaN"),
            Sign::Infinity => return out.push_str("Infinity"),
            Sign::MinusInfinity => return out.push_str("-Infinity"),
            Sign::Minus => out.push('-'),
            Sign::Plus => {}
        }
        let group = |place: i32| {
            usize::try_from(self.weight - place)
                .ok()
                .and_then(|at| self.groups.get(2 * at..2 * at + 2))
                .map_or(0, |g| u16::from_be_bytes([g[0], g[1]]))
        };
        // Writing to a String does not fail.
        if self.weight < 0 {
            out.push('0');
        }
        for place in (0..=self.weight).rev() {
            let _ =
                if place == self.weight { write!(out, "{}", group(place)) } else { write!(out, "{:04}", group(place)) };
        }
        if self.scale > 0 {
            out.push('.');
            let end = out.len() + self.scale;
            let mut place = -1;
            while out.len() < end {
                let _ = write!(out, "{:04}", group(place));
                place -= 1;
            }
            out.truncate(end);
        }
    }
}

/// An interval as ISO 8601 with months, days and time kept apart, as the server prints it with `intervalstyle =
/// iso_8601`: a month has no fixed number of days and a day no fixed number of hours, so that no one number is exact.
pub(super) fn interval(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    let bytes: &[u8; 16] = bytes.try_into().map_err(|_| Fault::Malformed)?;
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
    let micros = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let (days, months) = (i32::from_be_bytes([i, j, k, l]), i32::from_be_bytes([m, n, o, p]));
    match (micros, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => out.push_str("infinity"),
        (i64::MIN, i32::MIN, i32::MIN) => out.push_str("-infinity"),
        (0, 0, 0) => out.push_str("PT0S"),
        _ => {
            out.push('P');
            let mut part = |value: i64, unit: char| {
                if value != 0 {
                    let _ = write!(out, "{value}{unit}");
                }
            };
            part(i64::from(months / 12), 'Y');
            part(i64::from(months % 12), 'M');
            part(i64::from(days), 'D');
            if micros != 0 {
                out.push('T');
                let mut part = |value: i64, unit: char| {
                    if value != 0 {
                        let _ = write!(out, "{value}{unit}");
                    }
                };
                part(micros / 3_600_000_000, 'H');
                part(micros / 60_000_000 % 60, 'M');
                let rest = micros % 60_000_000;
                if rest != 0 {
                    let (seconds, fraction) = (rest.unsigned_abs() / 1_000_000, rest.unsigned_abs() % 1_000_000);
                    let sign = if rest < 0 { "-" } else { "" };
                    let _ = write!(out, "{sign}{seconds}");
                    if fraction != 0 {
                        let digits = format!("{fraction:06}");
                        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
                    }
                    out.push('S');
                }
            }
        }
    }
    Ok(())
}

/// `inet` and `cidr`: an address with its netmask, which `inet` leaves out when it is all of the address.
pub(super) fn address(bytes: &[u8], always_mask: bool, out: &mut String) -> Result<(), Fault> {
    let (&[family, bits, _, length], address) = bytes.split_first_chunk::<4>().ok_or(Fault::Malformed)?;
    let full = match (family, length, address.len()) {
        (2, 4, 4) => {
            let _ = write!(out, "{}.{}.{}.{}", address[0], address[1], address[2], address[3]);
            32
        }
        (3, 16, 16) => {
            ipv6(address, out);
            128
        }
        _ => return Err(Fault::Malformed),
    };
    if bits > full {
        return Err(Fault::Malformed);
    }
    if always_mask || bits < full {
        let _ = write!(out, "/{bits}");
    }
    Ok(())
}

/// The server's form: the longest run of at least two zeros is left out, the first of equal ones; an embedded IPv4
/// address is shown as one. Rust's own differs in which addresses embed one.
fn ipv6(address: &[u8], out: &mut String) {
    let words: Vec<u16> = address.chunks_exact(2).map(|w| u16::from_be_bytes([w[0], w[1]])).collect();
    let (mut start, mut length, mut at) = (0, 0, 0);
    while at < words.len() {
        let run = words[at..].iter().take_while(|w| **w == 0).count();
        if run > length {
            (start, length) = (at, run);
        }
        at += run.max(1);
    }
    let gap = if length >= 2 { start..start + length } else { 8..8 };
    let embeds =
        gap.start == 0 && (length == 6 || (length == 7 && words[7] != 1) || (length == 5 && words[5] == 0xffff));
    let mut at = 0;
    while at < 8 {
        if gap.contains(&at) {
            out.push_str("::");
            at = gap.end;
            continue;
        }
        if at > 0 && at != gap.end {
            out.push(':');
        }
        if at == 6 && embeds {
            let _ = write!(out, "{}.{}.{}.{}", address[12], address[13], address[14], address[15]);
            return;
        }
        let _ = write!(out, "{:x}", words[at]);
        at += 1;
    }
}

/// A hardware address of six or eight bytes.
pub(super) fn macaddr(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    if !matches!(bytes.len(), 6 | 8) {
        return Err(Fault::Malformed);
    }
    for (at, byte) in bytes.iter().enumerate() {
        let colon = if at > 0 { ":" } else { "" };
        let _ = write!(out, "{colon}{byte:02x}");
    }
    Ok(())
}

/// A UUID as people write it. Its order as text is that of its bytes.
pub(super) fn uuid(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    if bytes.len() != 16 {
        return Err(Fault::Malformed);
    }
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        for half in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(f: impl FnOnce(&mut String) -> Result<(), Fault>) -> String {
        let mut out = String::new();
        f(&mut out).unwrap();
        out
    }

    fn numeric(weight: i16, sign: u16, scale: u16, groups: &[u16]) -> Vec<u8> {
        let mut bytes = u16::try_from(groups.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend([sign.to_be_bytes(), scale.to_be_bytes()].concat());
        bytes.extend(groups.iter().flat_map(|g| g.to_be_bytes()));
        bytes
    }

    #[test]
    fn numerics_are_printed_with_the_digits_they_were_given() {
        let text = |bytes: &[u8]| printed(|out| Numeric::parse(bytes).map(|n| n.print(out)));
        assert_eq!(text(&numeric(0, 0, 0, &[])), "0");
        assert_eq!(text(&numeric(0, 0, 3, &[])), "0.000");
        assert_eq!(text(&numeric(1, 0, 0, &[1])), "10000");
        assert_eq!(text(&numeric(1, 0x4000, 2, &[12, 34, 5600])), "-120034.56");
        assert_eq!(text(&numeric(-2, 0, 8, &[7])), "0.00000007");
        assert_eq!(text(&numeric(0, 0xC000, 0, &[])), "NaN");
        assert_eq!(text(&numeric(0, 0xD000, 0, &[])), "Infinity");
        assert_eq!(text(&numeric(0, 0xF000, 0, &[])), "-Infinity");
        for bad in [&numeric(0, 1, 0, &[])[..], &numeric(0, 0, 0, &[10_000]), &numeric(0, 0, 0, &[1])[..9], &[0; 7]] {
            assert!(Numeric::parse(bad).is_err());
        }
    }

    #[test]
    fn intervals_keep_months_days_and_time_apart() {
        let text = |micros: i64, days: i32, months: i32| {
            let bytes = [&micros.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()].concat();
            printed(|out| interval(&bytes, out))
        };
        assert_eq!(text(0, 0, 0), "PT0S");
        assert_eq!(text(3_600_000_000 + 1, 3, 14), "P1Y2M3DT1H0.000001S");
        assert_eq!(text(-1_500_000, -1, 0), "P-1DT-1.5S");
        assert_eq!(text(-500_000, 0, -25), "P-2Y-1MT-0.5S");
        assert_eq!(text(i64::MAX, i32::MAX, i32::MAX), "infinity");
        assert_eq!(text(i64::MIN, 0, 0), "PT-2562047788H-54.775808S");
        assert!(interval(&[0; 15], &mut String::new()).is_err());
    }

    #[test]
    fn addresses_are_printed_as_the_server_does() {
        let v6 = |text: &str, bits: u8, mask: bool| {
            let mut bytes = vec![3, bits, 0, 16];
            bytes.extend(text.parse::<std::net::Ipv6Addr>().unwrap().octets());
            printed(|out| address(&bytes, mask, out))
        };
        for text in ["::", "::1", "::10.2.3.4", "::ffff:1.2.3.4", "2001:db8::1", "1:0:2::3", "1::2:0:0:3", "fe80::"] {
            assert_eq!(v6(text, 128, false), text);
        }
        assert_eq!(v6("1:0:0:2:3:4:5:6", 64, false), "1::2:3:4:5:6/64");
        assert_eq!(v6("0:1:2:3:4:5:6:7", 128, true), "0:1:2:3:4:5:6:7/128");
        assert_eq!(printed(|out| address(&[2, 32, 0, 4, 10, 0, 0, 1], false, out)), "10.0.0.1");
        assert_eq!(printed(|out| address(&[2, 8, 1, 4, 10, 0, 0, 0], true, out)), "10.0.0.0/8");
        for bad in [&[2, 33, 0, 4, 1, 2, 3, 4][..], &[3, 8, 0, 4, 1, 2, 3, 4], &[2, 8, 0, 4, 1], &[2]] {
            assert!(address(bad, false, &mut String::new()).is_err());
        }
        assert_eq!(printed(|out| macaddr(&[8, 0, 0x2b, 1, 2, 3], out)), "08:00:2b:01:02:03");
        assert_eq!(printed(|out| uuid(&[0xab; 16], out)), "abababab-abab-abab-abab-abababababab");
    }
}
