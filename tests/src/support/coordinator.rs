//! `niyanta serve` as a process.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::binary::niyanta_command;
use super::client::Client;
use super::network::free_port;
use super::process::Process;
use super::wait::until;

/// What one coordinator is started with: a label, where its log goes, and its environment.
#[derive(Debug, Clone)]
pub struct CoordinatorOptions {
    /// `COORDINATOR_ID`.
    pub name: String,
    /// Where its log goes.
    pub log: PathBuf,
    /// Its configuration, as environment variables. `SERVER_PORT` is chosen when it is not here.
    pub env: Vec<(String, String)>,
}

/// One coordinator. Restarts on the same port.
#[derive(Debug)]
pub struct Coordinator {
    options: CoordinatorOptions,
    port: u16,
    /// The process, for signals and logs.
    pub process: Process,
}

impl Coordinator {
    /// Starts the process without waiting for it to answer.
    #[must_use]
    pub fn spawn(options: CoordinatorOptions) -> Self {
        let port = free_port();
        let process = launch(&options, port);
        Self {
            options,
            port,
            process,
        }
    }

    /// Starts it again, on the same port and with the same environment.
    pub fn start_again(&mut self) {
        self.process = launch(&self.options, self.port);
    }

    /// Waits until `/ready` answers 200.
    pub async fn ready(&self) {
        let client = self.anonymous();
        let what = format!("{} to be ready", self.options.name);
        until(&what, Duration::from_secs(30), async || {
            let ended = self.process.exit_status();
            assert!(ended.is_none(), "{} ended: {ended:?}", self.options.name);
            let answer = client.try_get("/ready").await?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// What `/ready` says now; `None` when it does not answer.
    pub async fn readiness(&self) -> Option<Value> {
        self.anonymous()
            .try_get("/ready")
            .await
            .map(|answer| answer.body)
    }

    /// Whether it says that it leads.
    pub async fn is_leader(&self) -> bool {
        self.readiness()
            .await
            .is_some_and(|ready| ready["is_leader"] == true)
    }

    /// What `/metrics` says of this counter, named with its labels.
    pub async fn counter(&self, series: &str) -> Option<u64> {
        let page = self.anonymous().try_get("/metrics").await?;
        page.text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// A client without a key.
    #[must_use]
    pub fn anonymous(&self) -> Client {
        Client::new(&self.url(), None)
    }

    /// A client with a key.
    #[must_use]
    pub fn client(&self, key: &str) -> Client {
        Client::new(&self.url(), Some(key))
    }

    /// Base URL of its API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its label.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.options.name
    }
}

fn launch(options: &CoordinatorOptions, port: u16) -> Process {
    let mut command = niyanta_command();
    command
        .arg("serve")
        .env("COORDINATOR_ID", &options.name)
        .env("BIND_ADDRESS", "127.0.0.1")
        .env("GRPC_PORT", "0")
        .env("SERVER_PORT", port.to_string())
        .env("LOG_FORMAT", "text")
        .envs(options.env.iter().map(|(name, value)| (name, value)));
    Process::start(&options.name, &mut command, &options.log)
}
