//! A cable that can be pulled: a TCP proxy on a loopback address of its own.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Forwards connections, unless it is cut. Cut off, nothing arrives on either side and nobody is told, as behind a dead
/// switch; once it is mended, the connections of before are reset.
pub struct Proxy {
    /// Where it listens.
    pub address: String,
    cut: Arc<AtomicBool>,
    /// Raised with every cut: connections of an earlier number are dead.
    era: Arc<AtomicU64>,
}

impl Proxy {
    /// From a free port of `host` (127.0.0.2, say) to an address.
    pub fn start(host: &str, target: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cut, era) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (is_cut, now, target) = (cut.clone(), era.clone(), target.to_owned());
        std::thread::spawn(move || {
            for inside in listener.incoming().map_while(Result::ok) {
                let (is_cut, now, target) = (is_cut.clone(), now.clone(), target.clone());
                std::thread::spawn(move || {
                    while is_cut.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    let born = now.load(Ordering::SeqCst);
                    let Ok(outside) = TcpStream::connect(&target) else { return };
                    let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
                    let (Ok(a), Ok(b)) = (inside.try_clone(), outside.try_clone()) else { return };
                    let (cut2, now2) = (is_cut.clone(), now.clone());
                    std::thread::spawn(move || pump(a, b, &cut2, &now2, born));
                    pump(outside, inside, &is_cut, &now, born);
                });
            }
        });
        Self { address, cut, era }
    }

    /// Pulls the cable.
    pub fn cut(&self) {
        self.era.fetch_add(1, Ordering::SeqCst);
        self.cut.store(true, Ordering::SeqCst);
    }

    /// Puts it back.
    pub fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool, era: &AtomicU64, born: u64) {
    let mut buffer = [0; 64 * 1024];
    // So that a silent connection notices a cut.
    let _ = from.set_read_timeout(Some(Duration::from_millis(100)));
    loop {
        let read = match from.read(&mut buffer) {
            Ok(n) => Some(n),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => None,
            Err(_) => Some(0),
        };
        if era.load(Ordering::SeqCst) != born {
            while cut.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            break;
        }
        match read {
            None => {}
            Some(0) => break,
            Some(n) if to.write_all(&buffer[..n]).is_err() => break,
            Some(_) => {}
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
