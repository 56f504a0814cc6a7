//! One child process with its log in a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use super::wait::until;

/// A running child. Killed when dropped; if the test is panicking, the end of its log is printed.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: Pid,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, both output streams appended to `log`.
    #[must_use]
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        Self {
            name: name.to_owned(),
            pid: Pid::from_child(&child),
            child: Mutex::new(child),
            log: log.to_owned(),
        }
    }

    /// Process id.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal; a process that has ended is left alone.
    pub fn signal(&self, signal: Signal) {
        if self.exit_status().is_none() {
            kill_process(self.pid, signal).unwrap();
        }
    }

    /// `kill -9`, then reaps it.
    pub fn kill(&self) {
        // After a panic somewhere else the child must still be killed.
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _already_ended = child.kill();
        child.wait().unwrap();
    }

    /// Its exit status, if it has ended.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Waits for it to end by itself.
    pub async fn ended(&self, within: Duration) -> ExitStatus {
        let what = format!(
            "{} to end; its log so far:\n{}",
            self.name,
            self.log_tail(40)
        );
        until(&what, within, async || self.exit_status()).await
    }

    /// What it has written so far, on both streams.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let tail = self.log_tail(80);
            eprintln!(
                "---- {} (pid {}), end of its log ----\n{tail}\n",
                self.name,
                self.pid()
            );
        }
    }
}
