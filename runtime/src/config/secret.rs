//! URLs that may carry a password: usable by whoever connects, never printed whole.

use std::fmt;

const HIDDEN: &str = "***";

/// A URL whose printed form, in logs and errors alike, hides what is secret in it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Wraps a URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole URL, for whoever connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_url(&self.0))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&redact_url(&self.0), f)
    }
}

/// The URL without its password, token or secret query parameters. What is no URL but looks as if
/// it held a secret is hidden whole: a mistyped URL must not leak either.
#[must_use]
pub fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        let may_hold_secret = url.contains(['@', '=', ' ']);
        return if may_hold_secret {
            HIDDEN.to_owned()
        } else {
            url.to_owned()
        };
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) if !query.contains('@') => (rest, Some(query)),
        Some(_) | None => (rest, None),
    };
    // The last `@`: a password may hold one that nobody encoded, and of a list of servers only the
    // last is shown.
    let mut shown = match rest.rsplit_once('@') {
        Some((user, host)) => format!("{scheme}://{}@{host}", redact_user(scheme, user)),
        None => format!("{scheme}://{rest}"),
    };
    if let Some(query) = query {
        let kept: Vec<String> = query.split('&').map(redact_parameter).collect();
        shown.push('?');
        shown.push_str(&kept.join("&"));
    }
    shown
}

/// In a NATS URL a user without a password is a token.
fn redact_user(scheme: &str, user: &str) -> String {
    match user.split_once(':') {
        Some((name, _)) => format!("{name}:{HIDDEN}"),
        None if scheme.starts_with("postgres") => user.to_owned(),
        None => HIDDEN.to_owned(),
    }
}

fn redact_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if ["password", "passfile", "sslkey"].contains(&name) => {
            format!("{name}={HIDDEN}")
        }
        Some(_) | None => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_printed_form_holds_the_secret() {
        for url in [
            "postgres://app:hunter2@db:5432/niyanta",
            "postgres://app:hun@hunter2@db/niyanta",
            "postgres://app:hun?hunter2@db/niyanta",
            "postgres://app:hun/hunter2@db/niyanta?sslmode=require",
            "postgres://db/niyanta?user=app&password=hunter2&sslmode=require",
            "nats://hunter2@broker:4222",
            "nats://a:hunter2@one,nats://b:hunter2@two",
            "app:hunter2@db/niyanta",
            "host=db password=hunter2",
        ] {
            let secret = SecretUrl::new(url);
            assert!(!secret.to_string().contains("hunter2"), "{secret}");
            assert!(!format!("{secret:?}").contains("hunter2"), "{secret:?}");
            assert_eq!(secret.expose(), url);
        }
    }

    #[test]
    fn what_is_not_secret_stays_readable() {
        assert_eq!(
            redact_url("postgres://app:hunter2@db:5432/niyanta?sslmode=require"),
            "postgres://app:***@db:5432/niyanta?sslmode=require"
        );
        for plain in [
            "postgres://app@db/niyanta",
            "sqlite:///var/lib/niyanta.db",
            "embedded",
        ] {
            assert_eq!(redact_url(plain), plain);
        }
    }
}
