//! The server's errors as ours.
//!
//! The SQLSTATE decides code and kind; the server's own words are shown only where they cannot hold a value of a row
//! (P8). They can in class 22 (data) and 23 (constraints), in whatever a function raises (P0), in a syntax error, which
//! quotes the statement, and in an error of the server itself (XX), which may be anything. Detail, hint and context of
//! the server are never shown.

use std::error::Error as _;
use std::io;

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Kind};
use rustls::CertificateError;
use tokio_postgres::error::DbError;

use crate::address::{Address, SslMode};

/// The longest message of a server that is shown, in characters.
const LONGEST: usize = 300;

/// What an error of the driver means to a user.
pub fn error(e: &tokio_postgres::Error) -> Error {
    if let Some(e) = e.as_db_error() {
        return of_server(e);
    }
    if e.is_closed() {
        return Error::new(Code::PostgresUnreachable, "the connection ended");
    }
    if let Some(e) = tls_error(e) {
        return of_tls(e);
    }
    let cause = e.source();
    // The driver has no other way to tell these apart.
    match e.to_string().as_str() {
        "error performing TLS handshake" => match cause.map(ToString::to_string).as_deref() {
            Some("server does not support TLS") => Error::new(Code::PostgresTls, "the server has no TLS")
                .with_hint("turn on `ssl` at the server; with sslmode=disable in the URL everything is sent in clear, the password perhaps too"),
            // A handshake that breaks off: the network, or a server that wants something else.
            Some(_) if cause.is_some_and(|c| c.is::<io::Error>()) => {
                Error::new(Code::PostgresTls, "the TLS handshake broke off").with_kind(Kind::Transient)
            }
            _ => Error::new(Code::PostgresTls, "the TLS handshake failed"),
        },
        "authentication error" => Error::new(Code::PostgresAuth, "the server's way of signing in is not supported, or its proof of knowing the password is wrong")
            .with_hint("use a password with scram-sha-256; with channel_binding=require the server must offer it over TLS"),
        "invalid configuration" if cause.is_some_and(|c| c.to_string() == "password missing") => {
            Error::new(Code::PostgresAuth, "the server asks for a password and the URL has none")
                .with_hint("write the password into the URL, percent-encoded")
        }
        "error connecting to server" | "error communicating with the server" | "timeout waiting for server" => {
            of_io(cause.and_then(|c| c.downcast_ref()))
        }
        "error parsing response from server" | "unexpected message from server" => {
            Error::new(Code::PostgresProtocol, "the server's answer cannot be understood")
        }
        // Of our own use of the driver; names no value.
        other => Error::new(Code::PostgresProtocol, other),
    }
}

/// As [`error()`], with what only makes sense for a connection that was not made.
pub(crate) fn at_connect(e: &tokio_postgres::Error, address: &Address) -> Error {
    let found = error(e);
    let unsigned = address.mode < SslMode::Require
        && e.as_db_error().is_some_and(|e| e.code().code() == "28000" && e.message().contains("no encryption"));
    if unsigned {
        return found.with_hint("the server wants TLS: set sslmode=verify-full in the URL");
    }
    found
}

fn of_server(e: &DbError) -> Error {
    let state = e.code().code();
    let said = || said(e);
    let new = |code| Error::new(code, said());
    match state {
        "42501" => new(Code::PostgresDenied),
        "25006" => new(Code::PostgresDenied)
            .with_hint("connect to the primary: target_session_attrs=read-write in the URL, or another host"),
        // Tables, columns, functions, other objects; schemas; databases.
        "42P01" | "42703" | "42883" | "42704" | "3F000" | "3D000" | "57P04" => new(Code::PostgresMissing),
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => new(Code::PostgresUnreachable),
        "53300" => {
            new(Code::PostgresUnreachable).with_hint("raise max_connections at the server, or put a pooler before it")
        }
        // Waited too long for a lock; cancelled, perhaps by `statement_timeout`.
        "55P03" | "57014" => new(Code::PostgresEnded),
        // A disk or a file of the server's.
        "58030" => new(Code::PostgresEnded),
        _ => match &state[..state.len().min(2)] {
            "08" => new(Code::PostgresUnreachable),
            "28" => new(Code::PostgresAuth),
            "40" | "53" => new(Code::PostgresEnded),
            "22" | "23" => new(Code::PostgresValue),
            _ => new(Code::PostgresRefused),
        },
    }
}

/// The server's message if it can hold no value, else what kind of error it was; always with its SQLSTATE.
fn said(e: &DbError) -> String {
    let state = e.code().code();
    let class = &state[..state.len().min(2)];
    let quotable =
        matches!(class, "08" | "0A" | "25" | "28" | "3D" | "3F" | "40" | "42" | "53" | "54" | "55" | "57" | "58")
            && state != "42601";
    if quotable {
        let message: String = e.message().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
        return format!("the server said: {message} (SQLSTATE {state})");
    }
    let what = match (class, state) {
        ("22", _) => "a value does not fit its type or is out of range",
        ("23", _) => "a value breaks a constraint",
        (_, "42601") => "the statement is not valid SQL",
        ("P0", _) => "a function at the server refused",
        _ => "the statement failed at the server",
    };
    // Of the fields of an error, these name things of the schema and no values.
    let names: Vec<String> = [("table", e.table()), ("column", e.column()), ("constraint", e.constraint())]
        .into_iter()
        .filter_map(|(what, name)| Some(format!("{what} {}", name?)))
        .collect();
    if names.is_empty() {
        return format!("{what} (SQLSTATE {state})");
    }
    format!("{what}: {} (SQLSTATE {state})", names.join(", "))
}

/// The TLS library's error in a chain of causes: the driver wraps an I/O error that wraps it.
fn tls_error(e: &tokio_postgres::Error) -> Option<&rustls::Error> {
    let mut cause = e.source();
    while let Some(e) = cause {
        if let Some(found) = e.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = e.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|e| e.downcast_ref::<rustls::Error>()) {
            return Some(found);
        }
        cause = e.source();
    }
    None
}

fn of_tls(e: &rustls::Error) -> Error {
    let new = |message: &str| Error::new(Code::PostgresTls, message);
    match e {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                new("the server's certificate is not from an authority that is trusted here")
                    .with_hint("name the file of its authority with sslrootcert=FILE in the URL; sslmode=require encrypts without verifying")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                new("the server's certificate is for another host than the URL's")
                    .with_hint("use the host name that the certificate has, or sslmode=verify-ca with an authority that makes certificates for your servers only")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                new("the server's certificate has expired").with_hint("renew the certificate, and check this machine's clock")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                new("the server's certificate is not valid yet").with_hint("check this machine's clock")
            }
            _ => new("the server's certificate cannot be used")
                .with_hint("have the server's certificate made anew, with a subject alternative name; sslmode=require encrypts without verifying"),
        },
        rustls::Error::AlertReceived(_) => new("the server ended the TLS handshake")
            .with_hint("see the server's log; a server that asks for a client's certificate is not supported"),
        rustls::Error::PeerIncompatible(_) => {
            new("the server has no TLS version or cipher that is safe").with_hint("the server must offer TLS 1.2 or 1.3")
        }
        _ => new("the server does not keep to the TLS protocol").with_hint("check host and port: something else than PostgreSQL may listen there"),
    }
}

fn of_io(e: Option<&io::Error>) -> Error {
    let new = |message: String| Error::new(Code::PostgresUnreachable, message);
    match e.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => new("nothing listens there".to_owned()),
        Some(io::ErrorKind::NotFound) => new("there is no socket in this folder".to_owned()),
        // The driver's own words for a server that `target_session_attrs` does not want.
        Some(io::ErrorKind::PermissionDenied) => {
            new("no server of the URL is of the kind that target_session_attrs asks for, or the socket may not be used"
                .to_owned())
        }
        Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            new("the connection ended".to_owned())
        }
        Some(kind) => new(format!("the network failed: {kind}")),
        None => new("the connection failed".to_owned()),
    }
}
