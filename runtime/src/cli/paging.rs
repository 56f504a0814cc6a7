//! Lists that come in pages.

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{Client, Request},
    failure::Outcome,
    output::say,
    view,
};

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Paging")]
pub(super) struct PageArgs {
    /// Entries on a page, 1 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: Option<u32>,
    /// Go on where an earlier page ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Fetch all pages
    #[arg(long)]
    all: bool,
}

impl PageArgs {
    /// All pages.
    pub(super) fn everything() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// Fetches a page or, where asked, all of them as one list. Says when there is more.
    pub(super) async fn fetch(
        &self,
        client: &Client,
        request: Request<'_>,
        name: &'static str,
    ) -> Outcome<Value> {
        let request = request.query_if("limit", self.limit);
        let mut cursor = self.cursor.clone();
        let mut gathered: Vec<Value> = Vec::new();
        loop {
            let page = request.clone().query_if("cursor", cursor.as_ref());
            let list = client.send(&page).await?;
            let next = next_cursor(&list);
            if !self.all {
                if let Some(next) = next {
                    say(&format!("niyanta: more follow: --cursor {next}, or --all"));
                }
                return Ok(list);
            }
            gathered.extend_from_slice(view::entries(&list, name)?);
            // A cursor that does not move would turn forever.
            if next.is_none() || next == cursor {
                return Ok(json!({
                    name: gathered,
                    "pagination": {"next_cursor": null, "has_more": false},
                }));
            }
            cursor = next;
        }
    }
}

/// Where the next page begins, when there is one.
pub(super) fn next_cursor(list: &Value) -> Option<String> {
    let pagination = &list["pagination"];
    let more = pagination["has_more"].as_bool().unwrap_or(true);
    let cursor = pagination["next_cursor"].as_str()?;
    more.then(|| cursor.to_owned())
}
