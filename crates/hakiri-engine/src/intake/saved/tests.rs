use std::sync::Arc;

use arrow::array::{Int64Array, LargeStringArray};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::json;

use super::*;

const RUN: &str = "run-01K7Z9V9000000000000000000";

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local(folder.path(), "test").unwrap();
    (folder, store)
}

fn text(value: &str) -> Message {
    let schema = Arc::new(Schema::new(vec![Field::new("json", DataType::LargeUtf8, false)]));
    let column = LargeStringArray::from_iter_values([value]);
    Message::Rows { stream: 0, rows: Rows::Json(RecordBatch::try_new(schema, vec![Arc::new(column)]).unwrap()) }
}

fn typed(value: i64) -> Message {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let column = Int64Array::from(vec![Some(value), None]);
    Message::Rows { stream: 1, rows: Rows::Typed(RecordBatch::try_new(schema, vec![Arc::new(column)]).unwrap()) }
}

fn at(place: u64, seen: &[&str]) -> Checkpoint {
    Checkpoint { place: json!(place), seen: seen.iter().map(|s| (*s).to_owned()).collect() }
}

/// Everything that is saved, and where it ends.
async fn loaded(store: &Store, saved: &Saved) -> (Vec<String>, Option<Checkpoint>) {
    let (mut all, mut from) = (Vec::new(), None);
    for file in saved.files() {
        all.extend(load(store, &file, &mut from).await.unwrap());
    }
    (all.iter().map(shown).collect(), from)
}

fn shown(message: &Message) -> String {
    match message {
        Message::Rejected { stream, reason, .. } => format!("{stream} {reason}"),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_said_before_a_checkpoint_comes_back_in_order_and_nothing_after_it() {
    let (_folder, store) = store();
    let (run, saved, secrets) = (RUN.parse().unwrap(), Saved::of(None, true), Secrets::default());
    let mut log = Log::new(&run, 3, &saved, 1 << 20);
    let error = Error::new(Code::HttpShape, "x");
    let rejected = Message::Rejected { stream: 0, reason: "page 1, record 2".to_owned(), error };
    let cursor = Message::Cursor { stream: 0, after: Cursor::Opaque { value: "k".to_owned() } };
    let first = [text("{\"a\": 1}\n"), typed(7), rejected, cursor];
    for message in &first {
        log.note(&store, message, &secrets).await.unwrap();
    }
    log.save(&store).await.unwrap();
    assert!(!saved.is_there(), "without a checkpoint there is nothing to go on from");
    log.mark(&store, at(1, &["a"])).await.unwrap();
    log.note(&store, &text("after"), &secrets).await.unwrap();
    log.save(&store).await.unwrap();
    log.save(&store).await.unwrap();
    assert_eq!((saved.files().len(), saved.has_grown()), (1, true), "once is enough");
    assert_eq!(loaded(&store, &saved).await, (first.iter().map(shown).collect(), Some(at(1, &["a"]))));
    // The next attempt goes on with it, and adds to it.
    let saved = Saved::of(saved.progress().unwrap().as_ref(), true);
    assert!(saved.is_there() && !saved.has_grown());
    let mut log = Log::new(&run, 3, &saved, 1 << 20);
    log.mark(&store, at(2, &["b"])).await.unwrap();
    log.note(&store, &text("more"), &secrets).await.unwrap();
    log.mark(&store, at(3, &["c"])).await.unwrap();
    log.save(&store).await.unwrap();
    let all = first.iter().chain([&text("more")]).map(shown).collect();
    assert_eq!(loaded(&store, &saved).await, (all, Some(at(3, &["a", "b", "c"]))));
}

#[tokio::test]
async fn memory_is_bounded_whether_places_are_marked_or_not() {
    let (_folder, store) = store();
    let (run, secrets) = (RUN.parse().unwrap(), Secrets::default());
    let long = text(&"x".repeat(1_000));
    let saved = Saved::of(None, true);
    let mut log = Log::new(&run, 0, &saved, 10_000);
    for n in 0..100 {
        log.note(&store, &long, &secrets).await.unwrap();
        log.mark(&store, at(n, &[])).await.unwrap();
        assert!(log.bytes < 20_000);
    }
    assert!((5..20).contains(&saved.files().len()), "{:?}", saved.files());
    let saved = Saved::of(None, true);
    let mut log = Log::new(&run, 0, &saved, 10_000);
    log.mark(&store, at(0, &[])).await.unwrap();
    for _ in 0..100 {
        log.note(&store, &long, &secrets).await.unwrap();
        assert!(log.bytes <= 21_000 && log.said.len() < 22);
    }
    log.mark(&store, at(1, &[])).await.unwrap();
    log.save(&store).await.unwrap();
    assert_eq!(loaded(&store, &saved).await, (vec![], Some(at(0, &[]))), "what was marked before is all there is");
}

#[tokio::test]
async fn a_worker_without_a_deadline_saves_nothing() {
    let (_folder, store) = store();
    let (run, saved) = (RUN.parse().unwrap(), Saved::of(None, false));
    let mut log = Log::new(&run, 0, &saved, 1);
    log.note(&store, &text("x"), &Secrets::default()).await.unwrap();
    log.mark(&store, at(1, &[])).await.unwrap();
    log.save(&store).await.unwrap();
    assert!(!saved.is_there() && log.said.is_empty() && saved.progress().unwrap().is_none());
}

#[tokio::test]
async fn a_file_that_is_gone_or_no_such_file_says_that_nothing_can_be_gone_on_with() {
    let (_folder, store) = store();
    let odd = store.put_new("steps/odd", Bytes::from_static(b"nothing of ours")).await.unwrap();
    let other =
        zstd::encode_all(&b"{\"format\":2,\"checkpoint\":{\"place\":1,\"seen\":[]},\"said\":[]}\n"[..], 1).unwrap();
    let other = store.put_new("steps/other", other.into()).await.unwrap();
    let gone = FileRef { path: "steps/gone".to_owned(), ..odd.clone() };
    for file in [odd, other, gone] {
        let error = load(&store, &file, &mut None).await.unwrap_err();
        assert!(is_lost(&error), "{error:?}");
    }
    assert!(!Saved::of(Some(&json!({ "format": 9, "files": [] })), true).is_there());
    assert!(!Saved::of(Some(&json!({ "page": 7 })), true).is_there());
}
