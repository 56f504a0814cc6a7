//! What a NATS server and its clients need for TLS and for credentials: a certificate that signs
//! itself, and tokens of an operator, an account and a user, made for each server.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// Files in the server's scratch folder, and the lines of its configuration that name them.
#[derive(Debug)]
pub(crate) struct NatsSecurity {
    server_config: String,
    certificate: PathBuf,
    credentials: PathBuf,
}

impl NatsSecurity {
    pub(crate) fn new(folder: &Path) -> Self {
        let names = vec!["localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate = folder.join("certificate.pem");
        let key = folder.join("key.pem");
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();

        let (operator, account, user) = (
            KeyPair::new_operator(),
            KeyPair::new_account(),
            KeyPair::new_user(),
        );
        let of_operator = token(
            &operator,
            &operator,
            json!({"type": "operator", "version": 2}),
        );
        let no_limit = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1,
        });
        let of_account = json!({"type": "account", "version": 2, "limits": no_limit});
        let of_account = token(&operator, &account, of_account);
        let of_user = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
        let of_user = token(&account, &user, of_user);
        let credentials = folder.join("user.creds");
        let seed = user.seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        fs::write(&credentials, text).unwrap();

        let server_config = format!(
            "tls {{ cert_file: {certificate:?}, key_file: {key:?} }}\n\
             operator: {of_operator}\nresolver: MEMORY\n\
             resolver_preload: {{ {}: {of_account} }}\n",
            account.public_key()
        );
        Self {
            server_config,
            certificate,
            credentials,
        }
    }

    pub(crate) fn server_config(&self) -> &str {
        &self.server_config
    }

    pub(crate) fn client_env(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        vec![
            ("SSL_CERT_FILE", text(&self.certificate)),
            ("NATS_CREDENTIALS", text(&self.credentials)),
        ]
    }
}

/// A token of NATS: what `issuer` says of `subject`.
fn token(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let claims = json!({
        "jti": subject.public_key(), "iat": 1_700_000_000, "iss": issuer.public_key(),
        "name": "tests", "sub": subject.public_key(), "nats": nats,
    });
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
