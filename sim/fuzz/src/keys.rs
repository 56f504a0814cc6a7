//! Whatever is sent as an API key: what is accepted is what was sent, and its printed form hides it.

use runtime::http::auth::Secret;

/// Reads a text as a key's secret.
///
/// # Panics
/// When a secret is not what was sent, or is shown.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Some(secret) = Secret::parse(text) else {
        return;
    };
    assert_eq!(secret.expose(), text);
    assert!(text.starts_with(secret.prefix()) && secret.prefix().len() < text.len() / 2);
    assert!(!format!("{secret:?}").contains(text));
    let again = Secret::parse(secret.expose()).map(|secret| secret.hash());
    assert_eq!(again, Some(secret.hash()));
}
