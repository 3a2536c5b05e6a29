//! Going on from a checkpoint: whatever the pagination and the tree, the second part of a read is what was missing of it.

use hakiri_core::source::Checkpoint;

use super::*;

/// What a read said, as text, with the checkpoints as the engine has them: what was seen is all that was.
async fn said(source: &HttpConnector, step: &SourceStep, from: Option<&Checkpoint>) -> Result<Vec<Said>> {
    let planned = PlannedStep { index: 0, name: step.name.clone(), source: step.source.clone(), tables: vec![] };
    let (mut out, mut seen) = (Vec::new(), from.map_or_else(Vec::new, |from| from.seen.clone()));
    let ctx = ctx();
    let mut stream = source.read(&planned, from, &ctx).await?;
    while let Some(message) = stream.next().await {
        match message? {
            Message::Rows { stream, rows: Rows::Json(batch) } => {
                let column = batch.column(0).as_string::<i64>();
                out.extend(column.iter().map(|row| Said::Text(format!("{stream} {}", row.unwrap()))));
            }
            Message::Rejected { reason, .. } => out.push(Said::Text(reason)),
            Message::Checkpoint(checkpoint) => {
                seen.extend(checkpoint.seen);
                out.push(Said::Mark(Checkpoint { place: checkpoint.place, seen: seen.clone() }));
            }
            _ => {}
        }
    }
    Ok(out)
}

#[derive(Debug, Clone, PartialEq)]
enum Said {
    Text(String),
    Mark(Checkpoint),
}

/// Without the digests of bodies, which may be of the moment.
fn lasting(said: &[Said]) -> Vec<Said> {
    let mut said = said.to_vec();
    for one in &mut said {
        if let Said::Mark(mark) = one {
            mark.seen.retain(|seen| !seen.starts_with('b'));
        }
    }
    said
}

/// Reads everything, and from each checkpoint on once more; how many checkpoints there are.
async fn goes_on_from_each(server: &Server, config: Value, tables: &[&str]) -> usize {
    let source = connector(config).unwrap();
    let wanted: Vec<TableRequest> = tables.iter().map(|name| request(name, Window::Everything, None)).collect();
    let step = plan(&source, &wanted).await.unwrap().remove(0);
    let whole = said(&source, &step, None).await.unwrap();
    let asked = server.asked().len();
    let marks = whole.iter().enumerate().filter_map(|(at, said)| match said {
        Said::Mark(mark) => Some((at, mark)),
        Said::Text(_) => None,
    });
    let mut count = 0;
    for (at, mark) in marks {
        // As it comes back from the store.
        let mark: Checkpoint = serde_json::from_str(&serde_json::to_string(mark).unwrap()).unwrap();
        let before = server.asked().len();
        let rest = said(&source, &step, Some(&mark)).await.unwrap();
        assert_eq!(lasting(&rest), lasting(&whole[at + 1..]), "from {mark:?}");
        assert!(server.asked().len() - before <= asked, "all of it was asked for again");
        count += 1;
    }
    let before = server.asked().len();
    let Some(Said::Mark(last)) = whole.last() else { panic!("the end is no checkpoint: {whole:?}") };
    assert_eq!(said(&source, &step, Some(last)).await.unwrap(), []);
    assert_eq!(server.asked().len(), before, "there was nothing left to ask for");
    count
}

/// Pages of two of seven records, however they are asked for.
fn paged(asked: &Asked, _: usize) -> Reply {
    let at = ["page", "offset", "after"].iter().find_map(|name| asked.number(name)).unwrap_or(0);
    let start = if asked.param("page").is_some() { (at - 1) * 2 } else { at };
    let end = (start + 2).min(7);
    let next = (end < 7).then_some(end);
    let items: Vec<Value> = (start..end).map(|id| json!({ "id": id, "after": id + 1 })).collect();
    let url = next.map(|next| format!("?after={next}"));
    let link = next.map_or(String::new(), |next| format!("</r?after={next}>; rel=\"next\""));
    ok(&json!({ "items": items, "next": next, "url": url, "more": next.is_some() })).with("link", &link)
}

#[tokio::test]
async fn every_kind_of_pagination_goes_on_where_it_was() {
    for (paginate, pages) in [
        (json!({ "page": { "param": "page", "size": 2 } }), 4),
        (json!({ "offset": { "param": "offset", "limit": 2 } }), 4),
        (json!({ "cursor": { "param": "after", "next": "next" } }), 4),
        (json!({ "next_url": { "path": "url" } }), 4),
        (json!("link_header"), 4),
        (json!({ "last_record": { "param": "after", "field": "after", "more": "more" } }), 4),
        (json!("none"), 1),
    ] {
        let server = serve(paged).await;
        let config = one(&server, json!({ "records": "items", "paginate": paginate }));
        assert_eq!(goes_on_from_each(&server, config, &["r"]).await, pages, "{paginate}");
    }
}

/// Orders on two pages, lines of each on pages of their own, notes of each line.
fn tree(server: &Server) -> Value {
    json!({ "base_url": server.url(), "allow_private": true, "resources": {
        "orders": { "path": "/orders", "paginate": { "next_url": { "path": "next" } }, "records": "items" },
        "lines": { "path": "/orders/{orders.id}/lines", "include": { "order": "id" }, "skip_status": [404],
                   "paginate": { "page": { "param": "page", "size": 1 } } },
        "notes": { "path": "/notes", "params": { "order": "{orders.id}", "line": "{lines.id}" } },
    }})
}

fn orders(asked: &Asked, _: usize) -> Reply {
    match (asked.path.as_str(), asked.number("page").unwrap_or(1)) {
        ("/orders", 1) => {
            ok(&json!({ "items": [{ "id": 1 }, "odd", { "id": 2 }, { "id": 3 }], "next": "orders?page=2" }))
        }
        ("/orders", _) => ok(&json!({ "items": [{ "id": 4 }, { "id": 5 }] })),
        ("/orders/1/lines", page) if page <= 3 => ok(&json!([{ "id": page }])),
        ("/orders/3/lines", _) => reply(404, b""),
        ("/orders/5/lines", 1) => ok(&json!([{ "id": 50 }])),
        ("/notes", _) => ok(&json!([{ "of": asked.param("line").unwrap() }])),
        _ => ok(&json!([])),
    }
}

#[tokio::test]
async fn a_tree_goes_on_at_a_record_of_its_root_with_all_that_is_below_it() {
    let server = serve(orders).await;
    // After each record but the last of a page, and after each page.
    assert_eq!(goes_on_from_each(&server, tree(&server), &["orders", "lines", "notes"]).await, 5);
    let server = serve(orders).await;
    assert_eq!(
        goes_on_from_each(&server, tree(&server), &["orders", "notes"]).await,
        5,
        "with parents that are no tables"
    );
    let server = serve(orders).await;
    assert_eq!(goes_on_from_each(&server, tree(&server), &["orders"]).await, 2, "with nothing below");
}

#[tokio::test]
async fn a_page_that_changed_is_not_gone_on_with() {
    let changes = Arc::new(Mutex::new(None));
    let of_server = changes.clone();
    let server = serve(move |asked, count| match (&*of_server.lock().unwrap(), asked.path.as_str()) {
        (Some(other), "/orders") => Reply::clone(other),
        _ => orders(asked, count),
    })
    .await;
    let source = connector(tree(&server)).unwrap();
    let wanted = ["orders", "lines", "notes"].map(|name| request(name, Window::Everything, None));
    let step = plan(&source, &wanted).await.unwrap().remove(0);
    let whole = said(&source, &step, None).await.unwrap();
    let Some(Said::Mark(mark)) = whole.iter().find(|said| matches!(said, Said::Mark(_))) else { panic!() };
    for other in [ok(&json!({ "items": [{ "id": 9 }] })), reply(204, b""), reply(200, b"{\"items\":[]}")] {
        *changes.lock().unwrap() = Some(other.with("content-type", "application/json"));
        let error = said(&source, &step, Some(mark)).await.unwrap_err();
        assert_eq!(error.code(), Code::SourceChanged, "{error:?}");
    }
    let unknown = Checkpoint { place: json!({ "page": 7 }), seen: vec![] };
    assert_eq!(said(&source, &step, Some(&unknown)).await.unwrap_err().code(), Code::SourceChanged);
}

#[tokio::test]
async fn what_is_around_the_records_and_a_status_of_success_may_be_of_the_moment() {
    let server = serve(|asked, n| {
        let mut reply = orders(asked, n);
        if asked.path == "/orders" {
            let mut body: Value = serde_json::from_slice(&reply.body).unwrap();
            body["request"] = json!(n);
            (reply.body, reply.status) = (body.to_string().into_bytes(), 206);
        }
        reply
    })
    .await;
    assert_eq!(goes_on_from_each(&server, tree(&server), &["orders", "lines"]).await, 5);
}

#[tokio::test]
async fn limits_and_repetitions_are_those_of_the_whole_read() {
    // The third page is the first once more, and so on for ever.
    let round = |asked: &Asked, _: usize| {
        let start = asked.number("page").unwrap() % 2 * 2;
        ok(&records(start..start + 2))
    };
    let pages = json!({ "page": { "param": "page" } });
    for (more, code, marks) in [
        (json!({ "paginate": pages }), Code::HttpRepeated, 2),
        (json!({ "paginate": pages, "max_rows": 3 }), Code::SourceLimit, 1),
        (json!({ "paginate": pages, "max_requests": 1 }), Code::SourceLimit, 1),
    ] {
        let server = serve(round).await;
        let source = connector(one(&server, more.clone())).unwrap();
        let step = plan(&source, &[request("r", Window::Everything, None)]).await.unwrap().remove(0);
        let (mut from, mut met) = (None, 0);
        // As attempts would that end after each page.
        let error = loop {
            match next_mark(&source, &step, from.as_ref()).await {
                Ok(mark) => (from, met) = (Some(mark), met + 1),
                Err(e) => break e,
            }
            assert!(met < 9, "{more}");
        };
        assert_eq!((error.code(), met), (code, marks), "{more}");
    }
}

/// The first checkpoint after one.
async fn next_mark(source: &HttpConnector, step: &SourceStep, from: Option<&Checkpoint>) -> Result<Checkpoint> {
    let planned = PlannedStep { index: 0, name: step.name.clone(), source: step.source.clone(), tables: vec![] };
    let ctx = ctx();
    let mut stream = source.read(&planned, from, &ctx).await?;
    loop {
        if let Message::Checkpoint(Checkpoint { place, seen: fresh }) = stream.next().await.expect("another page")? {
            let mut seen = from.map_or_else(Vec::new, |from| from.seen.clone());
            seen.extend(fresh);
            return Ok(Checkpoint { place, seen });
        }
    }
}

#[tokio::test]
async fn no_place_is_told_that_holds_a_secret() {
    let server = serve(|asked, count| {
        let reply = paged(asked, count);
        let mut body: Value = serde_json::from_slice(&reply.body).unwrap();
        if let Some(url) = body["url"].as_str() {
            body["url"] = json!(format!("{url}&key={CANARY}"));
        }
        ok(&body)
    })
    .await;
    let next_url = json!({ "records": "items", "paginate": { "next_url": { "path": "url" } } });
    let marks = async |config: Value| {
        let source = connector(config).unwrap();
        let step = plan(&source, &[request("r", Window::Everything, None)]).await.unwrap().remove(0);
        let whole = said(&source, &step, None).await.unwrap();
        assert_eq!(whole.iter().filter(|said| matches!(said, Said::Text(_))).count(), 7);
        whole.len() - 7
    };
    assert_eq!(marks(one(&server, next_url.clone())).await, 0);
    // A token that was fetched is one as well.
    let server = serve(|asked, count| {
        if asked.path == "/token" {
            return ok(&json!({ "access_token": "fetched-token/7", "expires_in": 3600 }));
        }
        let text = String::from_utf8(paged(asked, count).body).unwrap();
        reply(200, text.replace("?after=", "?t=fetched-token%2F7&after=").as_bytes())
    })
    .await;
    let mut config = one(&server, next_url);
    config["auth"] = json!({ "oauth2": {
        "token_url": format!("{}/token", server.url()), "client_id": "me", "client_secret": "${TOKEN}",
    }});
    assert_eq!(marks(config).await, 0);
    // And numbers of pages are none, whatever a secret is.
    let server = serve(paged).await;
    let config = one(&server, json!({ "records": "items", "paginate": { "page": { "param": "page", "size": 2 } } }));
    assert_eq!(marks(config).await, 4);
}
