//! A door before a PostgreSQL that lets everybody in: it asks for the password itself, and says who may pass.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What somebody showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The user.
    pub user: String,
    /// What came as the password.
    pub password: String,
}

/// Whom somebody may be behind the door; none to refuse.
pub type Judge = dyn Fn(&Shown) -> Option<String> + Send + Sync;

/// The door, on a port of 127.0.0.1, for as long as the process lives.
#[derive(Debug)]
pub struct Door {
    /// The port.
    pub port: u16,
    shown: Arc<Mutex<Vec<Shown>>>,
}

impl Door {
    /// Before the server at `HOST:PORT`.
    ///
    /// # Panics
    /// When there is no port.
    pub fn before(server: &str, judge: impl Fn(&Shown) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (shown, judge, server) = (Arc::<Mutex<Vec<Shown>>>::default(), Arc::new(judge), server.to_owned());
        let seen = shown.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (seen, judge, server) = (seen.clone(), judge.clone(), server.clone());
                std::thread::spawn(move || pass(client, &server, &seen, &*judge));
            }
        });
        Self { port, shown }
    }

    /// Everything that was shown so far, in order.
    ///
    /// # Panics
    /// When a judge has panicked.
    pub fn shown(&self) -> Vec<Shown> {
        self.shown.lock().unwrap().clone()
    }
}

fn pass(mut client: TcpStream, server: &str, seen: &Mutex<Vec<Shown>>, judge: &Judge) -> io::Result<()> {
    let mut start = packet(&mut client)?;
    // A request for TLS, which this door has not.
    while start[..4] == 80_877_103_u32.to_be_bytes() {
        client.write_all(b"N")?;
        start = packet(&mut client)?;
    }
    let texts: Vec<String> = start[4..].split(|b| *b == 0).map(|t| String::from_utf8_lossy(t).into_owned()).collect();
    let value = |name: &str| texts.chunks(2).find(|pair| pair[0] == name).and_then(|pair| pair.get(1)).cloned();
    let Some(user) = value("user") else { return Ok(()) };
    // The password as it is, please.
    client.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3])?;
    let mut kind = [0];
    client.read_exact(&mut kind)?;
    let password = packet(&mut client)?;
    let password = String::from_utf8_lossy(password.strip_suffix(&[0]).unwrap_or(&password)).into_owned();
    let shown = Shown { user, password };
    let name = judge(&shown);
    seen.lock().unwrap().push(shown);
    let Some(name) = name else {
        let fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0";
        let mut answer = vec![b'E'];
        answer.extend(u32::try_from(fields.len() + 4).unwrap().to_be_bytes());
        answer.extend(fields);
        return client.write_all(&answer);
    };
    let mut upstream = TcpStream::connect(server)?;
    let mut again = start[..4].to_vec();
    for pair in texts.chunks(2).filter(|pair| pair.len() == 2 && !pair[0].is_empty()) {
        let value = if pair[0] == "user" { &name } else { &pair[1] };
        again.extend(format!("{}\0{value}\0", pair[0]).into_bytes());
    }
    again.push(0);
    upstream.write_all(&u32::try_from(again.len() + 4).unwrap().to_be_bytes())?;
    upstream.write_all(&again)?;
    let (mut from, mut to) = (client.try_clone()?, upstream.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    io::copy(&mut upstream, &mut client)?;
    client.shutdown(std::net::Shutdown::Both)
}

/// What stands behind a length.
fn packet(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap();
    let mut packet = vec![0; length.clamp(8, 1 << 20) - 4];
    stream.read_exact(&mut packet)?;
    Ok(packet)
}
