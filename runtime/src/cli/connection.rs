//! Which server a client talks to, with which key, on whose behalf.
//!
//! Flags, then the environment, then a `niyanta dev` of this user. The flags may stand before or
//! after the command's name. The environment is read in one place, before the command, so that a
//! variable never overrides a flag.

use std::path::Path;

use clap::Args;
use serde::Deserialize;

use super::{
    client::Client,
    failure::{Failure, Outcome},
    output::{self, Format},
};
use crate::config::default_data_dir;

const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";
const SERVER_HELP: &str = "The coordinator [env: NIYANTA_SERVER] [default: http://127.0.0.1:8080]";

/// Before the command's name, and from the environment.
#[derive(Debug, Args)]
pub(super) struct RootConnectionArgs {
    #[arg(long = "server", env = "NIYANTA_SERVER", value_name = "URL")]
    #[arg(hide = true)]
    root_server: Option<String>,
    #[arg(long = "api-key", env = "NIYANTA_API_KEY", value_name = "KEY")]
    #[arg(hide = true, hide_env_values = true)]
    root_api_key: Option<String>,
    #[arg(long = "output", value_enum, value_name = "FORMAT", hide = true)]
    root_output: Option<Format>,
}

/// After the command's name.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectionArgs {
    #[arg(long, value_name = "URL", help = SERVER_HELP)]
    server: Option<String>,
    /// The key [env: NIYANTA_API_KEY]
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// How data is written [default: table]
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// After the name of a command that acts for a customer.
#[derive(Debug, Clone, Args)]
pub(super) struct CustomerConnectionArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The customer to act for, with an admin key
    #[arg(long, value_name = "CUSTOMER_ID", help_heading = "Connection")]
    customer: Option<String>,
}

/// What `niyanta dev` leaves in its data folder.
#[derive(Deserialize)]
struct DevFile {
    server: String,
    api_key: String,
    admin_key: String,
}

/// Whose routes a command uses, and so which key of `dev.json` fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Customer,
    Admin,
}

/// A client and how its answers are written.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) format: Format,
}

impl ConnectionArgs {
    /// For the routes of an operator.
    pub(super) fn admin(&self, root: &RootConnectionArgs) -> Outcome<Session> {
        self.connect(root, Role::Admin, None)
    }

    /// Whether a server was named, in whatever way.
    pub(super) fn names_server(&self, root: &RootConnectionArgs) -> bool {
        self.given_server(root).is_some()
    }

    fn given_server(&self, root: &RootConnectionArgs) -> Option<String> {
        let given = self.server.clone().or_else(|| root.root_server.clone());
        given.filter(|server| !server.is_empty())
    }

    fn connect(
        &self,
        root: &RootConnectionArgs,
        role: Role,
        customer: Option<String>,
    ) -> Outcome<Session> {
        let given = self.given_server(root);
        let key = self.api_key.clone().or_else(|| root.root_api_key.clone());
        let (server, key) = match key.filter(|key| !key.is_empty()) {
            Some(key) => (given.unwrap_or_else(|| DEFAULT_SERVER.to_owned()), key),
            None => from_dev(given.as_deref(), role)?,
        };
        let format = self.output.or(root.root_output).unwrap_or(Format::Table);
        let client = Client::new(&server, &key, customer)?;
        Ok(Session { client, format })
    }
}

impl CustomerConnectionArgs {
    /// For the routes of a customer.
    pub(super) fn connect(&self, root: &RootConnectionArgs) -> Outcome<Session> {
        self.connection
            .connect(root, Role::Customer, self.customer.clone())
    }
}

/// Server and key of a `niyanta dev`. Its keys are never sent to a server that is not its own.
fn from_dev(given_server: Option<&str>, role: Role) -> Outcome<(String, String)> {
    let no_key = || {
        Failure::usage(
            "no API key: set --api-key or NIYANTA_API_KEY, or start `niyanta dev` on this machine",
        )
    };
    let path = default_data_dir().ok_or_else(no_key)?.join("dev.json");
    let Some(dev) = read_dev_file(&path)? else {
        return Err(no_key());
    };
    let is_its_own =
        |server: &str| server.trim_end_matches('/') == dev.server.trim_end_matches('/');
    if !given_server.is_none_or(is_its_own) {
        return Err(no_key());
    }
    output::say(&format!(
        "niyanta: using the key of `niyanta dev` at {} ({})",
        dev.server,
        path.display()
    ));
    let key = match role {
        Role::Customer => dev.api_key,
        Role::Admin => dev.admin_key,
    };
    Ok((dev.server, key))
}

fn read_dev_file(path: &Path) -> Outcome<Option<DevFile>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::failed(format!("{}: {error}", path.display()))),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Failure::with_hint(
            format!("{}: {error}", path.display()),
            "start `niyanta dev` again, or set --server and --api-key",
        )
    })
}
