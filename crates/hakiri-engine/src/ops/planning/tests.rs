//! What is refused at planning, and which cursor a table gets.

use hakiri_core::codes::Code;
use hakiri_core::cursor::{Cursor, CursorKind};
use hakiri_core::spec::Distance;
use serde_json::{Value, json};

use super::settled;
use crate::testing::{Bench, DAY};

async fn planned(bench: &Bench, full: bool) -> hakiri_core::Result<super::Preview> {
    bench.engine.preview(&Bench::pipeline(), full, bench.engine.clock.now()).await
}

#[tokio::test]
async fn rows_of_one_key_mode_or_cursor_are_not_merged_by_another() {
    let mut bench = Bench::new(json!({ "children": ["items"] }));
    let record = json!({ "id": 1, "b": 2, "v": 1, "items": [{ "n": 1 }] });
    bench.run(std::slice::from_ref(&record)).await;
    let kids = |mut more: Value| {
        more["children"] = json!(["items"]);
        more
    };
    for (settings, what) in [
        (json!({ "primary_key": ["b"] }), "primary key"),
        (json!({ "mode": "append", "children": [] }), "mode merge"),
        (json!({ "incremental": "b" }), "cursor column `v`"),
    ] {
        bench.change("shop", kids(settings), json!([]));
        let error = planned(&bench, false).await.unwrap_err();
        assert_eq!(error.code(), Code::MergeChanged);
        assert!(error.message().contains(what), "{error:?}");
        planned(&bench, true).await.unwrap();
    }
    bench.change("shop", kids(json!({ "mode": "replace" })), json!([]));
    planned(&bench, false).await.expect("it replaces all rows");
    bench.change("shop", kids(json!({ "primary_key": ["b"] })), json!([]));
    bench.engine.reset(&Bench::pipeline(), &Bench::table("orders")).await.unwrap();
    bench.run(&[record]).await;
}

#[tokio::test]
async fn declared_types_decide_the_kind_of_a_cursor_before_the_first_run() {
    for (ty, kind) in [("int64", CursorKind::Integer), ("text", CursorKind::Text), ("date", CursorKind::Timestamp)] {
        let bench = Bench::new(json!({ "types": { "v": ty }, "lag": null }));
        let preview = planned(&bench, false).await.unwrap();
        assert_eq!(preview.plan.steps[0].tables[0].cursor_kind, Some(kind), "{ty}");
    }
}

#[tokio::test]
async fn a_cursor_in_the_future_is_not_read_below_in_silence() {
    let bench = Bench::new(json!({ "types": { "v": "timestamp(ms, utc)" }, "lag": null }));
    bench.run(&[json!({ "id": 1, "v": "2023-01-01T00:00:00Z" })]).await;
    planned(&bench, false).await.expect("as far as the clock is right");
    bench.pass(-DAY);
    let error = planned(&bench, false).await.unwrap_err();
    assert_eq!(error.code(), Code::CursorAhead);
    assert!(error.hint().contains("state rewind"), "{error:?}");
    planned(&bench, true).await.unwrap();
    let back = Cursor::Timestamp { nanos: 1_690_000_000_000_000_000, utc: true };
    bench.engine.rewind(&Bench::pipeline(), &Bench::table("orders"), back).await.unwrap();
    planned(&bench, false).await.unwrap();
}

#[test]
fn settle_keeps_a_distance_from_the_end_of_the_source() {
    let at = |value| Cursor::Integer { value };
    assert_eq!(settled(Some(&at(100)), Some(&Distance::Units(30))).unwrap(), Some(at(70)));
    assert_eq!(settled(Some(&at(100)), None).unwrap(), Some(at(100)));
    assert_eq!(settled(None, Some(&Distance::Units(0))).unwrap(), None);
    let blind = settled(None, Some(&Distance::Units(30))).unwrap_err();
    assert_eq!(blind.code(), Code::ManifestValue);
}

#[tokio::test]
async fn settle_without_an_end_is_an_error_not_nothing() {
    let bench = Bench::new(json!({ "mode": "append", "lag": null, "settle": 5 }));
    assert_eq!(planned(&bench, false).await.unwrap_err().code(), Code::ManifestValue);
}
