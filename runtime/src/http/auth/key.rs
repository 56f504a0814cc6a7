//! The form of an API key's secret: `nyt_`, 27 random base62 digits (160.7 bits), and 6 more that
//! are the CRC32 of what stands before them.
//!
//! The check sum lets a mistyped or invented secret be refused without asking the database. It
//! protects nothing: the digits before it do. A slow hash was rejected: it protects secrets that
//! can be guessed, and would make each request expensive.

use crate::ambient::{Ambient, SystemAmbient};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A secret. Shown once, never stored, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one, from bytes that nobody can guess.
    #[must_use]
    pub fn new(ambient: &dyn Ambient) -> Self {
        let mut text = String::from(PREFIX);
        let mut byte = [0_u8];
        while text.len() < PREFIX.len() + RANDOM_DIGITS {
            ambient.fill(&mut byte);
            // 248 is the largest multiple of 62 in a byte: each digit is equally likely.
            if byte[0] < 248 {
                text.push(char::from(DIGITS[usize::from(byte[0] % 62)]));
            }
        }
        let tail = check_digits(&text);
        text.push_str(&tail);
        Self(text)
    }

    /// Reads what a client sent; `None` when it cannot be a secret of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let body_length = PREFIX.len() + RANDOM_DIGITS;
        let well_formed = text.len() == body_length + CHECK_DIGITS
            && text.starts_with(PREFIX)
            && text
                .bytes()
                .skip(PREFIX.len())
                .all(|b| b.is_ascii_alphanumeric());
        if !well_formed {
            return None;
        }
        let (body, tail) = text.split_at(body_length);
        (check_digits(body) == tail).then(|| Self(text.to_owned()))
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// What may be shown of it for ever: enough to recognise, too little to help.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX.len() + SHOWN_DIGITS]
    }

    /// The secret itself, for the one who may have it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}…)", self.prefix())
    }
}

/// A secret and what is stored of it.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// To be shown once.
    pub secret: Secret,
    /// The key's id.
    pub id: crate::store::KeyId,
    /// What may be shown.
    pub prefix: String,
    /// What is compared.
    pub secret_hash: [u8; 32],
}

/// Makes a key, not yet stored.
#[must_use]
pub fn new_key() -> NewKey {
    new_key_from(&SystemAmbient)
}

/// Makes a key from the given surroundings, not yet stored.
#[must_use]
pub fn new_key_from(ambient: &dyn Ambient) -> NewKey {
    let secret = Secret::new(ambient);
    NewKey {
        id: crate::store::KeyId(ambient.new_id()),
        prefix: secret.prefix().to_owned(),
        secret_hash: secret.hash(),
        secret,
    }
}

fn check_digits(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [DIGITS[0]; CHECK_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(rest % 62).unwrap_or(0)];
        rest /= 62;
    }
    digits.iter().copied().map(char::from).collect()
}

const PREFIX: &str = "nyt_";
const RANDOM_DIGITS: usize = 27;
const CHECK_DIGITS: usize = 6;
const SHOWN_DIGITS: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_secret_reads_back_and_differs_from_the_next() {
        let one = new_key();
        let two = new_key();
        assert_ne!(one.secret, two.secret);
        let read = Secret::parse(one.secret.expose());
        assert_eq!(read.map(|secret| secret.hash()), Some(one.secret_hash));
        assert!(one.secret.expose().starts_with(&one.prefix));
    }

    #[test]
    fn any_single_changed_character_is_refused_offline() {
        let secret = new_key().secret;
        for place in 0..secret.expose().len() {
            let mut bytes = secret.expose().as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(Secret::parse(&changed), None, "{place}");
        }
    }

    #[test]
    fn foreign_shapes_are_refused() {
        for text in [
            "",
            "nyt_",
            "nyt_é",
            "Bearer",
            &"nyt_".repeat(20),
            "nyt_000000000000000000000000000000000",
        ] {
            assert_eq!(Secret::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        let secret = new_key().secret;
        assert!(!format!("{secret:?}").contains(secret.expose()));
    }
}
