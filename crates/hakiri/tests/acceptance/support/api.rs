//! A double of an API: HTTP/1.1 on loopback, one closure that answers.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Ends the connection after this many bytes of the body, though more were announced.
    pub cut_after: Option<usize>,
}

impl Response {
    pub fn json(value: &serde_json::Value) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type".into(), "application/json".into())],
            body: value.to_string().into_bytes(),
            cut_after: None,
        }
    }

    pub fn text(status: u16, content_type: &str, body: &str) -> Self {
        Self { status, headers: vec![("content-type".into(), content_type.into())], body: body.into(), cut_after: None }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

type Handler = dyn Fn(&Request) -> Response + Send + Sync;

/// The server; it ends when dropped.
pub struct Api {
    pub url: String,
    pub requests: Arc<AtomicUsize>,
    pub log: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    address: std::net::SocketAddr,
}

impl Api {
    pub fn start(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, log, stop) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let handler: Arc<Handler> = Arc::new(handler);
        let (count, seen, stopped) = (requests.clone(), log.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), handler, count, seen) = (stream, handler.clone(), count.clone(), seen.clone()) else {
                    continue;
                };
                std::thread::spawn(move || serve(stream, &*handler, &count, &seen));
            }
        });
        Self { url: format!("http://{address}"), requests, log, stop, address }
    }

    pub fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, handler: &Handler, count: &AtomicUsize, seen: &Mutex<Vec<Request>>) {
    let Ok(mut out) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        count.fetch_add(1, Ordering::SeqCst);
        seen.lock().unwrap().push(request.clone());
        let response = handler(&request);
        let mut head = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n", response.status, response.body.len());
        for (name, value) in &response.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let cut = response.cut_after.unwrap_or(response.body.len());
        if out.write_all(head.as_bytes()).and_then(|()| out.write_all(&response.body[..cut])).is_err()
            || response.cut_after.is_some()
        {
            let _ = out.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let url = url::Url::parse(&format!("http://x{target}")).ok()?;
    let query = url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    Some(Request {
        method,
        path: url.path().to_owned(),
        query,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Holds an answer back for as long as the flag is up.
pub fn hold(held: &AtomicBool) {
    while held.load(Ordering::SeqCst) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Pages of records by number: `?page=1…`, `{"data": [...]}`; an empty page ends it.
pub fn paged(records: Vec<serde_json::Value>, size: usize) -> impl Fn(&Request) -> Response + Send + Sync {
    move |request| {
        let page: usize = request.query.get("page").and_then(|p| p.parse().ok()).unwrap_or(1);
        let data: Vec<_> = records.iter().skip((page - 1) * size).take(size).collect();
        Response::json(&serde_json::json!({ "data": data }))
    }
}

/// The manifest of a pipeline `api` with one resource `items`, paged by number.
pub fn manifest(url: &str, more: &str) -> String {
    format!(
        r#"
[[pipeline]]
id = "api"
[pipeline.source]
connector = "http"
[pipeline.source.config]
base_url = "{url}"
allow_private = true
[pipeline.source.config.resources.items]
path = "/items"
records = "data"
primary_key = ["id"]
paginate = {{ page = {{ param = "page" }} }}
{more}
"#
    )
}
