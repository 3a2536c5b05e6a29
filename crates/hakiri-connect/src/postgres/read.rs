//! The reading of one step: a binary copy, decoded as it comes.
//!
//! Contract: all rows are of one snapshot. The rows are complete or the step fails: a connection that ends early is
//! noticed by the missing trailer. Memory is bounded: the driver holds a few messages, a batch ends at its number of rows
//! or at about 8 MiB, whichever comes first, and the next piece is asked for when the batch is taken.

use std::collections::VecDeque;
use std::pin::Pin;

use futures::StreamExt as _;
use hakiri_core::codes::Code;
use hakiri_core::source::{Message, Progress, Rows, SourceContext};
use hakiri_core::{Error, Result};
use tokio_postgres::CopyOutStream;

use super::copy::CopyReader;
use super::session::{Session, unless_cancelled};
use super::table;
use super::types::Selected;

/// A batch ends when the server's form of its rows has this many bytes.
const BATCH_BYTES: usize = 8 << 20;

/// The rows of a step under way.
pub(super) struct Reading<'a> {
    ctx: &'a SourceContext,
    /// What errors are about.
    place: String,
    copy: Pin<Box<CopyOutStream>>,
    session: Session,
    reader: CopyReader,
    progress: Progress,
    ready: VecDeque<Message>,
    ended: bool,
}

impl std::fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<'a> Reading<'a> {
    pub(super) async fn start(
        session: Session,
        select: &str,
        columns: &[Selected],
        place: String,
        ctx: &'a SourceContext,
    ) -> Result<Self> {
        let copy = session.copy(select).await.map_err(|e| table::hinted(e).at(place.clone()))?;
        Ok(Self {
            ctx,
            place,
            copy: Box::pin(copy),
            session,
            reader: CopyReader::new(columns),
            progress: Progress { requests: 1, ..Progress::default() },
            ready: VecDeque::new(),
            ended: false,
        })
    }

    /// The next message, or none after the last row.
    ///
    /// # Errors
    /// Those of the connection; `HK1022`, `HK0003`.
    pub(super) async fn next(&mut self) -> Result<Option<Message>> {
        while self.ready.is_empty() && !self.ended {
            self.fill().await.map_err(|e| table::hinted(e).at(self.place.clone()))?;
        }
        Ok(self.ready.pop_front())
    }

    /// Reads until a batch is full or the copy ends.
    async fn fill(&mut self) -> Result<()> {
        self.ctx.cancel.check()?;
        loop {
            match unless_cancelled(&self.ctx.cancel, self.copy.next()).await? {
                Some(piece) => {
                    let piece = piece.map_err(|e| hakiri_postgres::error(&e))?;
                    self.progress.bytes += piece.len() as u64;
                    self.reader.feed(&piece)?;
                }
                None if self.reader.is_done() => {
                    self.ended = true;
                    self.session.end().await?;
                    return self.flush();
                }
                None => {
                    return Err(Error::new(Code::PostgresTorn, "the server stopped in the middle of the rows"));
                }
            }
            let (rows, bytes) = self.reader.waiting();
            if rows >= self.ctx.batch_rows.max(1) || bytes >= BATCH_BYTES {
                return self.flush();
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        let batch = self.reader.take()?;
        for error in batch.rejected {
            self.ready.push_back(Message::Rejected { stream: 0, reason: error.message().to_owned(), error });
        }
        if batch.rows.num_rows() > 0 {
            self.ready.push_back(Message::Rows { stream: 0, rows: Rows::Typed(batch.rows) });
        }
        self.ready.push_back(Message::Progress(self.progress));
        Ok(())
    }
}
