//! A real NATS server of our own.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpStream;

use super::nats_security::NatsSecurity;
use super::network::free_port;
use super::process::{Process, Signal};
use super::scratch::Scratch;
use super::wait::until;

/// A server on a loopback port.
#[derive(Debug)]
pub struct Nats {
    port: u16,
    max_payload: usize,
    security: Option<NatsSecurity>,
    process: Option<Process>,
    scratch: Scratch,
}

impl Nats {
    /// Starts a server with NATS's own default limit of 1 MiB a message.
    pub async fn start() -> Self {
        Self::start_with_max_payload(1 << 20).await
    }

    /// Starts a server that takes messages of at most `max_payload` bytes.
    pub async fn start_with_max_payload(max_payload: usize) -> Self {
        Self::start_as(max_payload, None, Scratch::new()).await
    }

    /// Starts a server that speaks TLS alone and knows its clients by their credentials.
    pub async fn start_secured() -> Self {
        let scratch = Scratch::new();
        let security = NatsSecurity::new(scratch.path());
        Self::start_as(1 << 20, Some(security), scratch).await
    }

    async fn start_as(
        max_payload: usize,
        security: Option<NatsSecurity>,
        scratch: Scratch,
    ) -> Self {
        let mut this = Self {
            port: free_port(),
            max_payload,
            security,
            process: None,
            scratch,
        };
        this.start_again().await;
        this
    }

    /// Starts it again after [`Self::kill`], on the same port.
    pub async fn start_again(&mut self) {
        let config = self.scratch.join("nats.conf");
        fs::write(
            &config,
            format!(
                "host: 127.0.0.1\nport: {}\nmax_payload: {}\n{}",
                self.port,
                self.max_payload,
                self.security
                    .as_ref()
                    .map_or("", NatsSecurity::server_config)
            ),
        )
        .unwrap();
        let mut command = Command::new("nats-server");
        command.arg("-c").arg(&config);
        self.process = Some(Process::start(
            "nats-server",
            &mut command,
            &self.scratch.join("nats.log"),
        ));
        let port = self.port;
        until(
            "nats-server to come up",
            Duration::from_secs(10),
            async || TcpStream::connect(("127.0.0.1", port)).await.ok(),
        )
        .await;
    }

    /// `kill -9` of the server.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// A signal to the server, for example SIGSTOP.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// The port of the server.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        match self.security {
            Some(_) => format!("tls://localhost:{}", self.port),
            None => format!("nats://127.0.0.1:{}", self.port),
        }
    }

    /// What a client of a secured server is told besides the URL.
    #[must_use]
    pub fn client_env(&self) -> Vec<(&'static str, String)> {
        self.security
            .as_ref()
            .map(NatsSecurity::client_env)
            .unwrap_or_default()
    }
}
