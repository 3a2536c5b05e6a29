//! Doubles of well-known APIs, each connected by data alone: two example manifests and the description of GitHub.

use hakiri_core::cursor::Cursor;
use hakiri_core::source::{Connectors as _, SourceTable};
use hakiri_core::spec::{ManifestFile, SourceSpec};

use super::*;

/// The one pipeline of an example, pointed at a server.
fn example(text: &str, server: &Server) -> Arc<dyn Connector> {
    let manifest: ManifestFile = toml_edit::de::from_str(text).unwrap();
    let mut config = manifest.pipeline[0].source.config.clone();
    let path = url::Url::parse(config["base_url"].as_str().unwrap()).unwrap().path().to_owned();
    config["base_url"] = json!(format!("{}{path}", server.url()));
    config["allow_private"] = json!(true);
    let mut source = manifest.pipeline[0].source.clone();
    source.config = config;
    crate::Builtin.open(&source).unwrap()
}

async fn run_all(source: &dyn Connector, tables: &[TableRequest]) -> Given {
    let mut all = Given::default();
    for step in source.plan(tables, Instant::from_millis(NOW), &ctx()).await.unwrap() {
        let planned = PlannedStep { index: 0, name: step.name.clone(), source: step.source.clone(), tables: vec![] };
        let ctx = ctx();
        let mut stream = source.read(&planned, None, &ctx).await.unwrap();
        while let Some(message) = stream.next().await {
            match message {
                Ok(Message::Rows { stream, rows: Rows::Json(batch) }) => {
                    let column = batch.column(0).as_string::<i64>();
                    all.rows.extend(
                        column.iter().map(|row| (step.tables[stream as usize].clone(), row.unwrap().to_owned())),
                    );
                }
                Ok(_) => {}
                Err(error) => all.error = Some(error),
            }
        }
    }
    all
}

fn table<'a>(tables: &'a [SourceTable], name: &str) -> &'a SourceTable {
    tables.iter().find(|t| t.name == name).unwrap()
}

#[tokio::test]
async fn an_api_shaped_like_stripe() {
    let server = serve(|asked, _| {
        if asked.header("authorization") != "Basic czNjcjN0LWNhbmFyeTo=" {
            return reply(401, br#"{"error":{"message":"no key"}}"#);
        }
        let list = |url: &str, all: Vec<Value>, size: usize| {
            let start =
                asked.param("starting_after").map_or(0, |id| all.iter().position(|r| r["id"] == id).unwrap() + 1);
            let end = (start + size).min(all.len());
            ok(&json!({ "object": "list", "url": url, "has_more": end < all.len(), "data": all[start..end] }))
        };
        let customers = (0..5).map(|n| json!({ "id": format!("cus_{n}"), "created": 1000 + n })).collect();
        match asked.path.as_str() {
            "/v1/customers" => list("/v1/customers", customers, 2),
            "/v1/invoices" => {
                let from: i64 = asked.param("created[gte]").map_or(0, |t| t.parse().unwrap());
                let expanded =
                    asked.param("expand[0]") == Some("data.customer") && asked.param("expand[1]") == Some("data.lines");
                let customer = if expanded { json!({ "id": "cus_0" }) } else { json!("cus_0") };
                let lines = json!({ "object": "list", "data": [{ "id": "il_1", "amount": 5 }] });
                let invoice =
                    |n: i64| json!({ "id": format!("in_{n}"), "created": n, "customer": customer, "lines": lines });
                list("/v1/invoices", (10..20).filter(|n| *n >= from).map(invoice).collect(), 3)
            }
            "/v1/customers/cus_3/balance_transactions" => reply(404, br#"{"error":{"message":"No such customer"}}"#),
            path => list(path, vec![json!({ "id": format!("txn_{}", path.len()) })], 100),
        }
    })
    .await;
    let source = example(include_str!("../../../../../examples/connectors/stripe-like.toml"), &server);
    let tables = source.discover(&ctx()).await.unwrap();
    assert_eq!(table(&tables, "invoices").children, [("lines.data".to_owned(), "invoices_lines_data".to_owned())]);
    let window = Window::Above { lo: Some(Cursor::Integer { value: 12 }), hi: None };
    let wanted = [
        request("customers", Window::Everything, None),
        request("balance", Window::Everything, None),
        request("invoices", window, Some("created")),
    ];
    let given = run_all(source.as_ref(), &wanted).await.ok();
    let count = |name: &str| given.rows.iter().filter(|(t, _)| t == name).count();
    assert_eq!((count("customers"), count("balance"), count("invoices")), (5, 4, 8));
    let invoice: Value = serde_json::from_str(&given.rows.iter().find(|(t, _)| t == "invoices").unwrap().1).unwrap();
    assert_eq!((&invoice["created"], &invoice["customer"]["id"]), (&json!(12), &json!("cus_0")));
    let balance: Value = serde_json::from_str(&given.rows.iter().find(|(t, _)| t == "balance").unwrap().1).unwrap();
    assert_eq!((&balance["customer_id"], &balance["customer_created"]), (&json!("cus_0"), &json!(1000)));
    let after: Vec<String> = server
        .asked()
        .iter()
        .filter(|a| a.path == "/v1/invoices")
        .map(|a| a.param("starting_after").unwrap_or("-").into())
        .collect();
    assert_eq!(after, ["-", "in_14", "in_17"]);
}

#[tokio::test]
async fn an_api_shaped_like_graphql() {
    let server = serve(|asked, _| {
        assert_eq!((asked.method.as_str(), asked.path.as_str(), asked.header("content-type")), ("POST", "/graphql", "application/json"));
        assert_eq!(asked.header("authorization"), CANARY);
        let variables = asked.json()["variables"].clone();
        let start = variables.get("after").map_or(0, |c| c.as_str().unwrap().strip_prefix("c").unwrap().parse().unwrap());
        if start == 4 && variables.get("since").is_none() {
            return ok(&json!({ "data": null, "errors": [{ "message": "depth of s3cr3t-canary", "path": ["issues"] }, {}] }));
        }
        let end = (start + 2).min(5);
        let edges: Vec<Value> = (start..end).map(|id| json!({ "node": { "id": id, "updatedAt": "2023-11-14T00:00:00Z" } })).collect();
        ok(&json!({ "data": { "issues": { "edges": edges, "pageInfo": { "endCursor": format!("c{end}"), "hasNextPage": end < 5 } } } }))
    })
    .await;
    let source = example(include_str!("../../../../../examples/connectors/graphql-like.toml"), &server);
    let window = Window::HalfOpen {
        lo: Some(Cursor::Timestamp { nanos: 0, utc: true }),
        hi: Cursor::Timestamp { nanos: 1, utc: true },
    };
    let given = run_all(source.as_ref(), &[request("issues", window, Some("updatedAt"))]).await.ok();
    assert_eq!(given.ids(), ["0", "1", "2", "3", "4"]);
    let asked = server.asked();
    let variables = |n: usize| asked[n].json()["variables"].clone();
    assert_eq!(variables(0), json!({ "first": 50, "since": "1969-12-31T23:59:59Z" }), "no cursor on the first page");
    assert_eq!(variables(2), json!({ "first": 50, "after": "c4", "since": "1969-12-31T23:59:59Z" }));
    let given = run_all(source.as_ref(), &[request("issues", Window::Everything, None)]).await;
    assert_eq!(given.code(), Code::HttpStatus, "errors under status 200");
    assert_eq!(given.error.unwrap().message(), "status 200 with 2 GraphQL errors: depth of [secret]");
}

#[tokio::test]
async fn github() {
    let server = serve(|asked, _| {
        assert_eq!(
            (asked.header("authorization"), asked.header("x-github-api-version")),
            ("Bearer s3cr3t-canary", "2022-11-28")
        );
        let page = asked.number("page").unwrap_or(1);
        let issue = |id: usize| {
            if id.is_multiple_of(2) {
                json!({ "id": id, "pull_request": { "url": "u" } })
            } else {
                json!({ "id": id, "pull_request": null })
            }
        };
        let body: Value = match asked.path.as_str() {
            "/api/v3/repos/octo/hello/issues" => (page * 3..page * 3 + 3).map(issue).collect(),
            "/api/v3/repos/octo/hello/releases" => return ok(&records(0..1)),
            _ => records(page..page + 1),
        };
        // The second page is the last; GitHub leaves out `next` there.
        if page < 2 {
            ok(&body).with("link", &format!("<{}?page=2>; rel=\"next\", <{0}?page=2>; rel=\"last\"", asked.path))
        } else {
            ok(&body)
        }
    })
    .await;
    let config = json!({ "repo": "octo/hello", "base_url": format!("{}/api/v3", server.url()), "allow_private": true });
    let source = crate::Builtin.open(&SourceSpec { connector: "github".into(), config }).unwrap();
    let tables = source.discover(&ctx()).await.unwrap();
    assert_eq!(
        tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(),
        ["comments", "issues", "pull_requests", "releases"]
    );
    assert!(tables.iter().all(|t| t.primary_key == ["id"] && t.group == t.name));
    let window = |lo: Option<i128>| Window::HalfOpen {
        lo: lo.map(|s| Cursor::Timestamp { nanos: s * 1_000_000_000, utc: true }),
        hi: Cursor::Timestamp { nanos: i128::from(NOW) * 1_000_000, utc: true },
    };
    let wanted = [
        request("issues", window(Some(1_699_999_000)), Some("updated_at")),
        request("comments", window(None), Some("updated_at")),
        request("pull_requests", window(Some(0)), Some("updated_at")),
        request("releases", Window::Everything, None),
    ];
    let given = run_all(source.as_ref(), &wanted).await.ok();
    let ids = |name: &str| {
        given
            .rows
            .iter()
            .filter(|(t, _)| t == name)
            .map(|(_, r)| serde_json::from_str::<Value>(r).unwrap()["id"].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("issues"), ["3", "5", "7"], "without pull requests");
    assert_eq!((ids("comments").len(), ids("pull_requests").len(), ids("releases").len()), (2, 2, 1));
    let first = |path: &str| server.asked().into_iter().find(|a| a.path.ends_with(path)).unwrap();
    let issues = first("hello/issues");
    assert_eq!(
        (issues.param("since"), issues.param("state"), issues.param("per_page")),
        (Some("2023-11-14T21:56:39Z"), Some("all"), Some("100"))
    );
    assert_eq!((first("/comments").param("since"), first("/pulls").param("since")), (None, None));
}

#[tokio::test]
async fn github_options_are_checked_and_a_token_is_not_needed() {
    let open = |config: Value| crate::Builtin.open(&SourceSpec { connector: "github".into(), config });
    for (config, needle) in [
        (json!({}), "needs `repo`"),
        (Value::Null, "needs `repo`"),
        (json!({ "repo": "octo" }), "2 parts"),
        (json!({ "repo": "octo/../x" }), "2 parts"),
        (json!({ "repo": "../x" }), "2 parts"),
        (json!({ "repo": "octo/he?llo" }), "2 parts"),
        (json!({ "repo": 7 }), "string"),
        (json!({ "repo": "a/b", "allow_private": "yes" }), "boolean"),
        (json!({ "repo": "a/b", "tokn": "canary" }), "tokn"),
        (json!({ "repo": "a/b", "base_url": "nonsense" }), "base_url"),
    ] {
        let error = open(config.clone()).unwrap_err();
        assert_eq!(error.code(), Code::SourceConfig, "{config}");
        assert!(error.to_string().contains(needle) && !error.to_string().contains("canary"), "{config}: {error}");
    }
    assert_eq!(open(json!({ "repo": "a/b", "tokn": 1 })).unwrap_err().hint(), "did you mean `token`?");

    let server = serve(|asked, _| {
        assert_eq!(asked.header("authorization"), "");
        ok(&records(0..1))
    })
    .await;
    for token in [json!("${GITHUB_TOKEN}"), json!("")] {
        let source =
            open(json!({ "repo": "a/b", "base_url": server.url(), "allow_private": true, "token": token })).unwrap();
        let mut ctx = ctx();
        ctx.secrets = Secrets::default();
        source.probe(&ctx).await.unwrap();
    }
    let schema = crate::github::schema();
    assert_eq!(schema["required"], json!(["repo"]));
}
