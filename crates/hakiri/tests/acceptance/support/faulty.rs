//! A proxy for HTTP that answers badly from time to time.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 409 to a conditional write that was not carried out, since another one was under way.
    Conflict,
    /// 503: slow down.
    Unavailable,
    /// Carried out, and answered late.
    Slow,
    /// Carried out, and the answer ends in the middle of its body, or of its head where it has none.
    Torn,
    /// Carried out, and never answered.
    Reset,
}

/// Leads requests somewhere, each with a connection of its own; every third meets the next fault that can befall it.
pub struct Faulty {
    url: String,
    inner: Arc<Inner>,
}

struct Inner {
    target: Mutex<String>,
    faults: Vec<Fault>,
    /// How often each was met.
    done: Vec<AtomicUsize>,
    asked: AtomicUsize,
}

impl Faulty {
    pub fn start(faults: &[Fault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            target: Mutex::default(),
            faults: faults.to_vec(),
            done: faults.iter().map(|_| AtomicUsize::new(0)).collect(),
            asked: AtomicUsize::new(0),
        });
        let shared = inner.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let inner = shared.clone();
                std::thread::spawn(move || inner.serve(stream));
            }
        });
        Self { url, inner }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Where it leads.
    pub fn lead_to(&self, url: &str) {
        *self.inner.target.lock().unwrap() = url.trim_start_matches("http://").to_owned();
    }

    /// How often each fault was met.
    pub fn done(&self) -> Vec<usize> {
        self.inner.done.iter().map(|n| n.load(Ordering::SeqCst)).collect()
    }
}

impl Inner {
    /// The requests of a connection, one after the other.
    fn serve(&self, mut stream: TcpStream) {
        let Ok(inside) = stream.try_clone() else { return };
        let mut reader = BufReader::new(inside);
        while let Some(request) = read(&mut reader) {
            let fault = self.fault(&request);
            let answer = match fault {
                Some(Fault::Conflict) => refused(409, "ConditionalRequestConflict"),
                Some(Fault::Unavailable) => refused(503, "SlowDown"),
                _ => self.carried_out(&request),
            };
            let cut = match fault {
                Some(Fault::Torn) => answer.len() - answer.len().min(7),
                Some(Fault::Reset) => 0,
                _ => answer.len(),
            };
            if fault == Some(Fault::Slow) {
                std::thread::sleep(Duration::from_millis(700));
            }
            if stream.write_all(&answer[..cut]).is_err() || cut < answer.len() || answer.is_empty() {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }

    /// The fault that befalls a request: that of those it can meet which was met least.
    fn fault(&self, request: &[u8]) -> Option<Fault> {
        let text = String::from_utf8_lossy(request).to_lowercase();
        let is_conditional = text.contains("\r\nif-none-match:") || text.contains("\r\nif-match:");
        // Conditional writes are few: each of them meets its own fault first, and is let through when it is repeated.
        if !self.asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) && !is_conditional {
            return None;
        }
        let met = |n: usize| self.done[n].load(Ordering::SeqCst);
        let can = |n: &usize| self.faults[*n] != Fault::Conflict || is_conditional;
        let least = (0..self.faults.len()).filter(can).min_by_key(|n| met(*n))?;
        // Half of the conditional ones.
        if is_conditional && self.asked.load(Ordering::SeqCst).is_multiple_of(2) {
            return None;
        }
        self.done[least].fetch_add(1, Ordering::SeqCst);
        Some(self.faults[least])
    }

    fn carried_out(&self, request: &[u8]) -> Vec<u8> {
        let target = self.target.lock().unwrap().clone();
        let mut answer = Vec::new();
        let asked = TcpStream::connect(target).and_then(|mut outside| {
            outside.write_all(&closing(request))?;
            outside.read_to_end(&mut answer)
        });
        if asked.is_err() { Vec::new() } else { kept(answer) }
    }
}

/// A request with its body, as it came.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let (mut all, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        all.extend_from_slice(line.as_bytes());
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    all.extend(body);
    Some(all)
}

/// The request for a connection of its own.
fn closing(request: &[u8]) -> Vec<u8> {
    let end = request.windows(2).position(|w| w == b"\r\n").unwrap() + 2;
    [&request[..end], b"connection: close\r\n", &request[end..]].concat()
}

/// The answer without its word on the connection, which is another one.
fn kept(answer: Vec<u8>) -> Vec<u8> {
    let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { return Vec::new() };
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let lines: Vec<&str> = head.split("\r\n").filter(|l| !l.to_lowercase().starts_with("connection:")).collect();
    [lines.join("\r\n").as_bytes(), &answer[end..]].concat()
}

fn refused(status: u16, code: &str) -> Vec<u8> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>on purpose</Message></Error>");
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n", body.len());
    format!("{head}{body}").into_bytes()
}
