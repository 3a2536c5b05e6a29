//! Redirects, and what may be connected to at all.

use super::*;

#[tokio::test]
async fn redirects_on_the_same_host_are_followed_with_credentials() {
    let server = serve(|asked, _| match asked.path.as_str() {
        "/r" => reply(302, b"").with("location", "/there?x=1"),
        _ => ok(&records(0..1)),
    })
    .await;
    let mut config = one(&server, json!({}));
    config["auth"] = json!({ "bearer": "${TOKEN}" });
    assert_eq!(run(config).await.ok().ids(), ["0"]);
    assert_eq!(server.paths(), ["/r", "/there"]);
    assert_eq!(server.asked()[1].header("authorization"), format!("Bearer {CANARY}"));
}

#[tokio::test]
async fn redirects_elsewhere_are_refused() {
    let other = serve(|_, _| ok(&records(0..1))).await;
    let other_port = format!("{}/r", other.url());
    for to in [
        "http://169.254.169.254/latest/meta-data",
        "https://evil.example/",
        "//evil.example/",
        "http://localhost/",
        other_port.as_str(),
    ] {
        let location = to.to_owned();
        let server = serve(move |_, _| reply(301, b"").with("location", &location)).await;
        assert_eq!(run(one(&server, json!({}))).await.code(), Code::HttpRedirect, "{to}");
        assert_eq!(server.asked().len(), 1);
    }
    assert!(other.asked().is_empty());
    let server = serve(|_, n| reply(302, b"").with("location", &format!("/r?{n}"))).await;
    assert_eq!(run(one(&server, json!({}))).await.code(), Code::HttpRedirect);
    assert_eq!(server.asked().len(), 6, "five redirects are followed");
    let server = serve(|_, _| reply(302, b"").with("location", "/x")).await;
    assert_eq!(run(one(&server, json!({ "method": "POST", "body": {} }))).await.code(), Code::HttpRedirect);
}

#[tokio::test]
async fn a_post_is_repeated_by_a_307() {
    let server =
        serve(|asked, _| if asked.path == "/r" { reply(307, b"").with("location", "/x") } else { ok(&records(0..1)) })
            .await;
    run(one(&server, json!({ "method": "POST", "body": { "a": 1 } }))).await.ok();
    assert_eq!(server.asked()[1].body, r#"{"a":1}"#);
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_refused_as_such() {
    // Only the host of the redirect is private: the first is public by name, and reached through the test's look-up.
    let site = super::super::compile::compile(
        serde_json::from_value(json!({ "base_url": "https://api.example.com", "resources": { "r": { "path": "" } } }))
            .unwrap(),
    )
    .unwrap();
    let client = super::super::client::Client::new(&site, Arc::new(SystemLookup::default()), quick());
    let from = url::Url::parse("https://api.example.com/a").unwrap();
    for to in ["http://169.254.169.254/", "https://0x7f.1/", "https://[::ffff:10.0.0.1]/", "http://2130706433/"] {
        assert_eq!(client.follow(&from, to).unwrap_err().code(), Code::HttpForbiddenAddress, "{to}");
    }
    for to in [
        "http://api.example.com/b",
        "https://api.example.com:444/",
        "https://api.example.com.evil.example/",
        "https://1.1.1.1/",
    ] {
        assert_eq!(client.follow(&from, to).unwrap_err().code(), Code::HttpRedirect, "{to}");
    }
    assert_eq!(client.follow(&from, "b?c").unwrap().as_str(), "https://api.example.com/b?c");
    let plain = url::Url::parse("http://api.example.com/a").unwrap();
    assert!(client.follow(&plain, "https://api.example.com/a").is_ok(), "more protection is welcome");
    assert_eq!(client.follow(&plain, "https://user:pw@api.example.com/a").unwrap_err().code(), Code::SourceConfig);
}

#[tokio::test]
async fn private_literals_are_refused_before_anything_is_sent() {
    let server = serve(|_, _| ok(&records(0..1))).await;
    for host in ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]"] {
        let mut config = one(&server, json!({}));
        config["allow_private"] = json!(false);
        config["base_url"] = json!(format!("http://{host}:{}", server.port));
        assert_eq!(run(config).await.code(), Code::HttpForbiddenAddress, "{host}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_public_name_for_a_private_address_is_refused_at_the_connection() {
    let server = serve(|_, _| ok(&records(0..1))).await;
    let config = |allow_private: bool| json!({ "base_url": format!("http://api.example.com:{}", server.port), "allow_private": allow_private, "resources": { "r": { "path": "/r" } } });
    let attempt = async |allow_private: bool, ips: &[&str]| {
        let lookup = Arc::new(Says(ips.iter().map(|ip| ip.parse().unwrap()).collect()));
        let source =
            HttpConnector::with(serde_json::from_value(config(allow_private)).unwrap(), lookup, quick()).unwrap();
        let steps = plan(&source, &[request("r", Window::Everything, None)]).await.unwrap();
        read(&source, &steps[0], &ctx()).await
    };
    for ips in [&["127.0.0.1"][..], &["::1"], &["::ffff:127.0.0.1"], &["127.0.0.1", "10.0.0.1"]] {
        let given = attempt(false, ips).await;
        assert_eq!(given.code(), Code::HttpForbiddenAddress, "{ips:?}");
        assert!(given.error.unwrap().message().contains("api.example.com"));
    }
    assert!(server.asked().is_empty());
    attempt(true, &["127.0.0.1"]).await.ok();
    assert_eq!(server.asked().len(), 1);
    assert_eq!(attempt(false, &[]).await.code(), Code::HttpUnavailable, "a name without addresses is no private one");
}

#[tokio::test]
async fn the_token_url_passes_the_same_gate() {
    let server = serve(|_, _| ok(&records(0..1))).await;
    let oauth = |url: String| json!({ "oauth2": { "token_url": url, "client_id": "me", "client_secret": "${TOKEN}" } });
    let mut config = one(&server, json!({}));
    config["allow_private"] = json!(false);
    config["base_url"] = json!("https://api.example.com");
    config["auth"] = oauth(format!("http://127.0.0.1:{}/token", server.port));
    assert_eq!(run(config.clone()).await.code(), Code::HttpForbiddenAddress);
    config["auth"] = oauth("http://169.254.169.254/token".into());
    assert_eq!(run(config).await.code(), Code::HttpForbiddenAddress);
    assert!(server.asked().is_empty());
}
