//! Whether rows come in the order of their key already, as from a database that was asked for it.

use std::cmp::Ordering;

use arrow::array::RecordBatch;
use hakiri_core::schema::{Field, Schema, Type, from_arrow};

use super::keys::{Keys, Ranks};

/// Watches rows go by, and knows at their end whether sorting them would change nothing: their keys ascend, and none comes
/// twice. It never errs on that side; what it does not understand is not in order.
#[derive(Debug)]
pub(crate) struct Ascending {
    key: Vec<String>,
    state: State,
}

#[derive(Debug)]
enum State {
    Nothing,
    InOrder { types: Vec<Type>, keys: Keys, last: Ranks },
    NotInOrder,
}

impl Ascending {
    /// For a key of these columns; rows without a key have no order.
    pub(crate) fn new(key: &[String]) -> Self {
        Self { key: key.to_vec(), state: if key.is_empty() { State::NotInOrder } else { State::Nothing } }
    }

    /// Looks at the next rows.
    pub(crate) fn observe(&mut self, batch: &RecordBatch) {
        if batch.num_rows() == 0 {
            return;
        }
        let before = std::mem::replace(&mut self.state, State::NotInOrder);
        if !matches!(before, State::NotInOrder) {
            self.state = self.follows(before, batch).unwrap_or(State::NotInOrder);
        }
    }

    /// Rows of which nothing can be said.
    pub(crate) fn give_up(&mut self) {
        self.state = State::NotInOrder;
    }

    /// Whether all rows were in order, when the table has this schema: a column that is of another type there may be
    /// ordered otherwise.
    pub(crate) fn holds_for(&self, schema: &Schema) -> bool {
        let State::InOrder { types, .. } = &self.state else { return false };
        self.key.iter().zip(types).all(|(name, ty)| schema.field(name).is_some_and(|f| f.ty == *ty))
    }

    fn follows(&self, before: State, batch: &RecordBatch) -> Option<State> {
        let schema = batch.schema_ref();
        let of = |name: &String| from_arrow(schema.field_with_name(name).ok()?).ok();
        let found: Vec<Type> = self.key.iter().map(of).collect::<Option<_>>()?;
        let (keys, last) = match before {
            State::InOrder { types, keys, last } if types == found => (keys, Some(last)),
            State::Nothing => {
                let fields = self.key.iter().zip(&found).map(|(name, ty)| Field::new(name, ty.clone())).collect();
                (Keys::new(&Schema::new(fields), &self.key, None).ok()?, None)
            }
            _ => return None,
        };
        let ranks = keys.ranks(batch).ok()?;
        let rows = batch.num_rows();
        let after_last = last.is_none_or(|last| last.compare(last.len() - 1, &ranks, 0) == Ordering::Less);
        let ascends = after_last && (1..rows).all(|i| ranks.compare(i - 1, &ranks, i) == Ordering::Less);
        ascends.then_some(State::InOrder { types: found, keys, last: ranks })
    }
}
