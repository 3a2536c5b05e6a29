//! Parents and children, windows across a tree, and the configs that are refused.

use hakiri_core::cursor::{Cursor, CursorKind};

use super::*;

fn tree(server: &Server) -> Value {
    json!({ "base_url": server.url(), "allow_private": true, "resources": {
        "orders": { "path": "/orders", "primary_key": ["id"], "incremental": { "param": "since", "upper_param": "until", "field": "at" } },
        "lines": { "path": "/orders/{orders.id}/lines", "include": { "order_id": "id", "at": "at", "none": "nope" },
                   "incremental": { "field": "at" }, "skip_status": [404, 410], "paginate": { "page": { "param": "page", "size": 1 } } },
        "notes": { "path": "/notes", "params": { "order": "{orders.id}", "line": "{lines.id}" } },
        "other": { "path": "/other" },
    }})
}

fn answers(asked: &Asked, _: usize) -> Reply {
    match asked.path.as_str() {
        "/orders" => ok(&json!([{ "id": "a/b", "at": "x" }, { "id": 2, "at": null }, { "id": 3 }])),
        "/orders/a%2Fb/lines" if asked.param("page") == Some("1") => ok(&json!([{ "id": 10 }])),
        "/orders/3/lines" if asked.param("page") == Some("1") => ok(&json!([{ "id": 30, "order_id": "own" }])),
        "/orders/2/lines" => reply(410, b"gone"),
        "/notes" => ok(&json!([{ "id": asked.param("line").unwrap(), "of": asked.param("order").unwrap() }])),
        _ => ok(&json!([])),
    }
}

fn hour(nanos: i128) -> Cursor {
    Cursor::Timestamp { nanos: nanos * 3_600_000_000_000, utc: true }
}

fn since(lo: i128) -> Window {
    Window::HalfOpen { lo: Some(hour(lo)), hi: hour(100) }
}

#[tokio::test]
async fn children_are_read_per_parent_depth_first_in_one_step() {
    let server = serve(answers).await;
    let source = connector(tree(&server)).unwrap();
    let tables = source.discover(&ctx()).await.unwrap();
    let groups: Vec<(&str, &str)> = tables.iter().map(|t| (t.name.as_str(), t.group.as_str())).collect();
    assert_eq!(groups, [("lines", "orders"), ("notes", "orders"), ("orders", "orders"), ("other", "other")]);
    assert_eq!(tables[2].cursor_kind, Some(CursorKind::Timestamp));
    let wanted = ["notes", "lines", "orders", "other"].map(|name| request(name, Window::Everything, None));
    let steps = plan(&source, &wanted).await.unwrap();
    assert_eq!(steps.iter().map(|s| s.tables.join(",")).collect::<Vec<_>>(), ["orders,lines,notes", "other"]);
    let given = read(&source, &steps[0], &ctx()).await.ok();
    assert_eq!(
        server.paths(),
        [
            "/orders",
            "/orders/a%2Fb/lines",
            "/notes",
            "/orders/a%2Fb/lines",
            "/orders/2/lines",
            "/orders/3/lines",
            "/notes",
            "/orders/3/lines"
        ]
    );
    let rows: Vec<(&str, &str)> = given.rows.iter().map(|(t, r)| (t.as_str(), r.as_str())).collect();
    assert_eq!(
        rows[3..],
        [
            ("lines", r#"{"id":10,"at":"x","none":null,"order_id":"a/b"}"#),
            ("notes", r#"{"id":"10","of":"a/b"}"#),
            ("lines", r#"{"id":30,"order_id":"own","at":null,"none":null}"#),
            ("notes", r#"{"id":"30","of":"3"}"#),
        ]
    );
}

#[tokio::test]
async fn a_child_alone_reads_its_parents_and_keeps_them_to_itself() {
    let server = serve(answers).await;
    let source = connector(tree(&server)).unwrap();
    let steps = plan(&source, &[request("lines", Window::Everything, None)]).await.unwrap();
    let given = read(&source, &steps[0], &ctx()).await.ok();
    assert!(given.rows.iter().all(|(t, _)| t == "lines") && given.rows.len() == 2);
    assert!(!server.paths().contains(&"/notes".to_owned()));
}

#[tokio::test]
async fn parents_are_bounded_only_when_every_child_follows_their_cursor() {
    let server = serve(answers).await;
    let source = connector(tree(&server)).unwrap();
    let bounds = async |tables: &[TableRequest]| {
        let steps = plan(&source, tables).await.unwrap();
        steps[0].source["read"]["orders"].clone()
    };
    let orders = || request("orders", since(10), Some("at"));
    let alone = json!({ "lower": "1970-01-01T09:59:59Z", "upper": "1970-01-05T04:00:00Z" });
    assert_eq!(bounds(&[orders()]).await, alone);
    assert_eq!(bounds(&[orders(), request("lines", since(10), Some("at"))]).await, alone);
    // A child that is behind pulls its parent back with it.
    assert_eq!(bounds(&[orders(), request("lines", since(5), Some("at"))]).await["lower"], "1970-01-01T04:59:59Z");
    assert_eq!(bounds(&[request("lines", since(5), Some("at"))]).await["lower"], "1970-01-01T04:59:59Z");
    // A child that is read in full, or by another column, needs all parents.
    assert_eq!(bounds(&[orders(), request("lines", Window::Everything, None)]).await, json!({}));
    assert_eq!(bounds(&[orders(), request("notes", since(10), Some("at"))]).await, json!({}));
    assert_eq!(
        bounds(&[request("orders", since(10), Some("created"))]).await,
        json!({}),
        "not the column the API filters by"
    );
    let steps = plan(&source, &[orders()]).await.unwrap();
    read(&source, &steps[0], &ctx()).await.ok();
    assert_eq!(
        (server.params("since"), server.params("until")),
        (vec!["1970-01-01T09:59:59Z".into()], vec!["1970-01-05T04:00:00Z".into()])
    );
}

#[tokio::test]
async fn a_first_run_sends_no_lower_bound_or_the_initial_one() {
    let server = serve(|_, _| ok(&records(0..1))).await;
    let window = || Window::Above { lo: None, hi: None };
    let incremental = json!({ "incremental": { "param": "since", "field": "id", "format": "unix" } });
    run_table(one(&server, incremental), request("r", window(), Some("id"))).await.ok();
    let incremental = json!({ "incremental": { "param": "since", "field": "id", "format": "unix", "initial": 0 } });
    run_table(one(&server, incremental.clone()), request("r", window(), Some("id"))).await.ok();
    let above = Window::Above { lo: Some(Cursor::Integer { value: 7 }), hi: None };
    run_table(one(&server, incremental), request("r", above, Some("id"))).await.ok();
    assert_eq!(server.params("since"), ["-", "0", "7"]);
}

#[tokio::test]
async fn a_parent_record_that_cannot_be_asked_for_is_an_error() {
    for (orders, code) in [
        (json!([{ "x": 1 }]), Code::HttpShape),
        (json!([{ "id": null }]), Code::HttpShape),
        (json!([{ "id": { "a": 1 } }]), Code::HttpShape),
        (json!([{ "id": ".." }]), Code::HttpShape),
        (json!([{ "id": "" }]), Code::HttpShape),
        (json!([1]), Code::HttpShape),
    ] {
        let said = orders.to_string();
        let server = serve(move |asked, _| if asked.path == "/orders" { ok(&orders) } else { ok(&json!([])) }).await;
        let source = connector(tree(&server)).unwrap();
        let steps = plan(&source, &[request("lines", Window::Everything, None)]).await.unwrap();
        assert_eq!(read(&source, &steps[0], &ctx()).await.code(), code, "{said}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn record_values_are_never_taken_for_secrets_or_place_holders() {
    let server =
        serve(
            |asked, _| {
                if asked.path == "/p" { ok(&json!([{ "id": "${TOKEN}{{cursor}}{p.id}" }])) } else { ok(&json!([])) }
            },
        )
        .await;
    let config = json!({ "base_url": server.url(), "allow_private": true, "resources": {
        "p": { "path": "/p" },
        "c": { "path": "/c/{p.id}", "params": { "q": "{p.id}" }, "method": "POST", "body": { "b": "{{p.id}}", "c": ["x{{p.id}}", "{{cursor}}"] } },
    }});
    let source = connector(config).unwrap();
    let steps = plan(&source, &[request("c", Window::Everything, None)]).await.unwrap();
    read(&source, &steps[0], &ctx()).await.ok();
    let asked = &server.asked()[1];
    assert_eq!(asked.path, "/c/%24%7BTOKEN%7D%7B%7Bcursor%7D%7D%7Bp.id%7D");
    assert_eq!(asked.param("q"), Some("${TOKEN}{{cursor}}{p.id}"));
    assert_eq!(asked.json(), json!({ "b": "${TOKEN}{{cursor}}{p.id}", "c": ["x${TOKEN}{{cursor}}{p.id}", null] }));
}

#[test]
fn configs_that_cannot_work_are_refused_with_the_key() {
    let site = |resources: Value| json!({ "base_url": "https://api.example.com", "resources": resources });
    let r = |resource: Value| site(json!({ "r": resource }));
    for (config, needle) in [
        (site(json!({})), "resources"),
        (site(json!({ "a": { "path": "/{b.id}" }, "b": { "path": "/{a.id}" } })), "circle"),
        (site(json!({ "a": { "path": "/{a.id}" } })), "circle"),
        (site(json!({ "a": { "path": "/{nope.id}" } })), "resources.a.path"),
        (site(json!({ "a": { "path": "/{id}" } })), "resources.a.path"),
        (site(json!({ "a": { "path": "/a{b" } })), "resources.a.path"),
        (
            site(json!({ "a": { "path": "/a" }, "b": { "path": "/b" }, "c": { "path": "/{a.id}/{b.id}" } })),
            "none is below",
        ),
        (r(json!({ "path": "/x?y=1" })), "resources.r.path"),
        (r(json!({ "path": "/../x" })), "resources.r.path"),
        (r(json!({ "path": "/x", "include": { "a": "b" } })), "include"),
        (r(json!({ "path": "/x", "body": {} })), "POST"),
        (r(json!({ "path": "/x", "method": "POST", "body": { "a": "{{curser}}" } })), "curser"),
        (r(json!({ "path": "/x", "paginate": { "cursor": { "next": "n" } } })), "param"),
        (r(json!({ "path": "/x", "paginate": { "offset": { "param": "o", "limit": 0 } } })), "limit"),
        (r(json!({ "path": "/x", "paginate": "pages" })), "unknown variant"),
        (r(json!({ "path": "/x", "paginate": { "page": { "parm": "p" } } })), "unknown field"),
        (r(json!({ "path": "/x", "types": { "a": "strng" } })), "types.a"),
        (r(json!({ "path": "/x", "skip_status": [200] })), "skip_status"),
        (r(json!({ "path": "/x", "incremental": { "field": "a", "kind": "opaque" } })), "kind"),
        (json!({ "base_url": "https://a.example/?x=1", "resources": { "r": { "path": "/" } } }), "base_url"),
        (json!({ "base_url": "ftp://a.example/", "resources": { "r": { "path": "/" } } }), "base_url"),
        (json!({ "base_url": "https://me:canary@a.example/", "resources": { "r": { "path": "/" } } }), "base_url"),
        (json!({ "base_url": "nonsense", "resources": { "r": { "path": "/" } } }), "base_url"),
        (
            json!({ "base_url": "https://a.example", "timeout": "soon", "resources": { "r": { "path": "/" } } }),
            "timeout",
        ),
        (
            json!({ "base_url": "https://a.example", "headers": { "Host": "b" }, "resources": { "r": { "path": "/" } } }),
            "headers.Host",
        ),
        (
            json!({ "base_url": "https://a.example", "auth": { "oauth2": { "token_url": "https://t", "client_id": "i" } }, "resources": { "r": { "path": "/" } } }),
            "client_secret",
        ),
    ] {
        let error = connector(config.clone()).err().unwrap_or_else(|| panic!("accepted: {config}"));
        assert_eq!(error.code(), Code::SourceConfig, "{config}: {error:?}");
        assert!(error.to_string().contains(needle) && !error.to_string().contains("canary"), "{config}: {error:?}");
    }
}

#[tokio::test]
async fn an_unknown_table_is_met_with_the_nearest() {
    let server = serve(answers).await;
    let error =
        plan(&connector(tree(&server)).unwrap(), &[request("order", Window::Everything, None)]).await.unwrap_err();
    assert_eq!((error.code(), error.hint()), (Code::SourceUnknownTable, "did you mean `orders`?"));
}
