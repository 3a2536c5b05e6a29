use super::*;

fn parsed(url: &str) -> Address {
    Address::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"))
}

#[test]
fn all_parts_are_read_and_decoded() {
    let a = parsed(
        "postgresql://us%40er:p%3Aa%2Fs%20s:w@DB.example.com:6000/da%2Fta?application_name=x%26y&connect_timeout=3&options=-c%20work_mem%3D1MB",
    );
    assert_eq!((a.user(), a.database()), ("us@er", Some("da/ta")));
    assert_eq!(a.password().unwrap().expose(), "p:a/s s:w");
    assert_eq!(a.hosts, [(Host::Tcp("db.example.com".to_owned()), 6000)]);
    assert_eq!(a.application.as_deref(), Some("x&y"));
    assert_eq!(a.options.as_deref(), Some("-c work_mem=1MB"));
    assert_eq!(a.timeout, Duration::from_secs(3));
    let b = parsed("postgres://u@h");
    assert_eq!((b.database(), b.password(), b.timeout), (None, None, Duration::from_secs(10)));
    assert_eq!(b.hosts, [(Host::Tcp("h".to_owned()), 5432)]);
    // The last @ ends the login, so that one in a password is forgiven.
    assert_eq!(parsed("postgres://u:p@w@h/d").password().unwrap().expose(), "p@w");
}

#[test]
fn several_hosts_ipv6_and_sockets_are_read() {
    let hosts = |url: &str| parsed(url).hosts.iter().map(|(h, p)| format!("{h:?} {p}")).collect::<Vec<_>>().join(", ");
    assert_eq!(
        hosts("postgres://u@a,b:1,[::1]:2,[fe80::1]/d"),
        "Tcp(\"a\") 5432, Tcp(\"b\") 1, Tcp(\"::1\") 2, Tcp(\"fe80::1\") 5432"
    );
    for url in ["postgres://u@/d?host=/run/pg", "postgres://u@%2Frun%2Fpg/d"] {
        assert_eq!(hosts(url), "Unix(\"/run/pg\") 5432", "{url}");
    }
    assert_eq!(hosts("postgres://u@:7/d?host=/run/pg"), "Unix(\"/run/pg\") 7");
}

#[test]
fn the_default_of_sslmode_is_full_verification_except_on_this_machine() {
    for (url, mode) in [
        ("postgres://u@db.example.com/d", SslMode::VerifyFull),
        ("postgres://u@10.0.0.1/d", SslMode::VerifyFull),
        ("postgres://u@db.example.com/d?sslrootcert=/ca.pem", SslMode::VerifyFull),
        ("postgres://u@localhost.example.com/d", SslMode::VerifyFull),
        ("postgres://u@localhost,db.example.com/d", SslMode::VerifyFull),
        ("postgres://u@localhost/d", SslMode::Prefer),
        ("postgres://u@LOCALHOST/d", SslMode::Prefer),
        ("postgres://u@127.0.0.2/d", SslMode::Prefer),
        ("postgres://u@[::1]/d", SslMode::Prefer),
        ("postgres://u@[::ffff:127.0.0.1]/d", SslMode::Prefer),
        ("postgres://u@/d?host=/run", SslMode::Prefer),
        ("postgres://u@localhost/d?sslrootcert=/ca.pem", SslMode::VerifyFull),
        ("postgres://u@localhost/d?sslrootcert=system", SslMode::VerifyFull),
        ("postgres://u@db.example.com/d?sslmode=disable", SslMode::Disable),
        ("postgres://u@db.example.com/d?sslmode=require", SslMode::Require),
        ("postgres://u@localhost/d?sslmode=verify-ca", SslMode::VerifyCa),
    ] {
        assert_eq!(parsed(url).ssl_mode(), mode, "{url}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_a_hint_and_without_the_password() {
    for url in [
        "mysql://u:SECRET@h/d",
        "u:SECRET@h/d",
        "postgres:u:SECRET@h",
        "postgres://h/d",
        "postgres://:SECRET@h/d",
        "postgres://u:SECRET@/d",
        "postgres://u:SECRET@h:0/d",
        "postgres://u:SECRET@h:99999/d",
        "postgres://u:SECRET@h:x/d",
        "postgres://u:SECRET@h/d/e",
        "postgres://u:SECRET@h/d#f",
        "postgres://u:SECRET@h d/d",
        "postgres://u:SECRET@h!/d",
        "postgres://u:SECRET@[::1/d",
        "postgres://u:SECRET@[::x]/d",
        "postgres://u:SECRET@[::1]x/d",
        "postgres://u:SECRET%@h/d",
        "postgres://u:SECRET%zz@h/d",
        "postgres://u:SECRET%ff@h/d",
        "postgres://u:SECRET%00@h/d",
        // Passwords that were not encoded.
        "postgres://u:SEC/RET@h/d",
        "postgres://u:SEC?RET@h/d",
        "postgres://u:SEC#RET@h/d",
        "postgres://u:SEC?RET=x@h/d",
        "postgres://u:SECRET@h/d?sslmode",
        "postgres://u:SECRET@h/d?sslmode=SECRET",
        "postgres://u:SECRET@h/d?sslmode=require&sslmode=disable",
        "postgres://u:SECRET@h/d?sslrootcert=system&sslmode=require",
        "postgres://u:SECRET@h/d?ssl_mode=require",
        "postgres://u:SECRET@h/d?SECRET=1",
        "postgres://u:SECRET@h/d?sslcert=SECRET",
        "postgres://u:SECRET@h/d?channel_binding=SECRET",
        "postgres://u:SECRET@h/d?target_session_attrs=primary",
        "postgres://u:SECRET@h/d?connect_timeout=0",
        "postgres://u:SECRET@h/d?connect_timeout=601",
        "postgres://u:SECRET@h/d?host=/run",
        "postgres://u:SECRET@/d?host=run",
        "postgres://u:SECRET@h,%2Frun/d",
        "postgres://u:SECRET@/d?host=/run&sslmode=require",
    ] {
        let Err(e) = Address::parse(url) else { panic!("{url} was taken") };
        assert_eq!(e.code(), Code::PostgresUrl, "{url}");
        let all = format!("{e} {e:?} {}", e.hint());
        for secret in ["SEC", "RET@", "RET="] {
            assert!(!all.contains(secret), "{url}: {all}");
        }
    }
    let e = Address::parse("postgres://u@h/d?ssl_mode=require").unwrap_err();
    assert!(e.message().contains("`ssl_mode`") && e.hint().contains("sslmode"), "{e:?}");
}

#[test]
fn printing_shows_no_password() {
    let a = parsed("postgres://u:SECRET@h,[::1]:7/d?options=SECRET");
    assert_eq!(a.to_string(), "postgres://u@h:5432,[::1]:7/d");
    assert!(!format!("{a:?} {:?}", a.password()).contains("SECRET"));
}
