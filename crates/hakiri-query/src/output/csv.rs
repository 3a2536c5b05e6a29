//! RFC 4180: fields with a separator, quote or line break are quoted, quotes inside doubled.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use hakiri_core::Result;

use super::{Sink, cells, write};

pub(super) struct Csv<'a>(&'a mut (dyn Write + Send));

impl<'a> Csv<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self(out)
    }
}

impl Sink for Csv<'_> {
    fn start(&mut self, schema: &Schema) -> Result<()> {
        let mut line = String::new();
        for (i, field) in schema.fields().iter().enumerate() {
            if i > 0 {
                line.push(',');
            }
            quote(field.name(), &mut line);
        }
        line.push('\n');
        write(self.0, &line)
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = cells(batch, false)?;
        let (mut line, mut cell) = (String::new(), String::new());
        for row in 0..batch.num_rows() {
            line.clear();
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    line.push(',');
                }
                cell.clear();
                if column.append(row, &mut cell)?.is_some() {
                    quote(&cell, &mut line);
                }
            }
            line.push('\n');
            write(self.0, &line)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Empty text is quoted, so that it is not null.
fn quote(text: &str, out: &mut String) {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}
