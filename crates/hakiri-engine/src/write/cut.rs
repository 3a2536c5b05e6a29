//! Where chunks, row groups and parts end: a pure function of the rows' logical sizes, judged row by row (S7, S9).

use super::policy::{CHUNK_BYTES, CHUNK_ROWS, GROUP_BYTES, GROUP_ROWS, PART_BYTES, PART_ROWS};

/// What ends before a row. Ordered: each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    Nothing,
    Chunk,
    Group,
    Part,
}

#[derive(Debug, Clone, Copy, Default)]
struct Fill {
    rows: u64,
    bytes: u64,
}

impl Fill {
    /// Whether a row no longer fits. One that is too large for any gets one of its own.
    fn is_full(self, bytes: u64, max_rows: u64, max_bytes: u64) -> bool {
        self.rows > 0 && (self.rows >= max_rows || self.bytes.saturating_add(bytes) > max_bytes)
    }

    fn add(&mut self, bytes: u64) {
        self.rows += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Counts rows and bytes since the last ends.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    chunk: Fill,
    group: Fill,
    part: Fill,
}

impl Cutter {
    /// Places the next row and says what ends before it.
    pub(super) fn place(&mut self, bytes: u64) -> Cut {
        let cut = if self.part.is_full(bytes, PART_ROWS, PART_BYTES) {
            Cut::Part
        } else if self.group.is_full(bytes, GROUP_ROWS, GROUP_BYTES) {
            Cut::Group
        } else if self.chunk.is_full(bytes, CHUNK_ROWS, CHUNK_BYTES) {
            Cut::Chunk
        } else {
            Cut::Nothing
        };
        for (fill, end) in [(&mut self.chunk, Cut::Chunk), (&mut self.group, Cut::Group), (&mut self.part, Cut::Part)] {
            if cut >= end {
                *fill = Fill::default();
            }
            fill.add(bytes);
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_end_chunks_groups_and_parts() {
        let mut cutter = Cutter::default();
        let cuts: Vec<(u64, Cut)> =
            (0..=PART_ROWS).map(|row| (row, cutter.place(1))).filter(|(_, c)| *c != Cut::Nothing).collect();
        assert_eq!(cuts[0], (CHUNK_ROWS, Cut::Chunk));
        assert_eq!(*cuts.last().unwrap(), (PART_ROWS, Cut::Part));
        assert!(cuts.iter().all(|(row, cut)| (*cut == Cut::Chunk) == (row % GROUP_ROWS != 0)));
    }

    #[test]
    fn large_rows_end_them_by_bytes() {
        let mut cutter = Cutter::default();
        let cuts: Vec<Cut> = (0..6).map(|_| cutter.place(16 << 20)).collect();
        assert_eq!(cuts, [Cut::Nothing, Cut::Chunk, Cut::Group, Cut::Chunk, Cut::Part, Cut::Chunk]);
        let mut cutter = Cutter::default();
        assert_eq!(
            [cutter.place(u64::MAX), cutter.place(1), cutter.place(u64::MAX)],
            [Cut::Nothing, Cut::Part, Cut::Part]
        );
    }

    proptest! {
        #[test]
        fn a_part_holds_at_most_its_bytes_or_one_row(sizes in prop::collection::vec(0_u64..80 << 20, 1..200)) {
            let mut cutter = Cutter::default();
            let mut parts: Vec<Vec<u64>> = vec![vec![]];
            for size in sizes {
                if cutter.place(size) == Cut::Part {
                    parts.push(vec![]);
                }
                parts.last_mut().unwrap().push(size);
            }
            for part in parts {
                prop_assert!(part.len() == 1 || part.iter().sum::<u64>() <= PART_BYTES);
            }
        }
    }
}
