//! `niyanta dev`: everything in one process, ready to try.
//!
//! Keeps its state in one folder, which one process uses at a time: the lock on it proves that the
//! process before has ended. `dev.json` appears when everything is ready and goes when it stops
//! being so.

use super::{asked_to_stop, async_runtime, exit_code, new_incarnation, serve, worker};
use crate::{
    ambient::SystemAmbient,
    clock::SystemClock,
    config::{Config, LogLevel},
    http::auth,
    metrics,
    node::{Node, Ports},
    store::{
        self, AdminActor, ConfigId, ConfigRecord, CreateConfig, CustomerRecord, KeyRecord,
        LimitOverrides, Revision, Store, Tier,
    },
    telemetry,
};
use anyhow::Context;
use niyanta_core::{
    ids::{CustomerId, WorkloadType},
    workload::OnLeaseLoss,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{process::Command, time::timeout};
use tracing::info;
use uuid::Uuid;

/// The types that the worker of `dev` runs, registered for its customer.
const BUILT_IN: [(&str, &str); 3] = [
    ("sleep", "sleeps for {seconds}"),
    ("hash_tree", "hashes all files below {path}"),
    ("exec", "runs a program: {argv, env?, cwd?, stdin?}"),
];

/// A leader of its own is here well within this.
const LEADS_WITHIN: Duration = Duration::from_secs(30);

/// What `dev.json` holds.
#[derive(Serialize)]
struct DevFile {
    server: String,
    api_key: String,
    admin_key: String,
}

/// The secrets of the one customer and the one admin, kept between runs.
#[derive(Serialize, Deserialize)]
struct DevKeys {
    api_key: String,
    admin_key: String,
}

/// Everything in one process. `data_dir` keeps state and gets `dev.json`; `demo` is a folder to hash
/// before the eyes of whoever started it.
pub fn dev(config: Config, data_dir: PathBuf, demo: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    // A demonstration is watched: what goes well would be logged right through it.
    let level = match (&demo, config.log_level) {
        (Some(_), LogLevel::Info) => LogLevel::Warn,
        (Some(_) | None, level) => level,
    };
    telemetry::start(level, config.log_format);
    serve::allow_connections();
    async_runtime()?.block_on(run(config, data_dir, demo))
}

async fn run(config: Config, data_dir: PathBuf, demo: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let demo = demo
        .map(|path| {
            path.canonicalize()
                .with_context(|| format!("--demo {}", path.display()))
        })
        .transpose()?;
    fs::create_dir_all(&data_dir).with_context(|| format!("data folder {}", data_dir.display()))?;
    let _lock = lock(&data_dir)?;
    let dev_json = data_dir.join("dev.json");
    remove_if_there(&dev_json)?;

    store::migrate(config.database_url.expose(), false).await?;
    let incarnation = new_incarnation()?;
    let ports = Ports {
        store: serve::open_store(&config, &incarnation).await?,
        broker: serve::open_broker(&config).await?,
        clock: Arc::new(SystemClock),
        ambient: Arc::new(SystemAmbient),
        metrics: metrics::install()?,
    };
    let (store, broker) = (Arc::clone(&ports.store), Arc::clone(&ports.broker));
    let mut node = Node::start(&config, incarnation, rand::random(), ports).await?;
    let keys = ensure_tenant(store.as_ref(), &data_dir.join("keys.json")).await?;
    let mut leadership = node.leadership();
    timeout(LEADS_WITHIN, leadership.wait_for(|now| now.is_leader))
        .await
        .context("did not become leader of its own database")??;
    let worker = worker::start_built_in(data_dir.join("worker"), broker, config.shutdown_timeout)?;

    let file = DevFile {
        server: server_url(node.address()),
        api_key: keys.api_key,
        admin_key: keys.admin_key,
    };
    write_atomically(&dev_json, &serde_json::to_vec_pretty(&file)?)?;
    greet(&file, &dev_json)?;
    let mut demo = demo.map(|path| start_demo(&file, &path)).transpose()?;
    tokio::select! {
        biased;
        asked = asked_to_stop() => asked?,
        ended = node.ended() => {
            ended?;
            anyhow::bail!("the coordinator ended by itself");
        }
    }
    info!("stopping");
    remove_if_there(&dev_json)?;
    if let Some(child) = &mut demo {
        // It may have ended long ago.
        child.start_kill().ok();
    }
    worker.stop().await;
    Ok(exit_code(node.shutdown(config.shutdown_timeout).await))
}

/// One process a folder; the lock goes with the process, however it ends.
fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.try_lock().map_err(|_| {
        anyhow::anyhow!(
            "another `niyanta dev` uses {}: stop it, or give this one its own --data-dir",
            data_dir.display()
        )
    })?;
    Ok(file)
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    remove_stale(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Whoever waits for the file reads all of it. It holds secrets, so it is its owner's alone.
fn write_atomically(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let unfinished = path.with_extension("new");
    let write = || -> io::Result<()> {
        remove_stale(&unfinished)?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The keys of the run before when the database still knows them; else a new customer and new keys.
async fn ensure_tenant(store: &dyn Store, path: &Path) -> anyhow::Result<DevKeys> {
    if let Some(keys) = read_keys(path)?
        && let Some(customer) = customer_of(store, &keys).await?
    {
        ensure_configs(store, customer).await?;
        return Ok(keys);
    }
    let customer = CustomerRecord {
        id: CustomerId(Uuid::now_v7().as_u128()),
        name: "dev".to_owned(),
        tier: Tier::Enterprise,
        overrides: LimitOverrides::default(),
    };
    store
        .create_customer(&customer, &AdminActor::CommandLine)
        .await?;
    ensure_configs(store, customer.id).await?;
    let keys = DevKeys {
        api_key: create_key(store, Some(customer.id)).await?,
        admin_key: create_key(store, None).await?,
    };
    write_atomically(path, &serde_json::to_vec_pretty(&keys)?)?;
    Ok(keys)
}

fn read_keys(path: &Path) -> anyhow::Result<Option<DevKeys>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is damaged: remove it to get new keys", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The customer, when both keys still work.
async fn customer_of(store: &dyn Store, keys: &DevKeys) -> anyhow::Result<Option<CustomerId>> {
    let api = find_key(store, &keys.api_key).await?;
    let admin = find_key(store, &keys.admin_key).await?;
    Ok(match (api, admin) {
        (Some(api), Some(admin)) if admin.customer.is_none() => api.customer,
        (Some(_) | None, Some(_) | None) => None,
    })
}

async fn find_key(store: &dyn Store, secret: &str) -> anyhow::Result<Option<store::KeyRow>> {
    let Some(secret) = auth::Secret::parse(secret) else {
        return Ok(None);
    };
    let found = store.find_key(&secret.hash()).await?;
    Ok(found.filter(|key| key.revoked_at.is_none()))
}

async fn create_key(store: &dyn Store, customer: Option<CustomerId>) -> anyhow::Result<String> {
    let key = auth::new_key();
    let record = KeyRecord {
        id: key.id,
        customer,
        name: "dev".to_owned(),
        prefix: key.prefix,
        secret_hash: key.secret_hash,
        expires_at: None,
    };
    let created = store.create_key(&record, &AdminActor::CommandLine).await?;
    anyhow::ensure!(created.is_some(), "the database did not take a new key");
    Ok(key.secret.expose().to_owned())
}

/// Registers the built-in types that the customer does not have.
async fn ensure_configs(store: &dyn Store, customer: CustomerId) -> anyhow::Result<()> {
    for (name, description) in BUILT_IN {
        let workload_type: WorkloadType = name.parse()?;
        let config = ConfigRecord {
            id: ConfigId(Uuid::now_v7().as_u128()),
            workload_type,
            description: Some(description.to_owned()),
            config_json: serde_json::json!({}),
            resource_limits: serde_json::json!({"cpu_cores": null, "memory_mb": null, "disk_mb": null}),
            checkpoint_interval_sec: 30,
            max_retries: 3,
            timeout_seconds: 3_600,
            on_lease_loss: OnLeaseLoss::Stop,
        };
        loop {
            let found = store.customer(customer).await?;
            let revision = found.map_or(Revision::ZERO, |view| view.revision);
            match store.create_config(customer, &config, revision).await? {
                CreateConfig::Created(_) | CreateConfig::TypeTaken => break,
                // The customer of a data folder is served already.
                CreateConfig::Overtaken => {}
                CreateConfig::NoCustomer => anyhow::bail!("{customer} is gone"),
            }
        }
    }
    Ok(())
}

/// Where clients reach an address that was bound; a wildcard is not one.
fn server_url(address: SocketAddr) -> String {
    let ip = if !address.ip().is_unspecified() {
        address.ip()
    } else if address.is_ipv4() {
        std::net::Ipv4Addr::LOCALHOST.into()
    } else {
        std::net::Ipv6Addr::LOCALHOST.into()
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

fn greet(file: &DevFile, dev_json: &Path) -> anyhow::Result<()> {
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "niyanta".to_owned());
    writeln!(
        io::stdout().lock(),
        "\nNiyanta is ready at {server}: coordinator, broker, database and one worker in this process.\n\
         \n  In another terminal:\n\
         \n    {program} submit sleep --params '{{\"seconds\": 5}}' --wait\
         \n    {program} submit hash_tree --params '{{\"path\": \"/usr/include\"}}' --wait\
         \n    {program} submit exec --params '{{\"argv\": [\"sh\", \"-c\", \"echo hello\"]}}' --wait\
         \n    {program} list\n\
         \n  The keys are in {path}; the commands above find them there by themselves.\
         \n  Ctrl-C stops everything; what was submitted stays.\n",
        server = file.server,
        path = dev_json.display(),
    )?;
    Ok(())
}

/// Hashes a folder as a customer would: with the command line, over HTTP.
fn start_demo(file: &DevFile, path: &Path) -> anyhow::Result<tokio::process::Child> {
    let params = serde_json::json!({ "path": path }).to_string();
    writeln!(
        io::stdout().lock(),
        "  Trying it: niyanta submit hash_tree --params '{params}' --wait\n"
    )?;
    Command::new(std::env::current_exe()?)
        .args(["submit", "hash_tree", "--wait", "--params", &params])
        .env("NIYANTA_SERVER", &file.server)
        .env("NIYANTA_API_KEY", &file.api_key)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("could not start the demo")
}
