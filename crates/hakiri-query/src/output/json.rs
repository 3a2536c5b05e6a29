//! Objects, in an array or one a line. Nulls are written, so that every object has every column.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use hakiri_core::Result;

use super::{Sink, cells, unique, write};
use crate::text::write_json_string;

pub(super) struct Json<'a> {
    out: &'a mut (dyn Write + Send),
    lines: bool,
    names: Vec<String>,
    first: bool,
}

impl<'a> Json<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send), lines: bool) -> Self {
        Self { out, lines, names: Vec::new(), first: true }
    }
}

impl Sink for Json<'_> {
    fn start(&mut self, schema: &Schema) -> Result<()> {
        for field in unique(schema).fields() {
            let mut name = String::new();
            write_json_string(field.name(), &mut name);
            self.names.push(name);
        }
        if self.lines { Ok(()) } else { write(self.out, "[") }
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = cells(batch, true)?;
        let mut line = String::new();
        for row in 0..batch.num_rows() {
            line.clear();
            if !self.lines {
                line.push_str(if self.first { "\n" } else { ",\n" });
            }
            self.first = false;
            line.push('{');
            for (i, (name, column)) in self.names.iter().zip(&columns).enumerate() {
                if i > 0 {
                    line.push(',');
                }
                line.push_str(name);
                line.push(':');
                if column.append(row, &mut line)?.is_none() {
                    line.push_str("null");
                }
            }
            line.push('}');
            if self.lines {
                line.push('\n');
            }
            write(self.out, &line)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        match (self.lines, self.first) {
            (true, _) => Ok(()),
            (false, true) => write(self.out, "]\n"),
            (false, false) => write(self.out, "\n]\n"),
        }
    }
}
