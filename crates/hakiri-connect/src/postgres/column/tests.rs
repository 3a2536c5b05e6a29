//! Values at the edges of their types, and bytes that are no values.

use arrow::array::AsArray as _;
use arrow::datatypes::{Date32Type, Decimal128Type, Decimal256Type, Int32Type, TimestampMicrosecondType};
use proptest::prelude::*;

use super::*;

/// A numeric as the server sends it, out of its text (digits with at most one point).
fn numeric(text: &str) -> Vec<u8> {
    let (sign, digits) = text.strip_prefix('-').map_or((0_u16, text), |rest| (0x4000, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let pad = |n: usize| (4 - n % 4) % 4;
    let all = format!("{}{whole}{fraction}{}", "0".repeat(pad(whole.len())), "0".repeat(pad(fraction.len())));
    let mut groups: Vec<u16> =
        all.as_bytes().chunks(4).map(|g| std::str::from_utf8(g).unwrap().parse().unwrap()).collect();
    let mut weight = i16::try_from(whole.len().div_ceil(4)).unwrap() - 1;
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let mut bytes = u16::try_from(groups.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(weight.to_be_bytes());
    bytes.extend(sign.to_be_bytes());
    bytes.extend(u16::try_from(fraction.len()).unwrap().to_be_bytes());
    bytes.extend(groups.iter().flat_map(|g| g.to_be_bytes()));
    bytes
}

fn one(wire: Wire, bytes: &[u8]) -> Result<ArrayRef, Fault> {
    let mut column = Column::new(&wire);
    column.append(Some(bytes))?;
    Ok(column.finish().unwrap())
}

fn decimal_text(precision: u8, scale: u8, text: &str) -> Result<String, Fault> {
    let array = one(Wire::Decimal { precision, scale }, &numeric(text))?;
    Ok(match precision {
        ..=38 => array.as_primitive::<Decimal128Type>().value_as_string(0),
        _ => array.as_primitive::<Decimal256Type>().value_as_string(0),
    })
}

#[test]
fn decimals_are_exact_or_refused() {
    assert_eq!(decimal_text(18, 4, "12345678901234.5678").unwrap(), "12345678901234.5678");
    assert_eq!(decimal_text(5, 1, "1.5").unwrap(), "1.5");
    assert_eq!(decimal_text(5, 3, "-0.001").unwrap(), "-0.001");
    assert_eq!(decimal_text(9, 0, "120000").unwrap(), "120000", "groups of zeros at the end do not travel");
    assert_eq!(decimal_text(5, 5, "0.00999").unwrap(), "0.00999");
    for (precision, scale) in [(38, 0), (38, 7), (38, 38), (76, 0), (76, 33), (76, 76)] {
        let (whole, scale_) = (usize::from(precision - scale), usize::from(scale));
        let text = match scale_ {
            0 => "9".repeat(whole),
            _ => format!("{}.{}", if whole == 0 { "0".to_owned() } else { "9".repeat(whole) }, "9".repeat(scale_)),
        };
        assert_eq!(decimal_text(precision, scale, &text).unwrap(), text);
        assert_eq!(decimal_text(precision, scale, &format!("-{text}")).unwrap(), format!("-{text}"));
    }
    for (precision, scale, text) in
        [(5, 2, "1000.00"), (5, 2, "0.001"), (38, 0, "99999999999999999999999999999999999999.5")]
    {
        assert_eq!(decimal_text(precision, scale, text), Err(DIGITS), "{text}");
    }
    assert_eq!(decimal_text(76, 0, &"9".repeat(77)), Err(DIGITS));
    for sign in [0xC000_u16, 0xD000, 0xF000] {
        let bytes = [0_u16, 0, sign, 0].iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<_>>();
        assert_eq!(one(Wire::Decimal { precision: 9, scale: 2 }, &bytes).unwrap_err(), NAN);
    }
}

#[test]
fn infinite_days_and_instants_are_the_outermost_values_and_nothing_else_is() {
    let day = |days: i32| one(Wire::Date, &days.to_be_bytes()).map(|a| a.as_primitive::<Date32Type>().value(0));
    assert_eq!(day(0), Ok(10_957));
    assert_eq!(day(i32::MAX), Ok(i32::MAX));
    assert_eq!(day(i32::MIN), Ok(-i32::MAX));
    assert_eq!(day(i32::MAX - EPOCH_DAYS), Err(BEYOND));
    assert_eq!(day(i32::MAX - EPOCH_DAYS - 1), Ok(i32::MAX - 1));
    let instant = |micros: i64| {
        one(Wire::Timestamptz, &micros.to_be_bytes()).map(|a| a.as_primitive::<TimestampMicrosecondType>().value(0))
    };
    assert_eq!(instant(0), Ok(EPOCH_MICROS));
    assert_eq!(instant(i64::MAX), Ok(i64::MAX));
    assert_eq!(instant(i64::MIN), Ok(-i64::MAX));
    assert_eq!(instant(i64::MAX - 1), Err(BEYOND));
    assert_eq!(instant(i64::MAX - EPOCH_MICROS), Err(BEYOND), "the largest value stands for infinity alone");
}

#[test]
fn a_value_with_a_fault_leaves_a_null_behind_also_in_the_middle_of_a_list() {
    let mut column = Column::new(&Wire::List(Box::new(Wire::Int4)));
    let array = |items: &[&[u8]]| {
        let mut bytes = [1_i32, 0, 23, i32::try_from(items.len()).unwrap(), 1]
            .iter()
            .flat_map(|n| n.to_be_bytes())
            .collect::<Vec<_>>();
        for item in items {
            bytes.extend(i32::try_from(item.len()).unwrap().to_be_bytes());
            bytes.extend(*item);
        }
        bytes
    };
    column.append(Some(&array(&[&[0, 0, 0, 7]]))).unwrap();
    assert_eq!(column.append(Some(&array(&[&[0, 0, 0, 8], &[1]]))), Err(Fault::Malformed));
    column.append(None).unwrap();
    column.append(Some(&array(&[&[0, 0, 0, 9]]))).unwrap();
    let empty: Vec<u8> = [0_i32, 0, 23].iter().flat_map(|n| n.to_be_bytes()).collect();
    column.append(Some(&empty)).unwrap();
    let list = column.finish().unwrap();
    let list = list.as_list::<i64>();
    assert_eq!((list.len(), list.null_count()), (5, 2));
    assert_eq!(list.value(3).as_primitive::<Int32Type>().values(), &[9]);
    assert_eq!(list.value(4).len(), 0);
    let cube: Vec<u8> = [2_i32, 0, 23, 1, 1, 1, 1].iter().flat_map(|n| n.to_be_bytes()).collect();
    assert_eq!(column.append(Some(&cube)), Err(DIMENSIONS));
    let hostile: Vec<u8> = [1_i32, 0, 23, i32::MAX, 1].iter().flat_map(|n| n.to_be_bytes()).collect();
    assert_eq!(column.append(Some(&hostile)), Err(Fault::Malformed));
}

#[test]
fn text_is_utf8_and_booleans_are_two() {
    assert_eq!(one(Wire::Text, b"\xff").unwrap_err(), UTF8);
    assert_eq!(one(Wire::Jsonb, b"\x02{}").unwrap_err(), Fault::Malformed);
    assert_eq!(one(Wire::Jsonb, b"\x01{\"a\": 1}").unwrap().as_string::<i64>().value(0), "{\"a\": 1}");
    assert_eq!(one(Wire::Bool, &[2]).unwrap_err(), Fault::Malformed);
    assert_eq!(one(Wire::Int8, &[0; 4]).unwrap_err(), Fault::Malformed);
}

fn wires() -> Vec<Wire> {
    let mut wires = vec![
        Wire::Bool,
        Wire::Int2,
        Wire::Int4,
        Wire::Int8,
        Wire::Oid,
        Wire::Float4,
        Wire::Float8,
        Wire::Numeric,
        Wire::Text,
        Wire::Bytea,
        Wire::Date,
        Wire::Time,
        Wire::Timestamp,
        Wire::Timestamptz,
        Wire::Interval,
        Wire::Uuid,
        Wire::Json,
        Wire::Jsonb,
        Wire::Inet,
        Wire::Cidr,
        Wire::Macaddr,
        Wire::Decimal { precision: 38, scale: 10 },
        Wire::Decimal { precision: 76, scale: 2 },
    ];
    wires.extend(wires.clone().into_iter().map(|w| Wire::List(Box::new(w))));
    wires
}

proptest! {
    #[test]
    fn any_bytes_add_exactly_one_value(
        wire in prop::sample::select(wires()), values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), 0..8),
    ) {
        let mut column = Column::new(&wire);
        for value in &values {
            let _ = column.append(value.as_deref());
        }
        prop_assert_eq!(column.finish().unwrap().len(), values.len());
    }

    #[test]
    fn a_decimal_is_the_number_it_was(whole in "[1-9][0-9]{0,20}", fraction in "[0-9]{0,17}", minus: bool) {
        let text = format!("{}{whole}{}{fraction}", if minus { "-" } else { "" }, if fraction.is_empty() { "" } else { "." });
        let padded = format!("{}{whole}.{fraction:0<17}", if minus { "-" } else { "" });
        prop_assert_eq!(decimal_text(38, 17, &text).unwrap(), padded.clone());
        prop_assert_eq!(decimal_text(60, 17, &text).unwrap(), padded);
        let numeric = one(Wire::Numeric, &numeric(&text)).unwrap();
        prop_assert_eq!(numeric.as_string::<i64>().value(0), text);
    }
}
