//! `exec`: runs `{argv, env?, cwd?, stdin?}` under a guard. What it writes, line by line, is the
//! workload's log; its exit status is the result.
//!
//! The child gets a small environment of its own, not the worker's, which may hold credentials; and
//! `NIYANTA_WORKLOAD_ID`, `NIYANTA_ATTEMPT` and `NIYANTA_GENERATION`, the fencing token.

use super::{
    Context, Outcome, WorkloadHandler,
    guard::{GUARD_FAILED, READY, Spec},
};
use async_trait::async_trait;
use niyanta_core::time::{Duration, Timestamp};
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::watch,
    time::timeout,
};

/// The workload type `exec`.
#[derive(Debug, Clone)]
pub struct Exec {
    guard: Vec<OsString>,
    lock: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    argv: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cwd: Option<String>,
    stdin: Option<String>,
}

impl Exec {
    /// With the guard's command, and the file that guards lock while their children live.
    #[must_use]
    pub const fn new(guard: Vec<OsString>, lock: Option<PathBuf>) -> Self {
        Self { guard, lock }
    }

    fn spawn(&self) -> io::Result<Child> {
        let (program, args) = self
            .guard
            .split_first()
            .ok_or_else(|| io::Error::other("there is no guard command"))?;
        let mut command = Command::new(program);
        command.args(args);
        if let Some(lock) = &self.lock {
            command.arg("--lock").arg(lock);
        }
        let kept = KEPT_ENVIRONMENT.iter();
        let kept = kept.filter_map(|name| Some((*name, std::env::var_os(name)?)));
        command
            .env_clear()
            .envs(kept)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C in the worker's terminal is for the worker alone.
            .process_group(0)
            .spawn()
    }
}

#[async_trait]
impl WorkloadHandler for Exec {
    fn workload_type(&self) -> &'static str {
        "exec"
    }

    async fn run(&self, context: Context) -> Outcome {
        let params = match serde_json::from_value::<Params>(context.input_params.clone()) {
            Ok(params) => params,
            Err(error) => return Outcome::permanent(format!("input_params: {error}")),
        };
        if let Err(problem) = check(&params) {
            return Outcome::permanent(format!("input_params: {problem}"));
        }
        if context.stop_cause().is_some() {
            return Outcome::Stopped;
        }
        match self.spawn() {
            Ok(guard) => run(&context, guard, params).await,
            Err(error) => Outcome::transient(format!("the guard cannot be started: {error}")),
        }
    }

    fn kill_patience(&self) -> Duration {
        Duration::from_secs(10)
    }
}

fn check(params: &Params) -> Result<(), &'static str> {
    if params.argv.first().is_none_or(String::is_empty) {
        return Err("argv must name a program");
    }
    let texts = params.argv.iter().chain(params.env.values());
    let texts = texts.chain(params.env.keys()).chain(&params.cwd);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err("must not contain U+0000");
    }
    let is_name = |name: &String| !name.is_empty() && !name.contains('=');
    if !params.env.keys().all(is_name) {
        return Err("env must map names without = to texts");
    }
    Ok(())
}

async fn run(context: &Context, mut guard: Child, params: Params) -> Outcome {
    let pipes = (guard.stdin.take(), guard.stdout.take(), guard.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Outcome::transient("the guard has no pipes");
    };
    let mut stdout = BufReader::new(stdout);
    let last_words = Arc::new(Mutex::new(None));
    let (status, ()) = tokio::join!(
        converse(context, guard, stdin, &mut stdout, params),
        log_lines(context, BufReader::new(stderr), "warn", Some(&last_words)),
    );
    let status = match status {
        Ok(status) => status,
        Err(error) => return Outcome::transient(format!("the guard failed: {error}")),
    };
    let last_words = last_words
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    outcome(context, status, last_words)
}

/// Hands the guard its work, passes on stops and leases, and waits for its end.
async fn converse(
    context: &Context,
    mut guard: Child,
    mut stdin: ChildStdin,
    stdout: &mut (impl AsyncBufRead + Unpin),
    params: Params,
) -> io::Result<ExitStatus> {
    let mut lease = context.lease();
    let spec = Spec {
        argv: params.argv,
        env: with_token(context, params.env),
        cwd: params.cwd,
        stdin: params.stdin,
        lease: lease.as_mut().map(|lease| lease.borrow_and_update().0),
    };
    let handed_over = timeout(READY_WAIT, hand_over(&mut stdin, stdout, &spec)).await;
    if !matches!(handed_over, Ok(Ok(()))) {
        // It has started nothing, or is killing it for want of us.
        drop(stdin);
        guard.wait().await?;
        return Err(io::Error::other("it did not take its work"));
    }
    let (status, ()) = tokio::join!(
        control(context, &mut guard, stdin, lease),
        log_lines(context, stdout, "info", None),
    );
    status
}

async fn hand_over(
    stdin: &mut ChildStdin,
    stdout: &mut (impl AsyncBufRead + Unpin),
    spec: &Spec,
) -> io::Result<()> {
    let mut line = String::new();
    stdout.read_line(&mut line).await?;
    if line.trim_end() != READY {
        return Err(io::Error::other("it did not say that it is ready"));
    }
    let mut bytes = serde_json::to_vec(spec)?;
    bytes.push(b'\n');
    stdin.write_all(&bytes).await?;
    stdin.flush().await
}

/// Until the guard has ended. A broken pipe to it is no news: its end follows.
async fn control(
    context: &Context,
    guard: &mut Child,
    stdin: ChildStdin,
    mut lease: Option<watch::Receiver<Timestamp>>,
) -> io::Result<ExitStatus> {
    let mut stdin = Some(stdin);
    let mut is_asked = false;
    loop {
        let renewed = async {
            if let Some(lease) = &mut lease
                && lease.changed().await.is_ok()
            {
                return lease.borrow_and_update().0;
            }
            std::future::pending().await
        };
        let line = tokio::select! {
            biased;
            status = guard.wait() => return status,
            () = context.killed(), if stdin.is_some() => {
                // The end of its input is what kills.
                stdin = None;
                continue;
            }
            _ = context.stopped(), if !is_asked => {
                is_asked = true;
                "term\n".to_owned()
            }
            until = renewed => format!("lease {until}\n"),
        };
        if let Some(pipe) = &mut stdin {
            let _ = pipe.write_all(line.as_bytes()).await;
        }
    }
}

fn with_token(context: &Context, mut env: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let token = [
        ("NIYANTA_WORKLOAD_ID", context.workload.to_string()),
        ("NIYANTA_ATTEMPT", context.attempt.to_string()),
        ("NIYANTA_GENERATION", context.generation.to_string()),
    ];
    env.extend(token.map(|(name, value)| (name.to_owned(), value)));
    env
}

/// Logs every line until the end of the stream; a very long one in parts.
async fn log_lines(
    context: &Context,
    mut stream: impl AsyncBufRead + Unpin,
    level: &'static str,
    last: Option<&Mutex<Option<String>>>,
) {
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut part = (&mut stream).take(PART_BYTES);
        match part.read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end_matches(['\n', '\r']).to_owned();
                if let Some(last) = last.filter(|_| !text.is_empty()) {
                    *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.clone());
                }
                context.log(level, text).await;
            }
            Err(error) => {
                context
                    .log("warn", format!("its output cannot be read: {error}"))
                    .await;
                return;
            }
        }
    }
}

fn outcome(context: &Context, status: ExitStatus, last_words: Option<String>) -> Outcome {
    if context.stop_cause().is_some() {
        // Many programs exit 0 when they are asked to end: that is no completion.
        return Outcome::Stopped;
    }
    let Some(code) = status.code() else {
        return Outcome::transient("the guard was killed");
    };
    let said = last_words
        .map(|words| format!(": {words}"))
        .unwrap_or_default();
    match code {
        0 => Outcome::Completed(Some(json!({ "exit_code": 0 }))),
        126 | 127 => Outcome::permanent(format!("exit status {code}{said}")),
        code if code == i32::from(GUARD_FAILED) => {
            Outcome::transient(format!("exit status {code}, or the guard failed{said}"))
        }
        code => Outcome::transient(format!("exit status {code}{said}")),
    }
}

/// Of the worker's environment, what programs need to find their way.
const KEPT_ENVIRONMENT: &[&str] = &[
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR",
];
const READY_WAIT: Duration = Duration::from_secs(10);
/// A line longer than this is logged in parts.
const PART_BYTES: u64 = 8 * 1024;
