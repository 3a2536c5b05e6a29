//! The client against servers that misbehave: what it says of a request must be what is known of it (C8), and nothing that
//! is secret or stored may show in what it says (P8).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hakiri_catalog::http::{self, Http, Options};
use hakiri_catalog::records::{Records, Scan, Written};
use hakiri_catalog::{Catalog as _, CatalogError, CatalogResult, RecordCatalog};
use hakiri_core::secret::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::ports::put;

const TOKEN: &str = "sekrit-token-0123456789";

/// What a server does with a request.
#[derive(Clone, Debug)]
enum Reply {
    /// Answers: status, further headers, body.
    Answer(u16, &'static str, String),
    /// Promises more than it sends.
    Cut(&'static str),
    /// Ends the connection without a word.
    Close,
    /// Says nothing.
    Hang,
}

fn ok(body: &str) -> Reply {
    Reply::Answer(200, "content-type: application/json\r\n", body.to_owned())
}

fn page(status: u16) -> Reply {
    Reply::Answer(status, "content-type: text/html\r\n", format!("<h1>{TOKEN}</h1>"))
}

fn problem(status: u16, kind: &str) -> Reply {
    let body = format!(r#"{{"error":{{"kind":"{kind}","message":"a {TOKEN}","retry_after":9}}}}"#);
    Reply::Answer(status, "content-type: application/json\r\n", body)
}

/// Serves the replies one after the other, the last one for ever, and notes the requests: the first line and the headers.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/catalog", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = request(&mut stream).await;
                let place = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(head);
                    seen.len() - 1
                };
                let head = |status: u16, headers: &str, length: usize| {
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n")
                };
                match &replies[place.min(replies.len() - 1)] {
                    Reply::Answer(status, headers, body) => {
                        let _ = stream.write_all((head(*status, headers, body.len()) + body).as_bytes()).await;
                    }
                    Reply::Cut(body) => {
                        let text = head(200, "content-type: application/json\r\n", body.len() + 10) + body;
                        let _ = stream.write_all(text.as_bytes()).await;
                    }
                    Reply::Close => {}
                    Reply::Hang => held.push(stream),
                }
            }
        });
        Self { url, requests, task }
    }

    /// A catalog that is open: the server's first reply is about that.
    async fn catalog(replies: Vec<Reply>) -> (Self, RecordCatalog<Http>) {
        let mut all = vec![ok(r#"{"version":1,"id":"c","now":1}"#)];
        all.extend(replies);
        let server = Self::start(all).await;
        let options = Options { patience: Duration::from_millis(400), ..Options::default() };
        let catalog = http::open_with(&server.url, Some(Secret::new(TOKEN)), "c", options).await.unwrap();
        (server, catalog)
    }

    /// How many requests came after the one that opened.
    fn count(&self) -> usize {
        self.requests.lock().unwrap().len() - 1
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a request and answers with its head.
async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        let mut chunk = [0; 4096];
        let n = stream.read(&mut chunk).await.unwrap();
        assert!(n > 0, "the request ends within its head");
        bytes.extend_from_slice(&chunk[..n]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
    let length: usize = head.split_once("content-length: ").unwrap().1.split("\r\n").next().unwrap().parse().unwrap();
    let mut rest = vec![0; end + 4 + length - bytes.len()];
    stream.read_exact(&mut rest).await.unwrap();
    head
}

/// What a write and a read come to, and how many requests each was.
async fn both(reply: Reply) -> ((CatalogResult<Written>, usize), (CatalogResult<()>, usize)) {
    let (server, catalog) = Server::catalog(vec![reply.clone()]).await;
    let write = catalog.records().write(&put("k", "x")).await;
    let writes = server.count();
    let read = catalog.records().read(&["k".to_owned()]).await.map(drop);
    let reads = server.count() - writes;
    let scan = catalog.records().scan(&Scan::new("", None, 1, false)).await;
    assert_eq!(format!("{:?}", scan.map(drop)), format!("{read:?}"), "{reply:?}");
    for said in [format!("{write:?}"), format!("{read:?}")] {
        assert!(!said.contains(TOKEN) && said.len() < 400, "{said}");
    }
    ((write, writes), (read, reads))
}

fn wait<T: std::fmt::Debug>(result: &CatalogResult<T>) -> u64 {
    match result {
        Err(CatalogError::Unavailable { retry_after, .. }) => *retry_after,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_write_without_a_clear_answer_is_open_and_never_sent_again() {
    for reply in [
        Reply::Close,
        Reply::Cut("{\"written\":\"do"),
        Reply::Hang,
        page(500),
        page(502),
        page(503),
        page(524),
        page(200),
        problem(502, "unknown"),
        problem(500, "of a later version"),
        ok("{\"written\":\"perhaps\"}"),
        ok("{}"),
        ok(""),
        Reply::Answer(204, "", String::new()),
    ] {
        let ((write, writes), (read, _)) = both(reply.clone()).await;
        assert!(matches!(write, Err(CatalogError::OutcomeUnknown(_))), "{reply:?}: {write:?}");
        assert_eq!(writes, 1, "{reply:?}");
        assert!(
            matches!(read, Err(CatalogError::Unavailable { .. } | CatalogError::Corrupt(_))),
            "{reply:?}: {read:?}"
        );
    }
}

#[tokio::test]
async fn a_read_is_sent_again_a_few_times_where_the_connection_breaks() {
    for reply in [Reply::Close, Reply::Cut("{")] {
        let ((_, _), (read, reads)) = both(reply).await;
        assert_eq!((wait(&read), reads), (5, 3));
    }
    let ((_, _), (read, reads)) = both(Reply::Hang).await;
    assert_eq!((wait(&read), reads), (5, 1));
    let found = ok(r#"{"now":5,"entries":[{"version":"7","text":"t"}]}"#);
    let (server, catalog) = Server::catalog(vec![Reply::Close, Reply::Close, found]).await;
    let moment = catalog.records().read(&["k".to_owned()]).await.unwrap();
    assert_eq!((moment.now.millis(), moment.entries[0].as_ref().unwrap().version), (5, 7));
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_door_that_is_shut_says_what_to_do_and_no_wait_helps() {
    for (status, says) in [
        (301, "leads elsewhere"),
        (307, "leads elsewhere"),
        (401, "HAKIRI_CATALOG_TOKEN"),
        (403, "does not let"),
        (404, "its door is shut"),
        (405, "does not take"),
    ] {
        let ((write, writes), (read, _)) = both(page(status)).await;
        assert_eq!((wait(&write), wait(&read), writes), (0, 0, 1), "{status}");
        assert!(format!("{write:?}").contains(says) && format!("{read:?}").contains(says), "{status}: {write:?}");
    }
    let elsewhere = Reply::Answer(307, "location: http://127.0.0.1:1/\r\n", String::new());
    assert_eq!(wait(&both(elsewhere).await.0.0), 0);
    let busy = Reply::Answer(429, "retry-after: 17\r\n", String::new());
    let ((write, _), (read, _)) = both(busy).await;
    assert_eq!((wait(&write), wait(&read)), (17, 17));
}

#[tokio::test]
async fn what_the_catalog_itself_says_is_known_of_a_write_too() {
    let ((write, _), (read, _)) = both(problem(503, "unavailable")).await;
    assert_eq!((wait(&write), wait(&read)), (9, 9));
    let ((write, _), (read, _)) = both(problem(400, "refused")).await;
    assert_eq!((wait(&write), wait(&read)), (0, 0));
    let ((write, _), _) = both(problem(500, "corrupt")).await;
    assert!(matches!(write, Err(CatalogError::Corrupt(_))), "{write:?}");
    let ((write, _), _) = both(problem(404, "not_found")).await;
    assert!(matches!(write, Err(CatalogError::NotFound(_))), "{write:?}");
    let ((write, _), _) = both(problem(409, "newer")).await;
    assert_eq!(write, Err(CatalogError::Newer { found: 2, known: 1 }));
}

#[tokio::test]
async fn what_is_stored_is_not_quoted_where_it_cannot_be_read() {
    for body in [
        r#"{"now":1,"entries":[{"version":"x","text":"sekrit"}]}"#,
        r#"{"now":"sekrit","entries":[]}"#,
        r#"{"now":1,"entries":[]}"#,
        r#"{"now":1,"entries":[null,null]}"#,
        r#""sekrit"#,
    ] {
        let (server, catalog) = Server::catalog(vec![ok(body)]).await;
        let read = catalog.records().read(&["k".to_owned()]).await;
        let Err(CatalogError::Corrupt(message)) = read else { panic!("{read:?}") };
        assert!(!message.contains("sekrit") && server.count() == 1, "{message}");
    }
}

#[tokio::test]
async fn nobody_listening_means_that_nothing_happened() {
    let (server, catalog) = Server::catalog(vec![Reply::Hang]).await;
    server.task.abort();
    while TcpStream::connect(server.url[7..].split('/').next().unwrap()).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let write = catalog.records().write(&put("k", "x")).await;
    assert_eq!(wait(&write), 5, "{write:?}");
    assert_eq!(wait(&catalog.records().read(&["k".to_owned()]).await), 5);
    assert!(format!("{write:?}").contains("cannot be reached"));
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let (_server, catalog) = Server::catalog(vec![Reply::Answer(500, "", "x".repeat(1 << 20))]).await;
    assert_eq!(wait(&catalog.records().read(&["k".to_owned()]).await), 5);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n\"").await.unwrap();
        let chunk = vec![b'x'; 1 << 20];
        let mut sent = 0;
        while stream.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
        sent
    });
    let opened = http::open(&url, None, "c").await;
    assert!(
        matches!(&opened, Err(CatalogError::Unavailable { reason, retry_after: 0 }) if reason.contains("larger than")),
        "{opened:?}"
    );
    let sent = task.await.unwrap();
    assert!(sent < 128 << 20, "{sent}");
}

#[tokio::test]
async fn the_token_and_the_protocol_are_sent_with_each_request() {
    let (server, catalog) = Server::catalog(vec![ok(r#"{"written":"done"}"#)]).await;
    assert_eq!(catalog.records().write(&put("k", "x")).await, Ok(Written::Done));
    let requests = server.requests.lock().unwrap().clone();
    assert_eq!(requests.len(), 2);
    for (head, method) in requests.iter().zip(["info", "write"]) {
        assert!(head.starts_with(&format!("post /catalog/v1/{method} http/1.1\r\n")), "{head}");
        assert!(head.contains(&format!("\r\nauthorization: bearer {TOKEN}")), "{head}");
        assert!(
            head.contains("\r\nhakiri-catalog: 1\r\n") && head.contains("content-type: application/json"),
            "{head}"
        );
    }
    let server = Server::start(vec![ok(r#"{"version":1,"id":"c","now":1}"#)]).await;
    http::open_reader(&format!("{}/", server.url), None).await.unwrap();
    let head = server.requests.lock().unwrap()[0].clone();
    assert!(head.starts_with("post /catalog/v1/info ") && !head.contains("authorization"), "{head}");
    let server = Server::start(vec![ok(r#"{"version":2,"id":"c","now":1}"#)]).await;
    let newer = http::open_reader(&server.url, None).await;
    assert_eq!(newer.err(), Some(CatalogError::Newer { found: 2, known: 1 }));
}

const DIRECT: &str = "HAKIRI_TEST_DIRECT";

/// The child of the next test, with a proxy in its environment; nothing for anybody else.
#[tokio::test]
async fn child() {
    let Ok(direct) = std::env::var(DIRECT) else { return };
    // A name that only the proxy knows, as in a container.
    assert_eq!(http::open("http://catalog.hakiri", None, "x").await.unwrap().info().await.unwrap().id, "c");
    http::open(&direct, None, "x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_of_the_environment_is_used_but_not_to_this_machine_itself() {
    let info = || vec![ok(r#"{"version":1,"id":"c","now":1}"#)];
    let (proxy, direct) = (Server::start(info()).await, Server::start(info()).await);
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "http::faults::child", "--nocapture"]).env(DIRECT, &direct.url);
    child.env_remove("no_proxy").env_remove("NO_PROXY").env("http_proxy", proxy.url.trim_end_matches("/catalog"));
    let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = |server: &Server| -> Vec<String> {
        server.requests.lock().unwrap().iter().map(|head| head.lines().next().unwrap().to_owned()).collect()
    };
    assert_eq!(lines(&proxy), ["post http://catalog.hakiri/v1/info http/1.1"; 2]);
    assert_eq!(lines(&direct), ["post /catalog/v1/info http/1.1"]);
}
