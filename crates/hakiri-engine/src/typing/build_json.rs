//! JSON values into columns in the making: the recursive half of [`build`](super::build).

use hakiri_core::codes::Code;
use hakiri_core::error::Error;
use hakiri_core::schema::Type;

use super::build::{Column, Faults, Members, Values};
use super::json::{self, Malformed, Shape};
use super::number::write_canonical;

impl<'a> Members<'a> {
    /// Appends an object: one value to each column. Of several members with one name the last counts; members that are
    /// no columns are left out.
    ///
    /// # Errors
    /// The text is not a valid object; nothing was appended.
    pub(super) fn append_object(&mut self, raw: &'a str, faults: &mut Faults) -> Result<(), Malformed> {
        let mut slots = std::mem::take(&mut self.slots);
        slots.fill(None);
        // Records mostly name their members in one order, so the next column is tried before the map.
        let mut next = 0;
        let (names, places) = (&self.names, &self.places);
        let result = json::members(raw, &mut |name, value| {
            let is_next = names.get(next).is_some_and(|n| *n == name);
            let place = if is_next { Some(next) } else { places.get(name.as_ref()).copied() };
            if let Some(slot) = place.and_then(|p| slots.get_mut(p)) {
                *slot = Some(value);
            }
            next = place.map_or(next, |p| p + 1);
        });
        if result.is_ok() {
            for (column, slot) in self.columns.iter_mut().zip(&slots) {
                match slot {
                    Some(value) => column.append_json(value, faults),
                    None => column.append_null(),
                }
            }
        }
        self.slots = slots;
        result
    }
}

impl<'a> Column<'a> {
    /// Appends a valid JSON value, read as the column's type.
    pub(super) fn append_json(&mut self, raw: &'a str, faults: &mut Faults) {
        let shape = json::shape(raw);
        if shape == Shape::Null {
            return self.append_null();
        }
        let appended = match (&mut self.values, &self.ty) {
            (Values::Struct(members), _) => shape == Shape::Object && members.append_object(raw, faults).is_ok(),
            (Values::List { offsets, item }, _) => {
                let complete =
                    shape == Shape::Array && json::items(raw, &mut |value| item.append_json(value, faults)).is_ok();
                if complete {
                    offsets.push(item.len() as i64);
                }
                complete
            }
            (Values::Bytes { offsets, data }, Type::Json) => append_compact(raw, offsets, data).is_ok(),
            (Values::Bytes { offsets, data }, Type::Text) => match shape {
                Shape::String => match json::string(raw) {
                    Ok(text) => {
                        data.extend_from_slice(text.as_bytes());
                        offsets.push(data.len() as i64);
                        true
                    }
                    Err(Malformed) => false,
                },
                _ => append_compact(raw, offsets, data).is_ok(),
            },
            (_, ty) => {
                // A number or boolean is not the text of bytes; everything else reads scalars by their text.
                let bytes = matches!(ty, Type::Binary | Type::FixedBinary { .. });
                match shape {
                    Shape::String => match json::string(raw) {
                        Ok(text) => return self.append_text(&text, faults),
                        Err(Malformed) => false,
                    },
                    Shape::Number | Shape::True | Shape::False if !bytes => return self.append_text(raw, faults),
                    _ => false,
                }
            }
        };
        if appended {
            self.append_valid();
        } else {
            self.append_fault(faults);
        }
    }

    /// Appends a cell of text, which holds JSON where the column is a list, a struct or `json`. A cell of a `json`
    /// column that is not JSON is a JSON string.
    pub(super) fn append_cell(&mut self, text: &'a str, faults: &mut Faults) {
        match (&self.ty, &self.values) {
            (Type::Json, _) | (_, Values::List { .. } | Values::Struct(_)) => match json::valid(text) {
                Some(raw) => self.append_json(raw, faults),
                None => self.append_text(text, faults),
            },
            _ => self.append_text(text, faults),
        }
    }
}

fn append_compact(raw: &str, offsets: &mut Vec<i64>, data: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut out = String::with_capacity(raw.len());
    match json::shape(raw) {
        Shape::Number => write_canonical(raw, &mut out),
        _ => json::compact(raw, &mut out)?,
    }
    data.extend_from_slice(out.as_bytes());
    offsets.push(data.len() as i64);
    Ok(())
}

/// The error of a record that is not an object.
pub(super) fn not_a_record() -> Error {
    Error::new(Code::RecordShape, "a record is not a JSON object")
}
