//! `niyanta migrate`, and the first admin key, which need the database alone.

use super::async_runtime;
use crate::{
    config::Config,
    http::auth,
    store::{self, AdminActor, KeyRecord},
};
use std::{
    io::{self, Write},
    process::ExitCode,
};
use uuid::Uuid;

/// Brings the database to this version. `repair` also makes lease and fence rows that are missing.
pub fn migrate(config: Config, repair: bool) -> anyhow::Result<ExitCode> {
    let report = async_runtime()?.block_on(store::migrate(config.database_url.expose(), repair))?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "schema version {}, {} migrations applied",
        report.version, report.applied
    )?;
    for table in report.repaired {
        writeln!(out, "made the missing {table} row again")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes an admin key directly in the database and returns its secret.
pub fn create_admin_key(database_url: &str, name: &str) -> anyhow::Result<String> {
    async_runtime()?.block_on(async {
        let incarnation = Uuid::new_v4().simple().to_string().parse()?;
        let store = store::open(database_url, &store::Options::new(incarnation)).await?;
        store.check_schema().await?;
        let key = auth::new_key();
        let record = KeyRecord {
            id: key.id,
            customer: None,
            name: name.to_owned(),
            prefix: key.prefix,
            secret_hash: key.secret_hash,
            expires_at: None,
        };
        let created = store.create_key(&record, &AdminActor::CommandLine).await?;
        anyhow::ensure!(created.is_some(), "the database did not take the key");
        Ok(key.secret.expose().to_owned())
    })
}
