//! Credentials, statuses, waits and limits of single requests.

use hakiri_core::error::Kind;

use super::*;

async fn with_auth(auth: Value) -> (Given, Vec<Asked>) {
    let server = serve(|_, _| ok(&records(0..1))).await;
    let mut config = one(&server, json!({}));
    config["auth"] = auth;
    (run(config).await, server.asked())
}

#[tokio::test]
async fn credentials_are_sent_as_the_manifest_says() {
    let (given, asked) = with_auth(json!({ "bearer": "${TOKEN}" })).await;
    given.ok();
    assert_eq!(asked[0].header("authorization"), format!("Bearer {CANARY}"));
    assert!(asked[0].header("user-agent").starts_with("hakiri/"));
    let (_, asked) = with_auth(json!({ "basic": { "username": "${USER}", "password": "${TOKEN}" } })).await;
    assert_eq!(asked[0].header("authorization"), "Basic bWU6czNjcjN0LWNhbmFyeQ==");
    let (_, asked) = with_auth(json!({ "api_key": { "name": "X-Key", "value": "${TOKEN}" } })).await;
    assert_eq!(asked[0].header("x-key"), CANARY);
    let (_, asked) = with_auth(json!({ "api_key": { "name": "key", "value": "${TOKEN}", "in": "query" } })).await;
    assert_eq!(asked[0].param("key"), Some(CANARY));
    let (given, asked) = with_auth(json!({ "bearer": "${NOT_DECLARED}" })).await;
    assert_eq!((given.code(), asked.len()), (Code::SecretMissing, 0));
}

#[tokio::test]
async fn headers_and_parameters_may_hold_secrets() {
    let server = serve(|_, _| ok(&records(0..1))).await;
    let mut config = one(&server, json!({ "params": { "b": true, "t": "x${USER}", "brace": "{\"a\":{}}" } }));
    config["headers"] = json!({ "X-Tenant": "${TOKEN}", "Accept": "application/vnd.x+json" });
    config["params"] = json!({ "v": 2, "b": "site" });
    run(config).await.ok();
    let asked = &server.asked()[0];
    assert_eq!((asked.header("x-tenant"), asked.header("accept")), (CANARY, "application/vnd.x+json"));
    assert_eq!(
        (asked.param("v"), asked.param("b"), asked.param("t"), asked.param("brace")),
        (Some("2"), Some("true"), Some("xme"), Some("{\"a\":{}}"))
    );
}

fn oauth(server: &Server, more: Value) -> Value {
    let mut oauth =
        json!({ "token_url": format!("{}/token", server.url()), "client_id": "me", "client_secret": "${TOKEN}" });
    oauth.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "oauth2": oauth })
}

#[tokio::test]
async fn oauth_tokens_are_fetched_once_and_renewed_after_a_401() {
    let server = serve(|asked, n| match asked.path.as_str() {
        "/token" => ok(&json!({ "access_token": format!("t{n}"), "expires_in": 3600 })),
        // The first token is revoked after two pages.
        _ if asked.header("authorization") == "Bearer t0" && n > 2 => reply(401, b""),
        _ => ok(&records(n..n + usize::from(n < 6))),
    })
    .await;
    let mut config = one(&server, json!({ "paginate": { "page": { "param": "page" } } }));
    config["auth"] = oauth(&server, json!({ "scope": "read all" }));
    run(config).await.ok();
    assert_eq!(server.paths(), ["/token", "/r", "/r", "/r", "/token", "/r", "/r"]);
    let asked = server.asked();
    assert_eq!(asked[0].method, "POST");
    assert_eq!(
        asked[0].body,
        format!("grant_type=client_credentials&scope=read+all&client_id=me&client_secret={CANARY}")
    );
    assert_eq!(asked[5].header("authorization"), "Bearer t4");
    assert_eq!(asked[5].param("page"), asked[3].param("page"), "the refused page is asked for again");
}

#[tokio::test]
async fn oauth_refresh_tokens_are_rotated_and_a_second_401_is_final() {
    let server = serve(|asked, n| match asked.path.as_str() {
        "/token" => ok(&json!({ "access_token": format!("t{n}-canary-token"), "refresh_token": format!("r{n}") })),
        _ => reply(401, format!("{{\"message\":\"no {}\"}}", asked.header("authorization")).as_bytes()),
    })
    .await;
    let mut config = one(&server, json!({}));
    config["auth"] =
        oauth(&server, json!({ "grant": "refresh_token", "refresh_token": "${TOKEN}", "client_auth": "basic" }));
    let given = run(config).await;
    let error = given.error.as_ref().unwrap();
    assert_eq!((error.code(), error.kind()), (Code::SourceAuth, Kind::AuthExpired));
    assert!(error.message().contains("[secret]") && !error.message().contains("canary-token"), "{error}");
    let asked = server.asked();
    assert_eq!(server.paths(), ["/token", "/r", "/token", "/r"]);
    assert_eq!(asked[0].body, format!("grant_type=refresh_token&refresh_token={CANARY}"));
    assert_eq!(asked[2].body, "grant_type=refresh_token&refresh_token=r0");
    assert!(asked[0].header("authorization").starts_with("Basic "));
}

#[tokio::test]
async fn a_token_endpoint_that_refuses_ends_the_pipeline() {
    let server = serve(|_, _| reply(400, br#"{"error":"invalid_client","error_description":"s3cr3t-canary"}"#)).await;
    let mut config = one(&server, json!({}));
    config["auth"] = oauth(&server, json!({}));
    let given = run(config).await;
    assert_eq!(given.error.as_ref().unwrap().kind(), Kind::AuthExpired);
    assert!(given.error.unwrap().message().contains("invalid_client"));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn hiccups_are_sat_out_in_place() {
    let server = serve(|asked, n| match n {
        1 | 2 => reply(502, b"<html>bad gateway</html>"),
        4 => Reply { cut: 3, ..ok(&records(2..3)) },
        _ => ok(&records([0..1, 1..2, 2..3, 0..0][asked.number("page").unwrap() - 1].clone())),
    })
    .await;
    let given = run(one(&server, json!({ "paginate": { "page": { "param": "page" } } }))).await.ok();
    assert_eq!(given.ids(), ["0", "1", "2"]);
    assert_eq!(server.params("page"), ["1", "2", "2", "2", "3", "3", "4"]);
    assert_eq!(given.progress.requests, 7);
}

#[tokio::test]
async fn an_error_on_page_7_is_an_error_and_nothing_follows() {
    let server = serve(|asked, _| {
        let page = asked.number("page").unwrap();
        if page == 7 { reply(500, b"oops") } else { ok(&records(page..page + 1)) }
    })
    .await;
    let given = run(one(&server, json!({ "paginate": { "page": { "param": "page" } } }))).await;
    assert_eq!((given.code(), given.rows.len()), (Code::HttpUnavailable, 6));
    let error = given.error.unwrap();
    assert_eq!(error.kind(), Kind::Transient);
    assert_eq!(error.place(), Some(format!("GET {}/r", server.url()).as_str()), "no query in messages");
    assert_eq!(server.asked().len(), 6 + 3);
}

#[tokio::test]
async fn short_rate_limits_are_waited_for_and_long_ones_handed_on() {
    // In seconds and as a date, then on with the work.
    let server = serve(|_, n| match n {
        0 => reply(429, b"").with("retry-after", "1"),
        1 => reply(503, b"").with("retry-after", "Tue, 14 Nov 2023 22:13:21 GMT"),
        _ => ok(&records(0..1)),
    })
    .await;
    assert_eq!(run(one(&server, json!({}))).await.ok().ids(), ["0"]);
    assert_eq!(server.asked().len(), 3);
    for (status, name, value, seconds) in [
        (429, "retry-after", "120", 120),
        (503, "retry-after", "Tue, 14 Nov 2023 22:15:20 GMT", 120),
        (403, "x-ratelimit-reset", "1700000090", 90),
    ] {
        let server = serve(move |_, _| reply(status, b"").with(name, value).with("x-ratelimit-remaining", "0")).await;
        let error = run(one(&server, json!({}))).await.error.unwrap();
        assert_eq!(
            (error.code(), error.kind()),
            (Code::HttpRateLimited, Kind::RateLimited { seconds }),
            "{status} {value}"
        );
        assert_eq!(server.asked().len(), 1);
    }
    let server = serve(|_, _| reply(429, b"").with("retry-after", "0")).await;
    let error = run(one(&server, json!({}))).await.error.unwrap();
    assert_eq!(error.kind(), Kind::RateLimited { seconds: 0 });
    assert_eq!(server.asked().len(), 3, "without a hint: a few short waits, then the engine backs off");
}

#[tokio::test]
async fn other_statuses_are_final_and_say_little() {
    let server = serve(|_, _| reply(422, br#"{"message":"bad field s3cr3t-canary.\nsecond line"}"#)).await;
    let given = run(one(&server, json!({}))).await;
    assert_eq!(given.code(), Code::HttpStatus);
    assert_eq!(given.error.unwrap().message(), "status 422: bad field [secret]. second line");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn answers_that_are_not_what_they_should_be() {
    let cases: Vec<(Reply, Code)> = vec![
        (
            reply(200, b"<!doctype html><html>sign in</html>").with("content-type", "text/html; charset=utf-8"),
            Code::HttpNotJson,
        ),
        (reply(200, b"<html>").with("content-type", "application/json"), Code::HttpNotJson),
        (reply(200, b"[{\"id\":1},{\"id\"").with("content-type", "application/json"), Code::HttpTruncated),
        (Reply { cut: 4, ..ok(&records(0..3)) }, Code::HttpTruncated),
        (reply(200, b"[\"\xff\"]"), Code::HttpNotJson),
        (reply(200, b"\x1f\x8b\x08garbage").with("content-encoding", "gzip"), Code::HttpTruncated),
    ];
    for (answer, code) in cases {
        let said = format!("{answer:?}");
        let server = serve(move |_, _| answer.clone()).await;
        let given = run(one(&server, json!({}))).await;
        assert_eq!(given.code(), code, "{said}");
        assert!(given.rows.is_empty());
        assert_eq!(server.asked().len(), if code == Code::HttpTruncated { 3 } else { 1 }, "{said}");
    }
    let server = serve(|_, _| reply(200, b"<html>").with("content-type", "text/html")).await;
    assert!(run(one(&server, json!({}))).await.error.unwrap().message().contains("text/html"));
}

#[tokio::test]
async fn bodies_are_capped_after_decompression() {
    let body = records(0..1000).to_string().into_bytes();
    let packed = |kind: &str| match kind {
        "gzip" => {
            use std::io::Write as _;
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            out.write_all(&body).unwrap();
            out.finish().unwrap()
        }
        "zstd" => zstd::encode_all(body.as_slice(), 3).unwrap(),
        _ => body.clone(),
    };
    for kind in ["identity", "gzip", "zstd"] {
        let bytes = packed(kind);
        let server = serve(move |_, _| reply(200, &bytes).with("content-encoding", kind)).await;
        assert_eq!(run(one(&server, json!({}))).await.ok().rows.len(), 1000, "{kind}");
        let accepted = server.asked()[0].header("accept-encoding").to_owned();
        assert!(accepted.contains("gzip") && accepted.contains("zstd"), "{accepted}");
        let mut config = one(&server, json!({}));
        config["max_response_bytes"] = json!(body.len() - 1);
        assert_eq!(run(config.clone()).await.code(), Code::HttpTooLarge, "{kind}");
        config["max_response_bytes"] = json!(body.len());
        run(config).await.ok();
    }
}

#[tokio::test]
async fn no_answer_and_a_late_answer_may_pass() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = |port: u16| json!({ "base_url": format!("http://127.0.0.1:{port}/s3cr3t"), "allow_private": true, "timeout": "100ms", "resources": { "r": { "path": "" } } });
    let given = run(config(port)).await;
    assert_eq!(
        (given.code(), given.error.unwrap().kind()),
        (Code::HttpUnavailable, Kind::Transient),
        "accepted, never answered"
    );
    drop(listener);
    assert_eq!(run(config(port)).await.code(), Code::HttpUnavailable, "refused");
}

#[tokio::test]
async fn the_user_can_stop_a_wait() {
    let server = serve(|_, _| reply(429, b"").with("retry-after", "4")).await;
    let source = connector(one(&server, json!({}))).unwrap();
    let steps = plan(&source, &[request("r", Window::Everything, None)]).await.unwrap();
    let ctx = ctx();
    let stop = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        ctx.cancel.cancel();
    };
    let (given, ()) = tokio::join!(read(&source, &steps[0], &ctx), stop);
    assert_eq!(given.code(), Code::Interrupted);
}

#[tokio::test]
async fn requests_keep_their_distance() {
    let server = serve(|asked, _| ok(&records(0..usize::from(asked.number("page").unwrap() < 2)))).await;
    let mut config = one(&server, json!({ "paginate": { "page": { "param": "page" } } }));
    config["requests_per_second"] = json!(5);
    let begun = tokio::time::sleep(std::time::Duration::from_millis(150));
    let mut begun = std::pin::pin!(begun);
    // Two requests at five a second take at least 200 ms: the shorter sleep is over before they are.
    tokio::select! {
        biased;
        () = &mut begun => {}
        _ = run(config) => panic!("too fast"),
    }
}

#[tokio::test]
async fn a_probe_asks_for_one_page_of_one_resource() {
    let server = serve(|_, _| ok(&records(0..3))).await;
    let source = connector(one(&server, json!({ "paginate": { "page": { "param": "page" } } }))).unwrap();
    let said = source.probe(&ctx()).await.unwrap();
    assert_eq!(said, format!("GET {}/r answered, with 3 records on its first page", server.url()));
    assert_eq!(server.asked().len(), 1);
    let server = serve(|_, _| reply(401, b"")).await;
    let source = connector(one(&server, json!({}))).unwrap();
    assert_eq!(source.probe(&ctx()).await.unwrap_err().code(), Code::SourceAuth);
}
