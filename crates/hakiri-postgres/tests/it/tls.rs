//! What each `sslmode` takes and refuses.

use hakiri_core::codes::Code;
use hakiri_core::error::{Error, Kind};
use hakiri_sim::postgres::{Options, Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::encrypted;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key of a server.
    fn issue(&self, params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

fn for_hosts(hosts: &[&str]) -> CertificateParams {
    CertificateParams::new(hosts.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>()).unwrap()
}

/// A server with a certificate, and files with certificates beside it.
struct Encrypted {
    server: Server,
    folder: tempfile::TempDir,
}

impl Encrypted {
    fn start(tls: (String, String)) -> Self {
        let server = Server::start(&Options { tls: Some(tls), ..Options::default() });
        Self { server, folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, pem: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn open(&self, host: &str, parameters: &str) -> Result<bool, Error> {
        encrypted(&format!("{}?{parameters}", self.server.url_of("hakiri", host))).await
    }
}

fn refused(result: Result<bool, Error>, message: &str, hint: &str) {
    let e = result.unwrap_err();
    assert_eq!((e.code(), e.kind()), (Code::PostgresTls, Kind::Permanent), "{e:?}");
    assert!(e.message().contains(message) && e.hint().contains(hint), "{e:?}");
}

#[tokio::test]
async fn each_mode_takes_what_it_says_and_no_less() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let it = Encrypted::start(ours.issue(for_hosts(&["localhost"])));
    let (ours, other) = (it.file("ours.pem", &ours.0.pem()), it.file("other.pem", &other.0.pem()));

    for parameters in [
        format!("sslmode=verify-full&sslrootcert={ours}"),
        format!("sslrootcert={ours}"), // verify-full is the default
        format!("sslmode=verify-ca&sslrootcert={ours}"),
        format!("sslmode=require&sslrootcert={ours}"),
        "sslmode=require".to_owned(),
        "sslmode=prefer".to_owned(),
        String::new(),
    ] {
        assert!(it.open("localhost", &parameters).await.unwrap(), "{parameters}");
    }
    assert!(!it.open("localhost", "sslmode=disable").await.unwrap());

    // Another authority, and the public ones, did not sign it.
    let untrusted = "not from an authority that is trusted";
    for parameters in [
        format!("sslmode=verify-full&sslrootcert={other}"),
        format!("sslmode=verify-ca&sslrootcert={other}"),
        format!("sslmode=require&sslrootcert={other}"),
        "sslmode=verify-full".to_owned(),
        "sslrootcert=system".to_owned(),
        "sslmode=verify-ca".to_owned(),
    ] {
        refused(it.open("localhost", &parameters).await, untrusted, "sslrootcert=FILE");
    }

    // The certificate is for localhost, not for its address.
    refused(
        it.open("127.0.0.1", &format!("sslmode=verify-full&sslrootcert={ours}")).await,
        "another host",
        "verify-ca",
    );
    assert!(it.open("127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={ours}")).await.unwrap());
    refused(
        it.open("127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={other}")).await,
        untrusted,
        "sslrootcert=FILE",
    );
    assert!(it.open("127.0.0.1", "sslmode=require").await.unwrap());
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_required() {
    let server = Server::start(&Options::default());
    for mode in ["require", "verify-ca", "verify-full"] {
        let result = encrypted(&format!("{}?sslmode={mode}", server.url())).await;
        refused(result, "the server has no TLS", "sslmode=disable");
    }
    for parameters in ["", "?sslmode=prefer", "?sslmode=disable"] {
        assert!(!encrypted(&format!("{}{parameters}", server.url())).await.unwrap(), "{parameters}");
    }
    let folder = server.socket().to_str().unwrap();
    assert!(!encrypted(&format!("postgres://hakiri@:{}/postgres?host={folder}", server.port())).await.unwrap());
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_its_reason() {
    let ours = Authority::new("ours");
    let mut params = for_hosts(&["localhost"]);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    let it = Encrypted::start(ours.issue(params));
    let ours = it.file("ours.pem", &ours.0.pem());
    refused(it.open("localhost", &format!("sslrootcert={ours}")).await, "has expired", "renew");
}

#[tokio::test]
async fn the_certificate_that_a_server_signed_itself_is_trusted_when_it_is_the_one_listed() {
    let make = || {
        let mut params = for_hosts(&["localhost"]);
        // As `openssl req -x509` makes it: its own authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let (its, another) = (make(), make());
    let it = Encrypted::start(its.clone());
    let (its, another) = (it.file("its.pem", &its.0), it.file("another.pem", &another.0));
    assert!(it.open("localhost", &format!("sslrootcert={its}")).await.unwrap());
    refused(it.open("127.0.0.1", &format!("sslrootcert={its}")).await, "another host", "verify-ca");
    let e = it.open("localhost", &format!("sslrootcert={another}")).await.unwrap_err();
    assert_eq!(e.code(), Code::PostgresTls, "{e:?}");
}

#[tokio::test]
async fn a_file_that_holds_no_certificate_is_told_by_its_name() {
    let server = Server::start(&Options::default());
    let folder = tempfile::tempdir().unwrap();
    for (name, content, why) in [
        ("none.pem", None, "cannot be read"),
        ("empty.pem", Some(""), "no certificate"),
        ("text.pem", Some("x"), "no certificate"),
    ] {
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let e = encrypted(&format!("{}?sslrootcert={}", server.url(), path.display())).await.unwrap_err();
        assert!(e.message().contains(name) && e.message().contains(why), "{e:?}");
    }
}
