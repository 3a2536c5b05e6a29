//! Aligned columns for a terminal.
//!
//! Control characters are shown, never sent: a record must not be able to move the cursor or set the title.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use hakiri_core::Result;

use super::{Sink, cells, write};

/// Characters of a cell that are shown.
const CELL: usize = 60;
/// Rows that are looked at to find the widths.
const AHEAD: usize = 1_000;

pub(super) struct Table<'a> {
    out: &'a mut (dyn Write + Send),
    names: Vec<String>,
    right: Vec<bool>,
    widths: Vec<usize>,
    waiting: Vec<Vec<String>>,
    started: bool,
}

impl<'a> Table<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self { out, names: Vec::new(), right: Vec::new(), widths: Vec::new(), waiting: Vec::new(), started: false }
    }

    fn line(&mut self, cells: &[String], left: bool) -> Result<()> {
        let mut line = String::new();
        for (i, ((cell, width), right)) in cells.iter().zip(&self.widths).zip(&self.right).enumerate() {
            if i > 0 {
                line.push_str(" | ");
            }
            let pad = width.saturating_sub(cell.chars().count());
            if *right && !left {
                line.extend((0..pad).map(|_| ' '));
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.extend((0..pad).map(|_| ' '));
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        write(self.out, &line)
    }

    fn release(&mut self) -> Result<()> {
        if !self.started {
            self.started = true;
            for row in &self.waiting {
                for (width, cell) in self.widths.iter_mut().zip(row) {
                    *width = (*width).max(cell.chars().count());
                }
            }
            let names = std::mem::take(&mut self.names);
            self.line(&names, true)?;
            let rule = self.widths.iter().map(|w| "-".repeat(*w)).collect::<Vec<_>>().join("-+-");
            write(self.out, &format!("{rule}\n"))?;
        }
        for row in std::mem::take(&mut self.waiting) {
            self.line(&row, false)?;
        }
        Ok(())
    }
}

impl Sink for Table<'_> {
    fn start(&mut self, schema: &Schema) -> Result<()> {
        self.names = schema.fields().iter().map(|f| shown(f.name())).collect();
        self.right = schema.fields().iter().map(|f| f.data_type().is_numeric()).collect();
        self.widths = self.names.iter().map(|n| n.chars().count()).collect();
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = cells(batch, false)?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            let mut line = Vec::with_capacity(columns.len());
            for column in &columns {
                text.clear();
                line.push(match column.append(row, &mut text)? {
                    Some(()) => shown(&text),
                    None => "NULL".to_owned(),
                });
            }
            self.waiting.push(line);
            if self.waiting.len() >= AHEAD {
                self.release()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.release()
    }
}

/// One line of at most [`CELL`] characters, none of which does anything to a terminal.
fn shown(text: &str) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i + 1 == CELL && text.chars().nth(CELL).is_some() {
            out.push('…');
            break;
        }
        match c {
            '\n' => out.push('↵'),
            // Controls, and what turns the direction of the text around.
            c if c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                out.push('\u{fffd}')
            }
            c => out.push(c),
        }
    }
    out
}
