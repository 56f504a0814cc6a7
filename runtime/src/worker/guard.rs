//! `niyanta guard`: stands between the worker and one child, and outlives the worker by just as long
//! as it takes to kill that child and everything that came of it.
//!
//! The worker talks to it through its standard input: one line of JSON ([`Spec`]) says what to run,
//! then `term` asks the child's process group to end, `lease N` moves the moment of
//! `CLOCK_BOOTTIME` (nanoseconds) by which it must have ended, and the end of the input kills. So the
//! child dies when the worker is killed, and when the worker is merely stopped for longer than its
//! lease. Before it asks for its work (it says `ready`) it locks the `children` file of the worker's
//! state folder, and holds that until every descendant is gone; see [`super::state_dir`].
//!
//! The child is this program once more (`--leaf`), which asks the kernel to be killed when the guard
//! dies, and then becomes the wanted program: that cannot be done from outside without unsafe code.
//! Descendants that leave the process group are found because the guard is their subreaper. What is
//! not covered: grandchildren, if the guard itself is killed with SIGKILL.

use crate::clock::{Clock as _, SystemClock};
use niyanta_core::time::{Duration, Timestamp};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{
        Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getpid, getppid, kill_process,
        kill_process_group, set_child_subreaper, set_parent_process_death_signal, wait, waitid,
    },
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::{self, BufRead as _, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) argv: Vec<String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) cwd: Option<String>,
    #[serde(default)]
    pub(super) stdin: Option<String>,
    /// Nanoseconds of `CLOCK_BOOTTIME`; none when the work outlives the lease.
    #[serde(default)]
    pub(super) lease: Option<u64>,
}

/// What the guard says when it can take its work.
pub(super) const READY: &str = "ready";

/// Runs the guard with the arguments after `guard`, and gives the status to exit with: the child's,
/// or 128 and the number of the signal that ended it.
#[must_use]
pub fn run(args: Vec<OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let status = match args.next() {
        Some(first) if first == "--leaf" => become_leaf(&mut args),
        Some(first) if first == "--lock" => match args.next() {
            Some(path) => guard(Some(&PathBuf::from(path))),
            None => Err(io::Error::other("--lock needs a path")),
        },
        Some(other) => Err(io::Error::other(format!(
            "unknown argument {}",
            other.display()
        ))),
        None => guard(None),
    };
    match status {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            complain(&format!("guard: {error}"));
            ExitCode::from(GUARD_FAILED)
        }
    }
}

/// Becomes the wanted program, under the guard's process id that is the first argument.
fn become_leaf(args: &mut dyn Iterator<Item = OsString>) -> io::Result<u8> {
    let guard = args
        .next()
        .and_then(|text| text.to_str()?.parse::<i32>().ok());
    let program = args
        .next()
        .ok_or_else(|| io::Error::other("--leaf needs a process id and a program"))?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before the kernel was asked.
    if getppid().map(Pid::as_raw_pid) != guard {
        return Ok(GUARD_FAILED);
    }
    let error = Command::new(&program).args(args).exec();
    complain(&format!("{}: {error}", program.display()));
    let is_absent = error.kind() == io::ErrorKind::NotFound;
    Ok(if is_absent { 127 } else { 126 })
}

fn guard(lock: Option<&Path>) -> io::Result<u8> {
    let _held: Option<File> = match lock {
        Some(path) => {
            let file = super::state_dir::lock_file(path)?;
            flock(&file, FlockOperation::LockShared)?;
            Some(file)
        }
        None => None,
    };
    set_child_subreaper(Some(getpid()))?;
    let mut stdout = io::stdout();
    stdout.write_all(format!("{READY}\n").as_bytes())?;
    stdout.flush()?;
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Ok(GUARD_FAILED);
    }
    let spec: Spec = serde_json::from_str(&line)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let status = runtime.block_on(watch(spec));
    // The threads that read and wait must not hold up the end.
    runtime.shutdown_background();
    status
}

/// What happens to the guard.
enum Happening {
    Control(String),
    WorkerGone,
    LeafEnded,
}

async fn watch(spec: Spec) -> io::Result<u8> {
    let mut lease = spec.lease.map(Timestamp);
    // Before the child exists, so that none of these can end the guard without it.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let leaf = spawn(spec)?;
    let (sender, mut happenings) = mpsc::unbounded_channel();
    watch_leaf(leaf, sender.clone());
    read_control(sender);
    loop {
        let now = SystemClock.now();
        if lease.is_some_and(|lease| now >= lease) {
            break;
        }
        let left = lease.map_or(LONGEST_SLEEP, |lease| lease.since(now));
        tokio::select! {
            biased;
            Some(happening) = happenings.recv() => match happening {
                Happening::LeafEnded | Happening::WorkerGone => break,
                Happening::Control(line) => match line.split_once(' ') {
                    Some(("lease", nanos)) => lease = nanos.parse().ok().map(Timestamp).or(lease),
                    Some(_) | None => ask_to_end(leaf),
                },
            },
            _ = terminate.recv() => ask_to_end(leaf),
            _ = interrupt.recv() => ask_to_end(leaf),
            _ = hangup.recv() => ask_to_end(leaf),
            () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
        }
    }
    kill_everything(leaf).await
}

fn spawn(spec: Spec) -> io::Result<Pid> {
    let mut command = Command::new(own_program()?);
    command
        .arg("guard")
        .arg("--leaf")
        .arg(getpid().as_raw_pid().to_string())
        .args(&spec.argv)
        .envs(&spec.env)
        .process_group(0)
        .stdin(if spec.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    let mut child = command.spawn()?;
    if let (Some(mut pipe), Some(text)) = (child.stdin.take(), spec.stdin) {
        // A child that does not read its input must not hold up the guard.
        std::thread::spawn(move || pipe.write_all(text.as_bytes()));
    }
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("the child has no process id"))
}

/// This very program, also after its file was replaced.
pub(super) fn own_program() -> io::Result<PathBuf> {
    let linux = Path::new("/proc/self/exe");
    if linux.exists() {
        return Ok(linux.to_owned());
    }
    std::env::current_exe()
}

/// Says when the leaf has ended, and leaves it unreaped: until then its process group's id cannot
/// be anybody else's.
fn watch_leaf(leaf: Pid, sender: mpsc::UnboundedSender<Happening>) {
    std::thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(leaf), options), Err(Errno::INTR)) {}
        sender.send(Happening::LeafEnded)
    });
}

fn read_control(sender: mpsc::UnboundedSender<Happening>) {
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if sender.send(Happening::Control(line)).is_err() {
                return;
            }
        }
        // Without a receiver the guard is ending already.
        let _ = sender.send(Happening::WorkerGone);
    });
}

fn ask_to_end(leaf: Pid) {
    signal_group(leaf, Signal::TERM);
}

/// Fails only when nobody of the group is left to be signalled, which is as good.
fn signal_group(leaf: Pid, signal: Signal) {
    let _ = kill_process_group(leaf, signal);
}

/// Kills and reaps until nothing is left that came of the leaf. Gives the leaf's exit status.
async fn kill_everything(leaf: Pid) -> io::Result<u8> {
    signal_group(leaf, Signal::KILL);
    let mut status = GUARD_FAILED;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, ended))) if pid == leaf => status = exit_status(ended),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => {
                for child in children() {
                    // It may have ended since.
                    let _ = kill_process(child, Signal::KILL);
                }
                tokio::time::sleep(REAP_INTERVAL).await;
            }
            Err(Errno::CHILD) => return Ok(status),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The direct children of this process, which descendants without a parent become.
fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let parse = |pid: &str| Pid::from_raw(pid.parse().ok()?);
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(parse)
                .collect::<Vec<_>>()
        })
        .collect()
}

fn exit_status(status: WaitStatus) -> u8 {
    let signalled = status.terminating_signal().map(|signal| 128 + signal);
    let code = status.exit_status().or(signalled);
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(GUARD_FAILED)
}

/// Standard error is the workload's log.
fn complain(text: &str) {
    // If nobody can be told, the exit status has to do.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Neither a child's status that means something here nor a signal's.
pub(super) const GUARD_FAILED: u8 = 125;
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
const REAP_INTERVAL: Duration = Duration::from_millis(5);
