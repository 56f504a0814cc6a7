//! A real Postgres server of our own.
//!
//! `fsync` is off, `synchronous_commit` stays on: a commit survives the death of the server
//! process, which tests provoke, and not that of the machine, which they do not.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, kill_process};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::network::free_port;
use super::process::{Process, Signal};
use super::scratch::Scratch;
use super::wait::until;

/// A server on a unix socket and on a loopback port.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    owner: Option<(u32, u32)>,
    process: Option<Process>,
    databases: AtomicU32,
    scratch: Scratch,
}

impl Postgres {
    /// Makes a cluster and starts it.
    ///
    /// Postgres refuses to run as root: then it runs as the system's user `postgres`.
    pub async fn start() -> Self {
        let scratch = Scratch::new();
        let owner = rustix::process::geteuid().is_root().then(postgres_user);
        if let Some((uid, gid)) = owner {
            chown(scratch.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut this = Self {
            port: free_port(),
            owner,
            process: None,
            databases: AtomicU32::new(0),
            scratch,
        };
        this.fill_data_folder();
        this.start_again().await;
        this
    }

    /// A copy of one that is made once for each version of the server and kept beside the tests'
    /// binaries: `initdb` takes longer than most of the tests.
    fn fill_data_folder(&self) {
        let data = self.scratch.join("data");
        let version = finish(self.program("initdb").arg("--version"));
        let kept = std::env::current_exe().unwrap();
        let kept = kept.with_file_name(format!("{}.data", version.trim().replace(' ', "-")));
        if !kept.exists() {
            let options = ["-A", "trust", "-U", "postgres", "--no-sync", "--no-locale"];
            let mut initdb = self.program("initdb");
            finish(initdb.args(options).args(["-E", "UTF8", "-D"]).arg(&data));
            let draft = kept.with_extension(std::process::id().to_string());
            finish(Command::new("cp").arg("-a").arg(&data).arg(&draft));
            // Somebody else may have been faster; theirs is as good.
            if fs::rename(&draft, &kept).is_err() {
                fs::remove_dir_all(&draft).unwrap();
            }
            return;
        }
        finish(Command::new("cp").arg("-a").arg(&kept).arg(&data));
    }

    /// Starts the server again after [`Self::stop`] or [`Self::kill`], on the same port and data.
    pub async fn start_again(&mut self) {
        let mut attempts = 0;
        while !self.try_start().await {
            attempts += 1;
            assert!(attempts < 20, "postgres does not start:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops it as an operator would (fast shutdown: open connections are closed).
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal(Signal::INT);
            process.ended(Duration::from_secs(20)).await;
        }
    }

    /// Ends it at once and without a checkpoint (immediate shutdown): it recovers when it starts.
    pub async fn crash(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal(Signal::QUIT);
            process.ended(Duration::from_secs(20)).await;
        }
    }

    /// `kill -9` of the server.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGSTOP to the server process alone: open sessions go on, new connections hang.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Stops the server and all that it serves where they are: nothing is answered, nothing is lost.
    pub fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets it go on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    /// To the server process first, so that it starts no others meanwhile.
    fn signal_all(&self, signal: Signal) {
        let process = self.process.as_ref().unwrap();
        process.signal(signal);
        let parent = process.pid().as_raw_nonzero().to_string();
        for entry in fs::read_dir("/proc").unwrap() {
            let stat = entry.unwrap().path().join("stat");
            // Not a process, or one that ended meanwhile.
            let Ok(stat) = fs::read_to_string(stat) else {
                continue;
            };
            // `pid (name) state ppid …`, where the name may hold anything.
            let (head, tail) = stat.rsplit_once(')').unwrap();
            if tail.split_whitespace().nth(1) == Some(parent.as_str()) {
                let pid = head.split(' ').next().unwrap().parse().unwrap();
                // One that has just ended needs no signal.
                let _gone = kill_process(Pid::from_raw(pid).unwrap(), signal);
            }
        }
    }

    /// A new empty database, as a URL over loopback TCP.
    pub async fn create_database(&self) -> String {
        let name = format!("niyanta_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let statement = AssertSqlSafe(format!("create database {name}"));
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        self.url(&name)
    }

    /// URL of a database over loopback TCP.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The folder of the unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.scratch.path().to_owned()
    }

    /// Port, of TCP and of the unix socket.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    async fn try_start(&mut self) -> bool {
        let mut command = self.program("postgres");
        command
            .arg("-D")
            .arg(self.scratch.join("data"))
            .arg("-k")
            .arg(self.scratch.path());
        command.args([
            "-p",
            &self.port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
        ]);
        command.args([
            "-c",
            "fsync=off",
            "-c",
            "full_page_writes=off",
            "-c",
            "max_connections=200",
        ]);
        let process = Process::start("postgres", &mut command, &self.scratch.join("postgres.log"));
        let url = self.url("postgres");
        let up = until("postgres to come up", Duration::from_secs(20), async || {
            if process.exit_status().is_some() {
                return Some(false);
            }
            let connection = PgConnection::connect(&url).await.ok()?;
            connection.close().await.ok()?;
            Some(true)
        })
        .await;
        self.process = up.then_some(process);
        up
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(find_program(name));
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command.current_dir("/");
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.join("postgres.log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    /// An immediate shutdown by the server itself ends its own children too, which `kill -9` of
    /// the first process would leave behind for a moment, in a folder that is being removed.
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            self.thaw();
            process.signal(Signal::QUIT);
            for _ in 0..200 {
                if process.exit_status().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Runs a program to its end, asserts success and returns its standard output.
fn finish(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot run {command:?}: {error}. Run scripts/test, which finds what is needed")
    });
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

/// Debian keeps the server's programs out of `PATH`.
fn find_program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut installed: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    installed.sort();
    folders.extend(installed.into_iter().rev());
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

fn postgres_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .expect("a user named postgres, because Postgres refuses to run as root");
    let fields: Vec<&str> = line.split(':').collect();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}
