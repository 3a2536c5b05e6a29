//! What a process needs of AWS, through the real binary on doubles: a catalog in DynamoDB, secrets from Secrets Manager,
//! databases that take tokens or a login out of a secret.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hakiri_sim::door::{Door, Shown};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::api::{Api, Request, Response};
use crate::support::pg::Db;
use crate::support::server::send;
use crate::support::{Project, Ran, text};

const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-AbCdEf";

fn unique(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos())
}

fn set(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with ./x test"))
}

/// A project that reads rows of an API into the bucket of the tests.
fn project(api: &Api, catalog: &str) -> Project {
    Project::new(&format!(
        "[context]\npath = \"s3://{}/{}\"\n[catalog]\nurl = \"{catalog}\"\n[env.staging]\n\
         [[pipeline]]\nid = \"p\"\nschedule = \"every 1s\"\nsecrets = [\"TOKEN\"]\n\
         [pipeline.source]\nconnector = \"http\"\n[pipeline.source.config]\nbase_url = \"{}\"\nallow_private = true\n\
         auth = {{ bearer = \"${{TOKEN}}\" }}\n[pipeline.source.config.resources.t]\npath = \"/t\"\nrecords = \"data\"\n",
        set("HAKIRI_TEST_S3_BUCKET"),
        unique("aws"),
        api.url
    ))
}

/// Whoever brings this token gets two rows.
fn api(token: &'static str) -> Api {
    Api::start(move |request| {
        if request.headers.get("authorization").is_some_and(|given| *given == format!("Bearer {token}")) {
            Response::json(&json!({ "data": [{ "id": 1 }, { "id": 2 }] }))
        } else {
            Response::text(401, "application/json", "{}")
        }
    })
}

/// A command with the bucket and a service of AWS where they are, and nothing else of AWS's.
fn command(project: &Project, args: &[&str], service: (&str, &str)) -> Command {
    let mut command = project.command(args);
    for name in ["AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
        command.env_remove(name);
    }
    command.env("AWS_ENDPOINT_URL_S3", set("HAKIRI_TEST_S3")).env(format!("AWS_ENDPOINT_URL_{}", service.0), service.1);
    command
}

fn ran(mut command: Command) -> Ran {
    command.output().unwrap().into()
}

fn tables(operation: &str, body: &Value) -> Value {
    let address = hakiri_sim::aws::shared();
    let target = format!("DynamoDB_20120810.{operation}");
    let headers = [
        ("x-amz-target", target.as_str()),
        ("content-type", "application/x-amz-json-1.0"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=hakiri-test/20270101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
        ),
    ];
    let (status, _, answer) = send(address.trim_start_matches("http://"), "POST", "/", &headers, &body.to_string());
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn a_catalog_in_a_table_is_written_and_read_and_an_environment_has_its_own() {
    let table = unique("table");
    let attribute = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
    let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
    tables(
        "CreateTable",
        &json!({
            "TableName": table, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [attribute("pk"), attribute("sk")],
            "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
        }),
    );
    let (api, endpoint) = (api("word"), hakiri_sim::aws::shared());
    let project = project(&api, &format!("dynamodb://{table}?region=us-east-1"));
    let hakiri = |args: &[&str]| {
        let mut command = command(&project, args, ("DYNAMODB", &endpoint));
        command.env("TOKEN", "word").env_remove("AWS_REGION");
        ran(command)
    };
    // Who only looks sees nothing, and makes nothing.
    assert_eq!(hakiri(&["runs", "--json"]).expect(0).json()["runs"], json!([]));
    assert_eq!(tables("Scan", &json!({ "TableName": table }))["Count"], 0);
    hakiri(&["run", "--json"]).expect(0);
    assert_eq!(hakiri(&["runs", "--json"]).expect(0).json()["runs"].as_array().unwrap().len(), 1);
    let rows = hakiri(&["query", "--format", "json", "select count(*) as n from p_t"]).expect(0).json();
    assert_eq!(rows, json!([{ "n": 2 }]));
    let owners = || {
        let all = tables("Scan", &json!({ "TableName": table }));
        let mut owners: Vec<String> = all["Items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["pk"]["S"].as_str().unwrap().split('/').next().unwrap().to_owned())
            .collect();
        owners.sort();
        owners.dedup();
        owners
    };
    assert_eq!(owners(), ["test"]);
    // An environment looks at the catalog of another one, or of none, by its name.
    let manifest = text(&project, "hakiri.toml");
    let there = format!("[env.there.catalog]\nurl = \"dynamodb://{table}?region=us-east-1&project=test\"\n");
    project.write("hakiri.toml", format!("{manifest}\n{there}"));
    assert_eq!(hakiri(&["--env", "there", "runs", "--json"]).expect(0).json()["runs"].as_array().unwrap().len(), 1);
    hakiri(&["--env", "there", "pause", "p"]).expect(0);
    assert_eq!(hakiri(&["status", "--json"]).expect(0).json()["pipelines"][0]["state"], "paused");
    hakiri(&["--env", "there", "resume", "p"]).expect(0);
    assert_eq!(owners(), ["test"]);
    project.write("hakiri.toml", format!("{manifest}\n{}", there.replace("=test", "=../x")));
    hakiri(&["--env", "there", "runs"]).expect(2).says("[catalog] url");
    project.write("hakiri.toml", &manifest);
    // Another catalog governs nothing of this one's store.
    hakiri(&["--env", "staging", "run"]).expect(2).says("HK0302");
    assert_eq!(owners(), ["test", "test-staging"]);
}

#[test]
fn a_table_that_cannot_be_used_is_told_with_the_next_step() {
    let (api, endpoint) = (api("word"), hakiri_sim::aws::shared());
    for (url, remove, code, says) in [
        ("dynamodb://none-such?region=us-east-1", "", "HK0204", "there is no table none-such in us-east-1"),
        ("dynamodb://t", "AWS_REGION", "HK0110", "names no region"),
        ("dynamodb://t?regoin=us-east-1", "", "HK0110", "a parameter that is not known"),
        ("dynamodb://t", "AWS_SECRET_ACCESS_KEY", "HK0308", "AWS_ACCESS_KEY_ID"),
        ("rds-secret:shop", "", "HK0115", "not one of a secret"),
        ("postgres://u@127.0.0.1:1/d?auth=kerberos", "", "HK1006", "auth=rds-iam"),
        ("postgres://u@db.example/d?auth=rds-iam&sslmode=disable", "", "HK1006", "without TLS"),
    ] {
        let project = project(&api, url);
        let mut command = command(&project, &["run"], ("DYNAMODB", &endpoint));
        command.env("TOKEN", "word").env("AWS_EC2_METADATA_DISABLED", "true").env_remove("AWS_DEFAULT_REGION");
        if !remove.is_empty() {
            command.env_remove(remove);
        }
        let ran = ran(command);
        assert!(ran.code != 0 && ran.stderr.contains(code) && ran.stderr.contains(says), "{url}: {}", ran.stderr);
    }
    let ran = Project::new("[catalog]\nurl = \"mysql://h\"\n").hakiri(&["check"]);
    assert!(ran.code != 0 && ran.stderr.contains("dynamodb://TABLE"), "{}", ran.stderr);
}

/// A double of Secrets Manager that gives one value after the other, the last one again and again.
fn manager(values: &[Value]) -> Api {
    let values = Mutex::new(values.to_vec());
    Api::start(move |request: &Request| {
        assert_eq!(request.headers["x-amz-target"], "secretsmanager.GetSecretValue");
        let wanted: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(wanted, json!({ "SecretId": ARN }));
        let mut values = values.lock().unwrap();
        let value = if values.len() > 1 { values.remove(0) } else { values[0].clone() };
        match value {
            Value::Number(status) => Response::text(
                u16::try_from(status.as_u64().unwrap()).unwrap(),
                "application/x-amz-json-1.1",
                r#"{"__type":"AccessDeniedException","Message":"sekrit"}"#,
            ),
            value => Response::json(&json!({ "SecretString": value.to_string() })),
        }
    })
}

/// Runs the project of an API with `HAKIRI_SECRETS` and, on the laptop's side, a catalog in a database.
fn with_secrets(api: &Api, manager: &Api, more: impl Fn(&mut Command)) -> Ran {
    let database = Db::new("");
    let project = project(api, "${CATALOG_URL}");
    let mut command = command(&project, &["run"], ("SECRETS_MANAGER", &manager.url));
    command.env("CATALOG_URL", database.url()).env("HAKIRI_SECRETS", ARN);
    more(&mut command);
    let ran = ran(command);
    let logs: String = crate::support::files_below(project.path(), project.path())
        .iter()
        .map(|file| String::from_utf8_lossy(&std::fs::read(project.path().join(file)).unwrap()).into_owned())
        .collect();
    for canary in ["first-word", "second-word", "sekrit"] {
        assert!(!logs.contains(canary) && !ran.stdout.contains(canary) && !ran.stderr.contains(canary), "{ran:?}");
    }
    ran
}

#[test]
fn secrets_are_read_from_where_the_environment_says_and_it_wins_over_them() {
    let manager = manager(&[json!({ "TOKEN": "first-word", "OTHER": "second-word" })]);
    let first = api("first-word");
    with_secrets(&first, &manager, |_| {}).expect(0);
    assert!(manager.count() >= 1);
    with_secrets(&first, &manager, |command| {
        command.env("TOKEN", "second-word");
    })
    .expect(1)
    .says("HK0404");
}

#[test]
fn a_secret_that_was_changed_is_read_again_when_a_source_refuses_the_old_one() {
    let old = json!({ "TOKEN": "first-word" });
    let changed = manager(&[old.clone(), json!({ "TOKEN": "second-word" })]);
    with_secrets(&api("second-word"), &changed, |_| {}).expect(0);
    assert_eq!(changed.count(), 2);
    // And one that was not changed is refused for good.
    let same = manager(&[old]);
    with_secrets(&api("second-word"), &same, |_| {}).expect(1).says("HK0404");
}

#[test]
fn secrets_that_are_not_given_are_told_with_the_next_step() {
    let api = api("first-word");
    for (value, code, says) in [
        (json!(400), "HK0115", "secretsmanager:GetSecretValue"),
        (json!(["sekrit"]), "HK0116", "not a JSON object of texts"),
        (json!({ "TOKEN": { "sekrit": 1 } }), "HK0116", "not a JSON object of texts"),
        (json!({ "OTHER": "sekrit" }), "HK0112", "TOKEN"),
    ] {
        let ran = with_secrets(&api, &manager(&[value]), |_| {});
        assert!(ran.code != 0 && ran.stderr.contains(code) && ran.stderr.contains(says), "{}", ran.stderr);
    }
    let ran = with_secrets(&api, &manager(&[json!({})]), |command| {
        command.env("HAKIRI_SECRETS", "shop");
    });
    ran.expect(2).says("HAKIRI_SECRETS");
}

/// What is wrong with a token, judged by the published rules of the signature alone; none when it is good.
fn fault(shown: &Shown, port: u16, region: &str) -> Option<String> {
    let url = url::Url::parse(&format!("https://{}", shown.password)).ok()?;
    let pairs: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let get = |name: &str| pairs.get(name).cloned().unwrap_or_default();
    let (time, day) = (get("X-Amz-Date"), get("X-Amz-Date").get(..8).unwrap_or_default().to_owned());
    let scope = format!("{day}/{region}/rds-db/aws4_request");
    let age = chrono::NaiveDateTime::parse_from_str(&time, "%Y%m%dT%H%M%SZ").map_or(i64::MAX, |at| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        i64::try_from(now).unwrap() - at.and_utc().timestamp()
    });
    let expected = [
        ("Action", "connect".to_owned()),
        ("DBUser", shown.user.clone()),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("X-Amz-Credential", format!("{}/{scope}", set("AWS_ACCESS_KEY_ID"))),
        ("X-Amz-Expires", "900".to_owned()),
        ("X-Amz-SignedHeaders", "host".to_owned()),
    ];
    if let Some((name, _)) = expected.iter().find(|(name, value)| get(name) != *value) {
        return Some(format!("{name} is {}", get(name)));
    }
    if url.port() != Some(port) || !(-5..60).contains(&age) || pairs.len() != 8 {
        return Some(format!("port {:?}, {age} s old, {} parameters", url.port(), pairs.len()));
    }
    let quoted = |text: &str| -> String {
        text.bytes()
            .map(|b| match b {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
                _ => format!("%{b:02X}"),
            })
            .collect()
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let sign = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    };
    // A map is in the order that the canonical form demands.
    let query: Vec<String> = pairs
        .iter()
        .filter(|(name, _)| *name != "X-Amz-Signature")
        .map(|(name, value)| format!("{}={}", quoted(name), quoted(value)))
        .collect();
    let request = format!(
        "GET\n/\n{}\nhost:{}:{port}\n\nhost\n{}",
        query.join("&"),
        url.host_str().unwrap(),
        hex(&Sha256::digest(b""))
    );
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let mut key = format!("AWS4{}", set("AWS_SECRET_ACCESS_KEY")).into_bytes();
    for part in scope.split('/') {
        key = sign(&key, part);
    }
    let signature = hex(&sign(&key, &text));
    (signature != get("X-Amz-Signature")).then(|| "the signature is another".to_owned())
}

/// A door that takes tokens of IAM for `user`, who becomes `behind`.
fn iam_door(database: &Db, user: &str, behind: &str) -> (Door, String) {
    let (user, behind) = (user.to_owned(), behind.to_owned());
    let port = std::sync::Arc::new(std::sync::OnceLock::<u16>::new());
    let known = port.clone();
    let door = Door::before(&database.address(), move |shown| {
        let fault = fault(shown, *known.wait(), "eu-west-1");
        if let Some(fault) = &fault {
            eprintln!("refused {}: {fault}", shown.user);
        }
        (fault.is_none() && shown.user == user).then(|| behind.clone())
    });
    port.set(door.port).unwrap();
    let url = format!("postgres://{{USER}}@127.0.0.1:{}/{}?auth=rds-iam&region=eu-west-1", door.port, database.name);
    (door, url)
}

#[test]
fn each_connection_to_a_database_of_rds_brings_a_token_of_its_own() {
    let (database, api) = (Db::new(""), api("word"));
    let (door, url) = iam_door(&database, "shop", "hakiri");
    let project = project(&api, &url.replace("{USER}", "shop"));
    let hakiri = |args: &[&str], more: &[(&str, &str)]| {
        let mut command = command(&project, args, ("RDS", "http://127.0.0.1:1"));
        command.env("TOKEN", "word").envs(more.iter().copied());
        ran(command)
    };
    hakiri(&["run", "--json"], &[]).expect(0);
    let during = door.shown();
    assert!(during.len() > 1);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(hakiri(&["runs", "--json"], &[]).expect(0).json()["runs"].as_array().unwrap().len(), 1);
    let after = door.shown();
    assert!(!during.contains(after.last().unwrap()), "an old token was shown again");
    // The signature of another key is not let in, and nothing of a token shows.
    for wrong in ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"] {
        let ran = hakiri(&["runs"], &[(wrong, "another")]);
        assert!(ran.code != 0 && ran.stderr.contains("HK1003") && !ran.stderr.contains("X-Amz"), "{}", ran.stderr);
    }
}

#[test]
fn the_user_of_a_new_database_is_made_with_the_login_that_rds_keeps() {
    let database = Db::new(
        "DO $$ BEGIN CREATE ROLE rds_iam NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    );
    let user = unique("shop").replace('.', "-");
    let (host, port) = (database.address(), std::sync::Arc::new(std::sync::OnceLock::<u16>::new()));
    let known = port.clone();
    // Who brings a token is behind the door who he says, if there is such a user.
    let door = Door::before(&host, move |shown| match shown.user.as_str() {
        "master" => (shown.password == "first-word").then(|| "hakiri".to_owned()),
        user => fault(shown, *known.wait(), "eu-west-1").is_none().then(|| user.to_owned()),
    });
    port.set(door.port).unwrap();
    let (api, manager) = (api("word"), manager(&[json!({ "username": "master", "password": "first-word" })]));
    let url = format!(
        "postgres://{user}@127.0.0.1:{}/{}?auth=rds-iam&region=eu-west-1&admin={ARN}",
        door.port, database.name
    );
    let project = project(&api, &url);
    let hakiri = || {
        let mut command = command(&project, &["run"], ("SECRETS_MANAGER", &manager.url));
        command.env("TOKEN", "word");
        ran(command).expect(0)
    };
    let first = hakiri();
    let users: Vec<String> = door.shown().into_iter().map(|shown| shown.user).collect();
    assert_eq!(users[..3], [user.as_str(), "master", user.as_str()]);
    assert!(!first.stderr.contains("first-word") && users.iter().filter(|user| *user == "master").count() == 1);
    let member = format!("select pg_has_role('{user}', 'rds_iam', 'member')::text");
    assert_eq!(database.connection.value(&member), "true");
    // From then on nobody needs it.
    hakiri();
    assert_eq!((door.shown().iter().filter(|s| s.user == "master").count(), manager.count()), (1, 1));
    database.sql(&format!("drop owned by \"{user}\" cascade; drop role \"{user}\""));
}

#[test]
fn a_login_that_a_secret_holds_is_read_again_when_it_is_refused() {
    let (database, api) = (Db::new(""), api("word"));
    let door = Door::before(&database.address(), |shown| {
        (shown.user == "second" && shown.password == "second-word/%").then(|| "hakiri".to_owned())
    });
    let login = |user: &str, password: &str| {
        let port = door.port.to_string();
        let mut secret = json!({ "username": user, "password": password, "engine": "postgres" });
        for (name, value) in [("host", "127.0.0.1"), ("port", port.as_str()), ("dbname", database.name.as_str())] {
            secret[name] = json!(value);
        }
        secret
    };
    let bare = |mut secret: Value| {
        for name in ["host", "port", "dbname"] {
            secret.as_object_mut().unwrap().remove(name);
        }
        secret
    };
    let (old, new) = (login("first", "first-word"), login("second", "second-word/%"));
    let elsewhere = format!("?host=127.0.0.1&port={}&dbname={}", door.port, database.name);
    for (values, query) in
        [(vec![old.clone(), new.clone()], ""), (vec![bare(old.clone()), bare(new)], elsewhere.as_str())]
    {
        let manager = manager(&values);
        let project = project(&api, &format!("rds-secret:{ARN}{query}"));
        let mut command = command(&project, &["runs"], ("SECRETS_MANAGER", &manager.url));
        command.env("TOKEN", "word");
        ran(command).expect(0);
        assert_eq!(manager.count(), 2);
    }
    for (value, code) in
        [(old.clone(), "HK1003"), (bare(old), "HK0116"), (json!({ "password": "first-word" }), "HK0116")]
    {
        let manager = manager(&[value]);
        let project = project(&api, &format!("rds-secret:{ARN}"));
        let ran = ran(command(&project, &["runs"], ("SECRETS_MANAGER", &manager.url)));
        assert!(ran.code != 0 && ran.stderr.contains(code) && !ran.stderr.contains("first-word"), "{}", ran.stderr);
    }
}
