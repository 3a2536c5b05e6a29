//! Each kind of pagination: the values sent, and when it ends.

use super::*;

/// A server with `total` records that cuts pages by `page`/`offset` and `size`, never more than `cap`.
fn cutting(total: usize, cap: usize) -> impl Fn(&Asked, usize) -> Reply {
    move |asked, _| {
        let size = asked.number("size").unwrap_or(2).min(cap);
        let start = asked.number("offset").or_else(|| asked.number("page").map(|p| (p - 1) * size)).unwrap_or(0);
        ok(
            &json!({ "items": records(start.min(total)..(start + size).min(total)), "total": total, "pages": total.div_ceil(size) }),
        )
    }
}

fn numbered(page: Value) -> Value {
    json!({ "records": "items", "paginate": { "page": page } })
}

#[tokio::test]
async fn numbered_pages_end_at_a_short_page() {
    let server = serve(cutting(5, 100)).await;
    let given = run(one(&server, numbered(json!({ "param": "page", "size_param": "size", "size": 2 })))).await.ok();
    assert_eq!(given.ids(), ["0", "1", "2", "3", "4"]);
    assert_eq!(server.params("page"), ["1", "2", "3"]);
    assert_eq!(server.params("size"), ["2", "2", "2"]);
    assert_eq!(given.progress.requests, 3);
}

#[tokio::test]
async fn a_server_that_caps_the_size_is_read_to_its_end() {
    let server = serve(cutting(5, 2)).await;
    let given = run(one(&server, numbered(json!({ "param": "page", "size_param": "size", "size": 100 })))).await.ok();
    assert_eq!(given.ids().len(), 5, "a short first page is no proof of the end");
    assert_eq!(server.params("page"), ["1", "2", "3"]);
    let server = serve(cutting(5, 2)).await;
    let offset = json!({ "records": "items", "paginate": { "offset": { "param": "offset", "limit_param": "size", "limit": 100 } } });
    assert_eq!(run(one(&server, offset)).await.ok().ids(), ["0", "1", "2", "3", "4"]);
    assert_eq!(server.params("offset"), ["0", "2", "4"]);
}

#[tokio::test]
async fn numbered_pages_end_at_an_empty_page_or_at_their_number() {
    let server = serve(cutting(4, 2)).await;
    assert_eq!(run(one(&server, numbered(json!({ "param": "page" })))).await.ok().ids().len(), 4);
    assert_eq!(server.params("page"), ["1", "2", "3"]);
    let server = serve(cutting(4, 2)).await;
    assert_eq!(
        run(one(&server, numbered(json!({ "param": "page", "total_pages": "pages" })))).await.ok().ids().len(),
        4
    );
    assert_eq!(server.params("page"), ["1", "2"]);
    let given = run(one(&server, numbered(json!({ "param": "page", "total_pages": "meta.pages" })))).await;
    assert_eq!(given.code(), Code::HttpShape);
    // An API that filters after cutting: short pages in the middle.
    let server =
        serve(|asked, _| ok(&[records(0..1), records(1..3), records(0..0)][asked.number("page").unwrap()])).await;
    let page = json!({ "paginate": { "page": { "param": "page", "start": 0, "size": 2, "stop": "empty" } } });
    assert_eq!(run(one(&server, page)).await.ok().ids(), ["0", "1", "2"]);
}

#[tokio::test]
async fn offsets() {
    let server = serve(cutting(5, 100)).await;
    let offset = json!({ "records": "items", "paginate": { "offset": { "param": "offset", "limit_param": "size", "limit": 2 } } });
    assert_eq!(run(one(&server, offset)).await.ok().ids().len(), 5);
    assert_eq!(server.params("offset"), ["0", "2", "4"]);
    let server = serve(cutting(4, 100)).await;
    let offset = json!({ "records": "items", "paginate": { "offset": { "param": "offset", "limit_param": "size", "limit": 2, "total": "total" } } });
    assert_eq!(run(one(&server, offset)).await.ok().ids().len(), 4);
    assert_eq!(server.params("offset"), ["0", "2"]);
}

#[tokio::test]
async fn cursors_may_be_texts_or_numbers() {
    let server = serve(|_, n| {
        let next = [json!("a b&c"), json!(12345678901234567_u64), json!(null)][n].clone();
        ok(&json!({ "data": records(n..n + 1), "meta": { "next": next } }))
    })
    .await;
    let cursor = json!({ "records": "data", "params": { "limit": 1 }, "paginate": { "cursor": { "param": "after", "next": "meta.next" } } });
    assert_eq!(run(one(&server, cursor)).await.ok().ids(), ["0", "1", "2"]);
    assert_eq!(server.params("after"), ["-", "a b&c", "12345678901234567"]);
    assert_eq!(server.params("limit"), ["1", "1", "1"]);
}

#[tokio::test]
async fn a_cursor_with_a_flag() {
    let server = serve(|_, n| ok(&json!({ "data": records(n..n + 1), "next": format!("c{n}"), "more": n < 2 }))).await;
    let cursor =
        json!({ "records": "data", "paginate": { "cursor": { "param": "after", "next": "next", "more": "more" } } });
    assert_eq!(run(one(&server, cursor)).await.ok().ids().len(), 3);
    let server = serve(|_, _| ok(&json!({ "data": records(0..1), "more": true }))).await;
    let cursor =
        json!({ "records": "data", "paginate": { "cursor": { "param": "after", "next": "next", "more": "more" } } });
    assert_eq!(run(one(&server, cursor)).await.code(), Code::HttpShape, "more without a cursor");
}

#[tokio::test]
async fn next_urls_are_followed_on_the_same_host_only() {
    let server = serve(|asked, n| {
        let next = ["/v2/r?page=two&key=old", "?page=three", ""][n];
        assert_eq!(asked.param("key"), Some(CANARY));
        ok(&json!({ "data": records(n..n + 1), "next": next }))
    })
    .await;
    let mut config = one(
        &server,
        json!({ "records": "data", "params": { "a": 1 }, "paginate": { "next_url": { "path": "next" } } }),
    );
    config["auth"] = json!({ "api_key": { "name": "key", "value": "${TOKEN}", "in": "query" } });
    assert_eq!(run(config).await.ok().ids(), ["0", "1", "2"]);
    assert_eq!(server.params("page"), ["-", "two", "three"]);
    assert_eq!(server.params("a"), ["1", "-", "-"]);
    assert_eq!(server.paths(), ["/r", "/v2/r", "/v2/r"]);

    for (next, code) in [
        ("https://evil.example/r", Code::HttpRedirect),
        ("http://localhost:1/r", Code::HttpRedirect),
        ("//evil.example/r", Code::HttpRedirect),
        ("http://127.0.0.1:1/r", Code::HttpRedirect),
        ("file:///etc/passwd", Code::SourceConfig),
    ] {
        let server = serve(move |_, _| ok(&json!({ "data": records(0..1), "next": next }))).await;
        let config = one(&server, json!({ "records": "data", "paginate": { "next_url": { "path": "next" } } }));
        assert_eq!(run(config).await.code(), code, "{next}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn link_headers() {
    let server = serve(|_, n| {
        let reply = ok(&records(n..n + 1));
        if n < 2 { reply.with("link", &format!("</r?p={n}>; rel=\"next\", </r?p=9>; rel=\"last\"")) } else { reply }
    })
    .await;
    let given = run(one(&server, json!({ "paginate": "link_header" }))).await.ok();
    assert_eq!(given.ids(), ["0", "1", "2"]);
    assert_eq!(server.params("p"), ["-", "0", "1"]);
}

#[tokio::test]
async fn after_the_last_record() {
    let answer = |asked: &Asked, _| {
        let start = asked.number("after").map_or(0, |id| id + 1);
        ok(&json!({ "data": records(start..(start + 2).min(5)), "has_more": start + 2 < 5 }))
    };
    let server = serve(answer).await;
    let last = json!({ "records": "data", "paginate": { "last_record": { "param": "after", "field": "id", "has_more": "has_more" } } });
    assert_eq!(run(one(&server, last)).await.ok().ids().len(), 5);
    assert_eq!(server.params("after"), ["-", "1", "3"]);
    let server = serve(answer).await;
    let last = json!({ "records": "data", "paginate": { "last_record": { "param": "after", "field": "id" } } });
    assert_eq!(run(one(&server, last)).await.ok().ids().len(), 5);
    assert_eq!(server.params("after"), ["-", "1", "3", "4"], "without a flag it ends at an empty page");
}

#[tokio::test]
async fn what_repeats_itself_is_stopped() {
    // The parameter's name is wrong, so the server gives its first page for ever.
    let server = serve(|_, _| ok(&records(0..2))).await;
    let given = run(one(&server, json!({ "paginate": { "page": { "param": "pgae" } } }))).await;
    assert_eq!((given.code(), server.asked().len()), (Code::HttpRepeated, 2));
    // The cursor goes in a circle, while the pages differ.
    let server =
        serve(|_, n| ok(&json!({ "data": records(n..n + 1), "next": if n % 2 == 0 { "a" } else { "b" } }))).await;
    let given =
        run(one(&server, json!({ "records": "data", "paginate": { "cursor": { "param": "c", "next": "next" } } })))
            .await;
    assert_eq!((given.code(), server.asked().len()), (Code::HttpRepeated, 3));
    let server = serve(|_, n| ok(&records(n..n + 1)).with("link", "</r?p=1>; rel=next")).await;
    assert_eq!(run(one(&server, json!({ "paginate": "link_header" }))).await.code(), Code::HttpRepeated);
}

#[tokio::test]
async fn limits_stop_the_read() {
    let endless = |asked: &Asked, _| ok(&records(asked.number("page").unwrap()..asked.number("page").unwrap() + 1));
    let server = serve(endless).await;
    let given = run(one(&server, json!({ "paginate": { "page": { "param": "page" } }, "max_requests": 4 }))).await;
    assert_eq!((given.code(), server.asked().len()), (Code::SourceLimit, 4));
    let server = serve(endless).await;
    let given = run(one(&server, json!({ "paginate": { "page": { "param": "page" } }, "max_rows": 3 }))).await;
    assert_eq!((given.code(), server.asked().len()), (Code::SourceLimit, 4));
}

#[tokio::test]
async fn records_are_kept_digit_by_digit_and_in_their_order() {
    let text =
        r#"{"data":[{"id":1,"n":12345678901234567890.123456789012345678901,"z":1.0,"a":1e400},{"id":2,"é":"\u00e9"}]}"#;
    let server = serve(move |_, _| reply(200, text.as_bytes())).await;
    let given = run(one(&server, json!({ "records": "data" }))).await.ok();
    assert_eq!(given.rows[0].1, r#"{"id":1,"n":12345678901234567890.123456789012345678901,"z":1.0,"a":1e400}"#);
    assert_eq!(given.rows[1].1, r#"{"id":2,"é":"\u00e9"}"#);
    let server = serve(|_, _| ok(&json!({ "id": 7, "nested": { "a": [] } }))).await;
    assert_eq!(run(one(&server, json!({}))).await.ok().ids(), ["7"], "one object is one record");
    let server = serve(|_, _| reply(204, b"")).await;
    assert!(run(one(&server, json!({}))).await.ok().rows.is_empty());
}

#[tokio::test]
async fn what_is_not_as_described_is_told_with_the_keys_that_are_there() {
    let server = serve(|_, _| ok(&json!({ "items": [], "meta": {}, "none": null }))).await;
    let given = run(one(&server, json!({ "records": "data" }))).await;
    let error = given.error.as_ref().unwrap();
    assert_eq!(error.code(), Code::HttpShape);
    assert!(error.message().contains("`data`") && error.message().contains("`items`, `meta`, `none`"), "{error}");
    assert_eq!(run(one(&server, json!({ "records": "none" }))).await.code(), Code::HttpShape);
    assert!(run(one(&server, json!({ "records": "none", "records_optional": true }))).await.ok().rows.is_empty());
    assert!(run(one(&server, json!({ "records": "items" }))).await.ok().rows.is_empty());
    let server =
        serve(|_, _| ok(&json!([{ "id": 1 }, 2, [3], null, { "id": 4, "skip": {} }, { "id": 5, "skip": null }]))).await;
    let given = run(one(&server, json!({ "skip_if": "skip" }))).await.ok();
    assert_eq!(given.ids(), ["1", "5"]);
    assert_eq!(given.rejected.len(), 3);
    assert_eq!(given.rejected[0], "page 1, record 2 is a number instead of an object");
}
