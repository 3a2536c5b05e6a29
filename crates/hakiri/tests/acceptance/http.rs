//! The declarative HTTP engine by manifest alone: doubles shaped like known APIs, and what stops a read.

use serde_json::{Value, json};

use crate::support::Project;
use crate::support::api::{Api, Request, Response, manifest, paged};

/// The manifest of an example, pointed at the double.
fn example(name: &str, url: &str) -> String {
    let path = format!("{}/../../examples/connectors/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let base = text.lines().find(|l| l.trim_start().starts_with("base_url")).unwrap().to_owned();
    text.replace(&base, &format!("base_url = \"{url}\"\nallow_private = true"))
}

fn with_secrets(project: &Project, args: &[&str]) -> crate::support::Ran {
    let mut command = project.command(args);
    for name in ["PAYMENTS_KEY", "TRACKER_KEY", "GITHUB_TOKEN"] {
        command.env(name, "token-value");
    }
    command.output().unwrap().into()
}

#[test]
fn github_is_data_issues_come_without_pull_requests() {
    let api = Api::start(|request: &Request| {
        assert_eq!(request.headers["authorization"], "Bearer token-value");
        let page: usize = request.query.get("page").map_or(1, |p| p.parse().unwrap());
        let issue = |n: usize, pull: bool| {
            let mut v = json!({"id": n, "number": n, "title": format!("t{n}"), "user": {"login": "ada", "id": 1}, "labels": [{"id": 7, "name": "bug"}], "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z"});
            if pull {
                v["pull_request"] = json!({"url": "x"});
            }
            v
        };
        let data: Vec<Value> = match (request.path.as_str(), page) {
            ("/repos/octo/hello/issues", 1) => vec![issue(1, false), issue(2, true)],
            ("/repos/octo/hello/issues", 2) => vec![issue(3, false)],
            ("/repos/octo/hello/pulls", 1) => vec![issue(2, false)],
            (_, 1) => vec![
                json!({"id": 5, "updated_at": "2026-01-02T00:00:00Z", "created_at": "2026-01-02T00:00:00Z", "body": "hi"}),
            ],
            _ => vec![],
        };
        let mut response = Response::json(&json!(data));
        if request.path.ends_with("/issues") && page == 1 {
            response = response
                .header("link", &format!("<http://{}{}?page=2>; rel=\"next\"", request.headers["host"], request.path));
        }
        response
    });
    let project = Project::new(&format!(
        "[[pipeline]]\nid = \"gh\"\nsecrets = [\"GITHUB_TOKEN\"]\n[pipeline.source]\nconnector = \"github\"\n[pipeline.source.config]\nrepo = \"octo/hello\"\ntoken = \"${{GITHUB_TOKEN}}\"\nbase_url = \"{}\"\nallow_private = true\n",
        api.url
    ));
    with_secrets(&project, &["run"]).expect(0);
    assert_eq!(
        project.rows("select number from gh_issues order by number"),
        [json!({"number": 1}), json!({"number": 3})]
    );
    assert_eq!(project.number("select count(*) from gh_pull_requests"), 1);
    assert_eq!(project.number("select count(*) from gh_comments"), 1);
    assert_eq!(project.number("select count(*) from gh_releases"), 1);
}

#[test]
fn the_examples_of_connectors_are_valid_manifests() {
    for name in ["stripe-like", "graphql-like"] {
        let project = Project::new("");
        project.write(&format!("pipelines/{name}.toml"), example(name, "http://127.0.0.1:9"));
        with_secrets(&project, &["check"]).expect(0);
    }
}

#[test]
fn a_payments_api_is_connected_by_its_manifest_alone() {
    let api = Api::start(|request: &Request| {
        assert!(request.headers["authorization"].starts_with("Basic "));
        let after = request.query.get("starting_after").map_or(0, |a| a[3..].parse::<usize>().unwrap());
        let page = |records: Vec<Value>| {
            let more = records.len() > after + 2;
            Response::json(
                &json!({"object": "list", "data": records.into_iter().skip(after).take(2).collect::<Vec<_>>(), "has_more": more}),
            )
        };
        match request.path.as_str() {
            "/customers" => page((1..=5).map(|i| json!({"id": format!("cu_{i}"), "created": 1_700_000_000 + i, "address": {"city": "Kyoto"}})).collect()),
            "/invoices" => {
                assert_eq!(request.query["expand[0]"], "data.customer");
                let lines = |i: usize| json!({"object": "list", "data": [{"id": format!("il_{i}"), "amount": i * 100}]});
                page((1..=5).map(|i| json!({"id": format!("in_{i}"), "created": 1_700_000_000 + i, "customer": {"id": "cu_1"}, "lines": lines(i)})).collect())
            }
            "/customers/cu_3/balance_transactions" => Response::text(404, "application/json", "{}"),
            _ => page(vec![json!({"id": format!("tx_{}", &request.path[14..15]), "amount": -7})]),
        }
    });
    let project = Project::new("");
    project.write("pipelines/payments.toml", example("stripe-like", &api.url));
    with_secrets(&project, &["run", "--tick", "2026-10-01T00:00:00Z"]).expect(0);
    assert_eq!(project.number("select count(*) from payments_customers"), 5);
    assert_eq!(project.number("select count(*) from payments_invoices"), 5);
    assert_eq!(project.number("select sum(amount) from payments_invoices_lines_data"), 1500);
    assert_eq!(project.number("select count(*) from payments_balance"), 4);
    let asked = api.count();
    with_secrets(&project, &["run", "--tick", "2026-10-02T00:00:00Z"]).expect(0);
    let log = api.log.lock().unwrap();
    let bound = log[asked..].iter().find(|r| r.path == "/invoices").unwrap().query.get("created[gte]").cloned();
    assert!(
        bound.is_some_and(|b| b.parse::<i64>().unwrap() <= 1_700_000_005),
        "the second run asks from the cursor on"
    );
}

#[test]
fn a_graphql_api_is_connected_by_its_manifest_alone() {
    let api = Api::start(|request: &Request| {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/graphql"));
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let after = body["variables"].get("after").map_or(0, |a| a.as_str().unwrap().parse::<usize>().unwrap());
        let edges: Vec<Value> = (after..after + 2).map(|i| json!({"node": {"id": format!("i{i}"), "title": "t", "updatedAt": "2026-01-01T00:00:00Z", "labels": [{"name": "bug"}]}})).collect();
        Response::json(
            &json!({"data": {"issues": {"edges": edges, "pageInfo": {"endCursor": (after + 2).to_string(), "hasNextPage": after + 2 < 6}}}}),
        )
    });
    let project = Project::new("");
    project.write("pipelines/tracker.toml", example("graphql-like", &api.url));
    with_secrets(&project, &["run"]).expect(0);
    assert_eq!(project.number("select count(*) from tracker_issues"), 6);
    assert_eq!(api.count(), 3);
}

#[test]
fn a_repeated_page_stops_with_a_code() {
    let api = Api::start(|_| Response::json(&json!({"data": [{"id": 1}]})));
    let project = Project::new(&manifest(&api.url, ""));
    project.hakiri(&["run"]).expect(1).says("HK0506");
    assert!(api.count() < 10, "{}", api.count());
}

#[test]
fn max_requests_and_max_rows_stop_with_a_code() {
    for limit in ["max_requests = 3\n", "max_rows = 12\n"] {
        let api = Api::start(paged((0..100).map(|i| json!({"id": i})).collect(), 5));
        let project = Project::new(&manifest(&api.url, limit));
        project.hakiri(&["run"]).expect(1).says("HK0405");
        assert!(api.count() <= 4);
    }
}

#[test]
fn a_rate_limit_is_obeyed() {
    let api = Api::start({
        let first = std::sync::atomic::AtomicBool::new(true);
        move |request: &Request| {
            if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                return Response::text(429, "text/plain", "").header("retry-after", "1");
            }
            paged(vec![json!({"id": 1})], 5)(request)
        }
    });
    let project = Project::new(&manifest(&api.url, ""));
    project.run();
    assert_eq!(project.number("select count(*) from api_items"), 1);
}

#[test]
fn private_addresses_are_refused_unless_allowed_and_no_proxy_is_taken_from_the_environment() {
    let api = Api::start(paged(vec![json!({"id": 1})], 5));
    let project = Project::new(&manifest(&api.url, "").replace("allow_private = true\n", ""));
    project.hakiri(&["run"]).expect(1).says("HK0508").says("allow_private = true");
    assert_eq!(api.count(), 0);

    let proxy = Api::start(|_| Response::text(200, "text/plain", "proxied"));
    let project = Project::new(&manifest(&api.url, ""));
    let ran = project
        .command(&["run"])
        .env("http_proxy", &proxy.url)
        .env("HTTP_PROXY", &proxy.url)
        .env("ALL_PROXY", &proxy.url)
        .output()
        .unwrap();
    assert!(ran.status.success());
    assert_eq!(proxy.count(), 0);
}

#[test]
fn parents_and_children_are_one_step_and_missing_children_are_skipped() {
    let api = Api::start(|request| {
        let page = request.query.get("page").map_or(1, |p| p.parse::<usize>().unwrap());
        match (request.path.as_str(), page) {
            ("/items", 1) => Response::json(&json!({"data": [{"id": "a/b"}, {"id": "gone"}]})),
            ("/items/a%2Fb/lines", 1) => Response::json(&json!({"data": [{"n": 1}, {"n": 2}]})),
            ("/items/gone/lines", _) => Response::text(404, "application/json", "{}"),
            _ => Response::json(&json!({"data": []})),
        }
    });
    let more = "[pipeline.source.config.resources.lines]\npath = \"/items/{items.id}/lines\"\nrecords = \"data\"\nprimary_key = [\"item\", \"n\"]\ninclude = { item = \"id\" }\nskip_status = [404]\n";
    let project = Project::new(&manifest(&api.url, more));
    project.run();
    assert_eq!(
        project.rows("select item, n from api_lines order by n"),
        [json!({"item": "a/b", "n": 1}), json!({"item": "a/b", "n": 2})]
    );
}
