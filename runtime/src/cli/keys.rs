//! API keys. A secret is shown once, alone on standard output; everything said about it goes to
//! standard error.

use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::{Request, Retry},
    connection::{ConnectionArgs, RootConnectionArgs, Session},
    failure::{Failure, Outcome},
    output::{self, Format, say},
    paging::PageArgs,
    parse, view,
};
use crate::{commands, config::SecretUrl};

/// Keys.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  DATABASE_URL=postgres://niyanta@db/niyanta niyanta keys create --admin
  key=$(niyanta keys create --customer cus_0192… --name ci --expires 90d)
  niyanta keys list --customer cus_0192…
  niyanta keys revoke key_0192…")]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key; its secret is written to standard output, once
    Create(CreateArgs),
    /// List a customer's keys
    List {
        /// The customer's id
        #[arg(long, value_name = "CUSTOMER_ID")]
        customer: String,
        #[command(flatten)]
        page: PageArgs,
        #[command(flatten)]
        connection: ConnectionArgs,
    },
    /// Revoke a key; it stops working everywhere within 5 s
    Revoke {
        /// The key's id, as in `niyanta keys list`
        #[arg(value_name = "KEY_ID")]
        id: String,
        #[command(flatten)]
        connection: ConnectionArgs,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("owner").required(true).args(["customer", "admin"]))]
#[command(after_help = "\
Examples:
  DATABASE_URL=postgres://niyanta@db/niyanta niyanta keys create --admin
  key=$(niyanta keys create --customer cus_0192… --name ci --expires 90d)

An admin key is made in the database itself: set DATABASE_URL and name no server. Everything else
needs an admin key, so this is how the first one comes to be.")]
struct CreateArgs {
    /// The customer that the key is for
    #[arg(long, value_name = "CUSTOMER_ID")]
    customer: Option<String>,
    /// Make an admin key, directly in the database
    #[arg(long)]
    admin: bool,
    /// What people call the key [default: admin, for an admin key]
    #[arg(long, required_unless_present = "admin")]
    name: Option<String>,
    /// Stops working then: a moment, or a duration from now [default: never]
    #[arg(long, value_name = "WHEN", value_parser = parse::moment, conflicts_with = "admin")]
    expires: Option<String>,
    /// The database, for an admin key
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Not async itself: making the first admin key talks to the database, not to a server, and runs
/// outside the client's runtime.
pub(super) fn run(root: &RootConnectionArgs, args: KeysArgs) -> Outcome {
    match args.command {
        KeysCommand::Create(args) if args.admin => create_admin(root, &args),
        KeysCommand::Create(args) => super::client(create(root, args)),
        KeysCommand::List {
            customer,
            page,
            connection,
        } => super::client(async {
            let session = connection.admin(root)?;
            list(&session, &customer, &page).await
        }),
        KeysCommand::Revoke { id, connection } => super::client(async {
            let session = connection.admin(root)?;
            let request = Request::delete(&["admin", "api-keys", &id]);
            session.client.send(&request).await?;
            say(&format!("niyanta: {id} is revoked"));
            Ok(ExitCode::SUCCESS)
        }),
    }
}

fn create_admin(root: &RootConnectionArgs, args: &CreateArgs) -> Outcome {
    let url = args.database_url.as_deref().filter(|url| !url.is_empty());
    let (Some(url), false) = (url, args.connection.names_server(root)) else {
        return Err(Failure::usage(
            "an admin key is made in the database itself: set DATABASE_URL (or --database-url) \
             and name no server (--server, NIYANTA_SERVER)",
        ));
    };
    let name = args.name.as_deref().unwrap_or("admin");
    let secret = commands::create_admin_key(url, name)?;
    say(&format!(
        "niyanta: made the admin key {name:?} in {}; this is the only time that it is shown",
        SecretUrl::new(url)
    ));
    output::line(&secret)?;
    Ok(ExitCode::SUCCESS)
}

async fn create(root: &RootConnectionArgs, args: CreateArgs) -> Outcome {
    let session = args.connection.admin(root)?;
    let customer = args.customer.unwrap_or_default();
    let mut body = json!({"name": args.name});
    if let Some(expires) = args.expires {
        body["expires_at"] = Value::from(expires);
    }
    let path = ["admin", "customers", &customer, "api-keys"];
    let request = Request::post(&path, &body).retry(Retry::Never);
    let value = session.client.send(&request).await?;
    let Some(secret) = value["secret"].as_str() else {
        return Err(Failure::failed("the answer holds no secret"));
    };
    say(&format!(
        "niyanta: made key {} of {customer}; this is the only time that its secret is shown",
        view::text(&value["key_id"])
    ));
    match session.format {
        Format::Json => output::json(&value)?,
        Format::Table => output::line(secret)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(session: &Session, customer: &str, page: &PageArgs) -> Outcome {
    let request = Request::get(&["admin", "customers", customer, "api-keys"]);
    let list = page.fetch(&session.client, request, "api_keys").await?;
    match session.format {
        Format::Json => output::json(&list)?,
        Format::Table => output::table(
            &[
                "id", "name", "prefix", "created", "used", "expires", "revoked",
            ],
            view::rows(
                &list,
                "api_keys",
                &[
                    "key_id",
                    "name",
                    "prefix",
                    "created_at",
                    "last_used_at",
                    "expires_at",
                    "revoked_at",
                ],
            )?,
        )?,
    }
    Ok(ExitCode::SUCCESS)
}
