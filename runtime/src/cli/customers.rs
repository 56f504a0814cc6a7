//! Customers and their limits, for operators.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::{
    client::{Request, Retry},
    connection::{ConnectionArgs, RootConnectionArgs, Session},
    failure::{Failure, Outcome},
    output::{self, Format},
    paging::PageArgs,
    view,
};

const FIELDS: [&str; 6] = [
    "customer_id",
    "name",
    "tier",
    "limits",
    "usage",
    "created_at",
];

/// Customers.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  niyanta customers create 'Search team' --tier standard
  niyanta customers list
  niyanta customers get cus_0192…
  niyanta customers set-limits cus_0192… --max-concurrent-workloads 20 --rate-limit-per-sec 5
  niyanta customers set-limits cus_0192… --max-queue-depth default     back to the tier's

Then: niyanta keys create --customer cus_0192… --name ci")]
pub(super) struct CustomersArgs {
    #[command(subcommand)]
    command: CustomersCommand,
}

#[derive(Debug, Subcommand)]
enum CustomersCommand {
    /// Make a customer; its id is written to standard output
    #[command(after_help = "\
Examples:
  niyanta customers create 'Search team'
  niyanta customers create 'Search team' --tier standard --max-queue-depth 5000

It needs a key of its own, and the types of its work:
  niyanta keys create --customer cus_0192… --name ci
  niyanta configs create hash_tree --customer cus_0192…")]
    Create {
        /// What people call it
        name: String,
        /// Sets the limits that are not given
        #[arg(long, value_enum)]
        tier: Option<Tier>,
        #[command(flatten)]
        limits: LimitArgs,
        #[command(flatten)]
        connection: ConnectionArgs,
    },
    /// Show one customer, its limits and use
    Get {
        /// The customer's id
        #[arg(value_name = "CUSTOMER_ID")]
        id: String,
        #[command(flatten)]
        connection: ConnectionArgs,
    },
    /// List customers
    List {
        #[command(flatten)]
        page: PageArgs,
        #[command(flatten)]
        connection: ConnectionArgs,
    },
    /// Change a customer's limits, tier or name
    #[command(visible_alias = "update")]
    SetLimits {
        /// The customer's id
        #[arg(value_name = "CUSTOMER_ID")]
        id: String,
        /// What people call it
        #[arg(long)]
        name: Option<String>,
        /// Sets the limits that nobody overrides
        #[arg(long, value_enum)]
        tier: Option<Tier>,
        #[command(flatten)]
        limits: LimitArgs,
        #[command(flatten)]
        connection: ConnectionArgs,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    Free,
    Standard,
    Premium,
    Enterprise,
}

/// What overrides the tier. `default` goes back to the tier's.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits (a number, or `default` for the tier's)")]
struct LimitArgs {
    /// Workloads running at once
    #[arg(long, value_name = "N", value_parser = limit)]
    max_concurrent_workloads: Option<Limit>,
    /// Workloads that wait and never ran
    #[arg(long, value_name = "N", value_parser = limit)]
    max_queue_depth: Option<Limit>,
    /// Requests a second, at each coordinator
    #[arg(long, value_name = "N", value_parser = limit)]
    rate_limit_per_sec: Option<Limit>,
    /// Requests at once
    #[arg(long, value_name = "N", value_parser = limit)]
    rate_limit_burst: Option<Limit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Override(u32),
    Default,
}

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "default" => Ok(Limit::Default),
        _ => text
            .parse()
            .map(Limit::Override)
            .map_err(|_| "expected a whole number or `default`".to_owned()),
    }
}

impl LimitArgs {
    /// `null` stands for the tier's limit; what is not named stays as it is.
    fn body(&self) -> Option<Value> {
        let given = [
            ("max_concurrent_workloads", self.max_concurrent_workloads),
            ("max_queue_depth", self.max_queue_depth),
            ("rate_limit_per_sec", self.rate_limit_per_sec),
            ("rate_limit_burst", self.rate_limit_burst),
        ];
        let map: Map<String, Value> = given
            .into_iter()
            .filter_map(|(name, limit)| {
                let value = match limit? {
                    Limit::Override(number) => json!(number),
                    Limit::Default => Value::Null,
                };
                Some((name.to_owned(), value))
            })
            .collect();
        (!map.is_empty()).then_some(Value::Object(map))
    }
}

impl Tier {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Standard => "standard",
            Self::Premium => "premium",
            Self::Enterprise => "enterprise",
        }
    }
}

pub(super) async fn run(root: &RootConnectionArgs, args: CustomersArgs) -> Outcome {
    match args.command {
        CustomersCommand::Create {
            name,
            tier,
            limits,
            connection,
        } => {
            let session = connection.admin(root)?;
            create(&session, &changes(Some(name), tier, &limits)).await
        }
        CustomersCommand::Get { id, connection } => {
            let session = connection.admin(root)?;
            let request = Request::get(&["admin", "customers", &id]);
            let value = session.client.send(&request).await?;
            show(&session, &value)
        }
        CustomersCommand::List { page, connection } => list(&connection.admin(root)?, &page).await,
        CustomersCommand::SetLimits {
            id,
            name,
            tier,
            limits,
            connection,
        } => {
            let body = changes(name, tier, &limits);
            if body.as_object().is_none_or(Map::is_empty) {
                return Err(Failure::usage(
                    "nothing to change: give a limit, --tier or --name",
                ));
            }
            let session = connection.admin(root)?;
            let request = Request::patch(&["admin", "customers", &id], &body);
            let value = session.client.send(&request).await?;
            show(&session, &value)
        }
    }
}

fn changes(name: Option<String>, tier: Option<Tier>, limits: &LimitArgs) -> Value {
    let fields = [
        ("name", name.map(Value::from)),
        ("tier", tier.map(|tier| Value::from(tier.as_str()))),
        ("limits", limits.body()),
    ];
    let given = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect())
}

async fn create(session: &Session, body: &Value) -> Outcome {
    let request = Request::post(&["admin", "customers"], body).retry(Retry::Never);
    let value = session.client.send(&request).await?;
    match session.format {
        Format::Json => output::json(&value)?,
        Format::Table => {
            let id = view::text(&value["customer_id"]);
            output::say(&format!(
                "niyanta: made; next: niyanta keys create --customer {id} --name NAME"
            ));
            output::line(&id)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(session: &Session, page: &PageArgs) -> Outcome {
    let request = Request::get(&["admin", "customers"]);
    let list = page.fetch(&session.client, request, "customers").await?;
    match session.format {
        Format::Json => output::json(&list)?,
        Format::Table => {
            let rows = view::entries(&list, "customers")?.iter().map(|customer| {
                let limits = &customer["limits"];
                let usage = &customer["usage"];
                vec![
                    view::text(&customer["customer_id"]),
                    view::text(&customer["name"]),
                    view::text(&customer["tier"]),
                    of(&usage["running"], &limits["max_concurrent_workloads"]),
                    of(&usage["queued"], &limits["max_queue_depth"]),
                    of(&limits["rate_limit_per_sec"], &limits["rate_limit_burst"]),
                    view::text(&customer["created_at"]),
                ]
            });
            let heading = [
                "id",
                "name",
                "tier",
                "running",
                "queued",
                "rate/burst",
                "created",
            ];
            output::table(&heading, rows)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn of(part: &Value, whole: &Value) -> String {
    format!("{}/{}", view::text(part), view::text(whole))
}

fn show(session: &Session, value: &Value) -> Outcome {
    match session.format {
        Format::Json => output::json(value)?,
        Format::Table => output::details(&view::details(value, &FIELDS))?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_changed_and_default_is_null() {
        let limits = LimitArgs {
            max_concurrent_workloads: Some(Limit::Override(5)),
            max_queue_depth: Some(Limit::Default),
            rate_limit_per_sec: None,
            rate_limit_burst: None,
        };
        assert_eq!(
            changes(None, Some(Tier::Premium), &limits),
            json!({"tier": "premium",
                "limits": {"max_concurrent_workloads": 5, "max_queue_depth": null}})
        );
        assert_eq!(
            limit("x"),
            Err("expected a whole number or `default`".into())
        );
    }
}
