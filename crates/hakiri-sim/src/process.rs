//! Processes of the servers, as far as a test looks at them, and the ports they are to have.

use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;
use std::process::Command;

/// A port of loopback that nobody has. It is of those that the system gives to no connection by itself: one of them could
/// have it before the server does, or while a server that was killed is started again.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let random = RandomState::new();
    let mut ports = (0..1_000_u64).map(|n| 10_000 + u16::try_from(random.hash_one(n) % 20_000).unwrap());
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

pub(crate) fn signal(name: &str, pids: &[u32]) {
    // Those that are gone already are what was wanted.
    let _ = Command::new("kill").arg(format!("-{name}")).args(pids.iter().map(u32::to_string)).output().unwrap();
}

/// The parent and the state of a process.
fn stat(pid: u32) -> Option<(u32, char)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

pub(crate) fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(_, state)| state != 'Z')
}

pub(crate) fn children(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).is_some_and(|(p, _)| p == parent))
        .collect()
}

/// Those children of a process that run a program of this name.
pub(crate) fn children_named(parent: u32, name: &str) -> Vec<u32> {
    let named = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
    children(parent).into_iter().filter(named).collect()
}
