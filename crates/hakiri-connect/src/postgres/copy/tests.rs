//! Copies in pieces of every size, and bytes that are no copy.

use proptest::prelude::*;

use super::super::types::Wire;
use super::*;

fn columns() -> Vec<Selected> {
    [("id", Wire::Int4), ("näme", Wire::Text)]
        .map(|(name, wire)| Selected { name: name.to_owned(), cast: String::new(), wire })
        .to_vec()
}

fn header(flags: u32, extension: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(u32::try_from(extension.len()).unwrap().to_be_bytes());
    bytes.extend(extension);
    bytes
}

fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = i16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        bytes.extend(value.map_or(-1, |v| i32::try_from(v.len()).unwrap()).to_be_bytes());
        bytes.extend(value.unwrap_or_default());
    }
    bytes
}

fn whole() -> Vec<u8> {
    let mut bytes = header(0, b"an extension");
    bytes.extend(row(&[Some(&[0, 0, 0, 1]), Some("one".as_bytes())]));
    bytes.extend(row(&[None, None]));
    bytes.extend(row(&[Some(&[255; 4]), Some(b"")]));
    bytes.extend((-1_i16).to_be_bytes());
    bytes
}

fn read(pieces: &[&[u8]]) -> Result<(RecordBatch, Vec<Error>, bool)> {
    let mut reader = CopyReader::new(&columns());
    for piece in pieces {
        reader.feed(piece)?;
    }
    let done = reader.is_done();
    let batch = reader.take()?;
    Ok((batch.rows, batch.rejected, done))
}

#[test]
fn pieces_may_end_anywhere() {
    let bytes = whole();
    let (expected, ..) = read(&[&bytes]).unwrap();
    assert_eq!(expected.num_rows(), 3);
    for at in 0..=bytes.len() {
        let (rows, rejected, done) = read(&[&bytes[..at], &bytes[at..]]).unwrap();
        assert!(done && rejected.is_empty());
        assert_eq!(rows, expected, "cut at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single).unwrap().0, expected);
}

#[test]
fn without_the_trailer_a_copy_has_not_ended() {
    let bytes = whole();
    for at in 0..bytes.len() {
        assert!(!read(&[&bytes[..at]]).unwrap().2, "{at} bytes");
    }
}

#[test]
fn rows_are_taken_as_they_come_and_counted() {
    let bytes = whole();
    let mut reader = CopyReader::new(&columns());
    reader.feed(&bytes[..HEADER + 12]).unwrap();
    assert_eq!(reader.waiting(), (0, 0));
    let first = row(&[Some(&[0, 0, 0, 1]), Some(b"one")]).len();
    reader.feed(&bytes[HEADER + 12..HEADER + 12 + first]).unwrap();
    assert_eq!(reader.waiting(), (1, first));
    assert_eq!(reader.take().unwrap().rows.num_rows(), 1);
    reader.feed(&bytes[HEADER + 12 + first..]).unwrap();
    assert_eq!(reader.take().unwrap().rows.num_rows(), 2);
    assert!(reader.is_done());
}

#[test]
fn what_is_no_copy_of_these_columns_is_refused() {
    let with = |tail: Vec<u8>| [header(0, b""), tail].concat();
    for (bytes, says) in [
        (b"PGCOPY\r\n".to_vec(), "does not begin"),
        (header(1 << 16, b""), "asks for what is not known"),
        ([&SIGNATURE[..], &[0; 4], &[255; 4]].concat(), "too long"),
        (with(row(&[None])), "another number of columns"),
        (with(vec![0xff, 0xfe]), "another number of columns"),
        (with([&[0, 2][..], &(-2_i32).to_be_bytes()].concat()), "`id` has an impossible length"),
        (with([&[0, 2][..], &i32::MAX.to_be_bytes()].concat()), "`id` has an impossible length"),
        (with(row(&[Some(&[1, 2, 3]), None])), "`id` is not of its type"),
        (with(vec![0xff, 0xff, 0]), "more after its end"),
    ] {
        let error = read(&[&bytes]).unwrap_err();
        assert_eq!(error.code(), Code::PostgresTorn);
        assert!(error.message().contains(says), "{error}");
    }
}

#[test]
fn a_value_that_cannot_be_stored_leaves_its_row_out_and_names_its_column() {
    let bytes = [
        header(0, b""),
        row(&[Some(&[0, 0, 0, 1]), Some(b"good")]),
        row(&[Some(&[0, 0, 0, 2]), Some(b"s3cr3t \xff")]),
        row(&[Some(&[0, 0, 0, 3]), Some(b"good")]),
    ]
    .concat();
    let (rows, rejected, _) = read(&[&bytes]).unwrap();
    assert_eq!((rows.num_rows(), rejected.len()), (2, 1));
    assert_eq!(rejected[0].code(), Code::PostgresUnstorable);
    assert_eq!(rejected[0].message(), "column `näme`: a text is not valid UTF-8");
    assert!(!format!("{:?}", rejected[0]).contains("s3cr3t"));
}

proptest! {
    #[test]
    fn any_bytes_end_in_rows_or_an_error_and_never_in_a_panic(
        tail in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200,
    ) {
        let bytes = [header(0, b""), tail].concat();
        let cut = cut.min(bytes.len());
        let _ = read(&[&bytes[..cut], &bytes[cut..]]);
    }

    #[test]
    fn rows_do_not_depend_on_the_pieces(
        values in prop::collection::vec((prop::option::of(any::<i32>()), prop::option::of(".{0,12}")), 0..20),
        sizes in prop::collection::vec(1_usize..40, 1..50),
    ) {
        let mut bytes = header(0, b"");
        for (id, name) in &values {
            let id = id.map(i32::to_be_bytes);
            bytes.extend(row(&[id.as_ref().map(|b| &b[..]), name.as_ref().map(|n| n.as_bytes())]));
        }
        bytes.extend([255, 255]);
        let expected = read(&[&bytes]).unwrap().0;
        let mut pieces = Vec::new();
        let (mut rest, mut sizes) = (&bytes[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(read(&pieces).unwrap().0, expected);
    }
}
