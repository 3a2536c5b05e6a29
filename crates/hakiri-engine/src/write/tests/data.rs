//! Generated data of every type, the same on every machine: a small generator of our own, since a library's may change.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryBuilder, LargeBinaryArray, LargeListArray, LargeStringArray, PrimitiveArray,
    RecordBatch, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::*;
use hakiri_core::cursor::TimeUnit as Unit;
use hakiri_core::schema::{Field, Schema, Type, to_arrow_schema};

/// A multiplicative generator.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = self.0 ^ (self.0 >> 29);
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Every scalar type, in every unit and at the bounds of its parameters.
pub(super) fn scalars() -> Vec<Type> {
    use Type::*;
    let mut types = vec![
        Null, Bool, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64, Float32, Float64, Text, Json, Binary,
        Date,
    ];
    types.extend(
        [(1, 0), (9, 2), (18, 18), (38, 10), (39, 0), (76, 38), (5, -2)]
            .map(|(precision, scale)| Decimal { precision, scale }),
    );
    types.extend([1, 16].map(|length| FixedBinary { length }));
    for unit in [Unit::Second, Unit::Millisecond, Unit::Microsecond, Unit::Nanosecond] {
        types.extend([Time { unit }, Duration { unit }, Timestamp { unit, utc: false }, Timestamp { unit, utc: true }]);
    }
    types
}

/// A column of each scalar, and of lists and structs of them, in each other.
pub(super) fn every_type() -> Schema {
    let scalars: Vec<Field> =
        scalars().into_iter().enumerate().map(|(i, ty)| Field::new(format!("c{i:02} {ty}"), ty)).collect();
    let all = Type::Struct { fields: scalars.clone() };
    let mut fields = scalars.clone();
    fields.extend(
        scalars.iter().map(|f| Field::new(format!("list {}", f.name), Type::List { item: Box::new(f.ty.clone()) })),
    );
    fields.push(Field::new("struct", all.clone()));
    fields.push(Field::new(
        "deep",
        Type::List {
            item: Box::new(Type::Struct {
                fields: vec![
                    Field::new("ids", Type::List { item: Box::new(Type::List { item: Box::new(Type::Int64) }) }),
                    Field::new("all", all),
                    Field::new("empty", Type::Struct { fields: vec![] }),
                ],
            }),
        },
    ));
    fields.push(Field::new("empty", Type::Struct { fields: vec![] }));
    fields.push(Field::new("empties", Type::List { item: Box::new(Type::Struct { fields: vec![] }) }));
    Schema::new(fields)
}

/// Rows of a schema, in its Arrow types.
pub(super) fn rows(schema: &Schema, rows: usize, seed: u64) -> RecordBatch {
    let arrow = Arc::new(to_arrow_schema(schema));
    let mut numbers = Numbers(seed);
    let columns = arrow.fields().iter().map(|f| array(f.data_type(), rows, &mut numbers)).collect();
    RecordBatch::try_new(arrow, columns).unwrap()
}

fn values<T: ArrowPrimitiveType>(
    data_type: &DataType,
    rows: usize,
    n: &mut Numbers,
    mut value: impl FnMut(&mut Numbers) -> T::Native,
) -> ArrayRef {
    let values = (0..rows).map(|_| if n.below(8) == 0 { None } else { Some(value(n)) });
    Arc::new(values.collect::<PrimitiveArray<T>>().with_data_type(data_type.clone()))
}

fn text(n: &mut Numbers) -> String {
    // Now and then a long one; often one of few, so that dictionaries matter.
    match n.below(20) {
        0 => "long é☕ ".repeat(n.below(40) as usize),
        1..=10 => format!("one of {}", n.below(30)),
        _ => format!("{:x}", n.next()),
    }
}

fn nulls(rows: usize, n: &mut Numbers) -> Option<NullBuffer> {
    Some(NullBuffer::from_iter((0..rows).map(|_| n.below(6) > 0)))
}

/// Powers of ten within 76 digits.
fn ten_to(digits: u64) -> arrow::datatypes::i256 {
    (0..digits).fold(i256::ONE, |v, _| v.wrapping_mul(i256::from_i128(10)))
}

fn array(ty: &DataType, rows: usize, n: &mut Numbers) -> ArrayRef {
    use arrow::datatypes::TimeUnit::*;
    let small = |n: &mut Numbers| n.next() as i64 % 4_000_000_000;
    let day = |n: &mut Numbers, of: u64| (n.next() % of) as i64;
    match ty {
        DataType::Boolean => {
            Arc::new((0..rows).map(|_| [None, Some(true), Some(false)][n.below(3) as usize]).collect::<BooleanArray>())
        }
        DataType::Int8 => values::<Int8Type>(ty, rows, n, |n| n.next() as i8),
        DataType::Int16 => values::<Int16Type>(ty, rows, n, |n| n.next() as i16),
        DataType::Int32 => values::<Int32Type>(ty, rows, n, |n| n.next() as i32),
        DataType::Int64 => {
            values::<Int64Type>(ty, rows, n, |n| [i64::MIN, i64::MAX, n.next() as i64][n.below(3) as usize])
        }
        DataType::UInt8 => values::<UInt8Type>(ty, rows, n, |n| n.next() as u8),
        DataType::UInt16 => values::<UInt16Type>(ty, rows, n, |n| n.next() as u16),
        DataType::UInt32 => values::<UInt32Type>(ty, rows, n, |n| n.next() as u32),
        DataType::UInt64 => values::<UInt64Type>(ty, rows, n, |n| [u64::MAX, n.next()][n.below(2) as usize]),
        DataType::Float32 => values::<Float32Type>(ty, rows, n, |n| {
            [f32::from_bits(0xffc0_0001), f32::NEG_INFINITY, -0.0, n.below(1 << 20) as f32 / 64.0][n.below(4) as usize]
        }),
        DataType::Float64 => values::<Float64Type>(ty, rows, n, |n| {
            [f64::from_bits(0xfff8_0000_0000_0abc), f64::INFINITY, -0.0, n.below(1 << 40) as f64 / 1024.0]
                [n.below(4) as usize]
        }),
        DataType::Decimal128(p, _) => {
            let limit = ten_to(u64::from(*p)).to_i128().unwrap();
            values::<Decimal128Type>(ty, rows, n, |n| i128::from(n.next() as i64) * i128::from(n.next()) % limit)
        }
        DataType::Decimal256(p, _) => {
            let limit = ten_to(u64::from(*p));
            values::<Decimal256Type>(ty, rows, n, |n| {
                let wide =
                    i256::from_parts(u128::from(n.next()) << 60 | u128::from(n.next()), n.next() as i128 - (1 << 40));
                wide.wrapping_rem(limit)
            })
        }
        DataType::LargeUtf8 => {
            Arc::new((0..rows).map(|_| (n.below(8) > 0).then(|| text(n))).collect::<LargeStringArray>())
        }
        DataType::LargeBinary => {
            Arc::new((0..rows).map(|_| (n.below(8) > 0).then(|| text(n).into_bytes())).collect::<LargeBinaryArray>())
        }
        DataType::FixedSizeBinary(width) => {
            let mut builder = FixedSizeBinaryBuilder::new(*width);
            for _ in 0..rows {
                if n.below(8) == 0 {
                    builder.append_null()
                } else {
                    builder.append_value(vec![n.next() as u8; *width as usize]).unwrap()
                }
            }
            Arc::new(builder.finish())
        }
        DataType::Date32 => values::<Date32Type>(ty, rows, n, |n| small(n) as i32 % 100_000),
        DataType::Time32(Second) => values::<Time32SecondType>(ty, rows, n, |n| day(n, 86_400) as i32),
        DataType::Time32(_) => values::<Time32MillisecondType>(ty, rows, n, |n| day(n, 86_400_000) as i32),
        DataType::Time64(Microsecond) => values::<Time64MicrosecondType>(ty, rows, n, |n| day(n, 86_400_000_000)),
        DataType::Time64(_) => values::<Time64NanosecondType>(ty, rows, n, |n| day(n, 86_400_000_000_000)),
        DataType::Timestamp(Second, _) => values::<TimestampSecondType>(ty, rows, n, small),
        DataType::Timestamp(Millisecond, _) => values::<TimestampMillisecondType>(ty, rows, n, |n| small(n) * 1_000),
        DataType::Timestamp(Microsecond, _) => {
            values::<TimestampMicrosecondType>(ty, rows, n, |n| small(n) * 1_000_001)
        }
        DataType::Timestamp(Nanosecond, _) => {
            values::<TimestampNanosecondType>(ty, rows, n, |n| small(n) * 1_000_000_001)
        }
        DataType::Duration(Second) => values::<DurationSecondType>(ty, rows, n, small),
        DataType::Duration(Millisecond) => values::<DurationMillisecondType>(ty, rows, n, small),
        DataType::Duration(Microsecond) => values::<DurationMicrosecondType>(ty, rows, n, small),
        DataType::Duration(Nanosecond) => values::<DurationNanosecondType>(ty, rows, n, small),
        DataType::LargeList(item) => {
            let offsets = OffsetBuffer::<i64>::from_lengths((0..rows).map(|_| n.below(4) as usize));
            let items = array(item.data_type(), offsets[rows] as usize, n);
            Arc::new(LargeListArray::new(item.clone(), offsets, items, nulls(rows, n)))
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|f| array(f.data_type(), rows, n)).collect();
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls(rows, n), rows).unwrap())
        }
        other => panic!("no data for {other}"),
    }
}
