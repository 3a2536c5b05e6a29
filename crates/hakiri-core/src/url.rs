//! The parts of a URL that Hakiri judges by their text: `${NAME}` may stand anywhere in it, which no parser of URLs takes.

/// What stands between `scheme://` and the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'u> {
    /// `user` or `user:password`, if there is an `@`.
    pub login: Option<&'u str>,
    /// Host and port, or several of them, separated by commas.
    pub hosts: &'u str,
}

impl<'u> Authority<'u> {
    /// The authority of a URL; none where the text has no scheme.
    pub fn of(url: &'u str) -> Option<Self> {
        let (_, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // The last one: a password that is written as it is may hold an `@` itself.
        Some(match authority.rsplit_once('@') {
            Some((login, hosts)) => Self { login: Some(login), hosts },
            None => Self { login: None, hosts: authority },
        })
    }

    /// The password as it is written.
    pub fn password(self) -> Option<&'u str> {
        self.login?.split_once(':').map(|(_, password)| password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_ends_before_the_path_and_its_login_at_the_last_sign() {
        let of = |url| Authority::of(url).map(|a| (a.login, a.hosts, a.password()));
        assert_eq!(of("postgres://u:${P}@h:1,g/d?x=@y"), Some((Some("u:${P}"), "h:1,g", Some("${P}"))));
        assert_eq!(of("https://u:p@w@h#a:b@c"), Some((Some("u:p@w"), "h", Some("p@w"))));
        assert_eq!(of("postgres:///x"), Some((None, "", None)));
        assert_eq!(of("http://h:80/a:b@c"), Some((None, "h:80", None)));
        assert_eq!(of("${URL}"), None);
    }
}
