//! Follows a workload until something is true of it, and shows how it goes on standard error: a bar
//! on a terminal, a line for each change elsewhere.
//!
//! The server's long poll answers at a new version, at the end or when its time is up. Progress and
//! the reason for waiting do not raise the version, so while they matter the poll is kept short. A
//! server that answers at once instead of waiting is asked about every 0.7 s.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    client::{Request, Retry},
    connection::Session,
    failure::Outcome,
    output::{clean, say},
    view::{self, Workload},
};

const LEAST_PAUSE: Duration = Duration::from_millis(700);

/// Follows until `is_over`, handing each change to `on_change`; the workload as it was last seen.
pub(super) async fn follow(
    session: &Session,
    id: &str,
    is_over: impl Fn(&Workload) -> bool,
    mut on_change: impl FnMut(&Value) -> Outcome<()>,
) -> Outcome<(Workload, Value)> {
    let display = Display::new(id);
    let mut seen: Option<(Workload, Value)> = None;
    loop {
        let asked = Instant::now();
        let mut request = Request::get(&["workloads", id]).retry(Retry::STUBBORN);
        if let Some((workload, _)) = &seen {
            request = request
                .query("wait", patience(workload))
                .query("since_version", workload.version);
        }
        let value = session.client.send(&request).await?;
        let workload: Workload = view::read(&value)?;
        let is_newer = seen
            .as_ref()
            .is_none_or(|(before, _)| before.version < workload.version);
        if seen.as_ref().is_none_or(|(_, before)| *before != value) {
            display.show(&workload);
            on_change(&value)?;
        }
        if is_over(&workload) {
            display.close();
            return Ok((workload, value));
        }
        seen = Some((workload, value));
        if !is_newer {
            sleep(LEAST_PAUSE.saturating_sub(asked.elapsed())).await;
        }
    }
}

/// Seconds that one poll may take.
fn patience(workload: &Workload) -> u32 {
    match workload.status.as_str() {
        "RUNNING" => 1,
        "PENDING" => 5,
        _ => 25,
    }
}

/// Where progress is shown.
enum Display {
    Bar(ProgressBar),
    Lines(std::cell::RefCell<String>),
}

impl Display {
    fn new(id: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines(std::cell::RefCell::default());
        }
        let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
        let template = "{prefix} [{bar:30}] {pos:>3}% {elapsed} {wide_msg}";
        // The template is a constant; should it ever be wrong, the default bar is shown.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(id.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self::Bar(bar)
    }

    fn show(&self, workload: &Workload) {
        let percent = workload.progress_percent.unwrap_or(0.0).clamp(0.0, 100.0);
        let status = &workload.status;
        let remark = clean(&workload.remark());
        match self {
            Self::Bar(bar) => {
                let is_done = workload.status == "COMPLETED";
                bar.set_position(if is_done { 100 } else { whole(percent) });
                bar.set_message(format!("{status} {remark}"));
            }
            Self::Lines(last) => {
                let id = &workload.workload_id;
                let line = format!("{id} {status} {percent:.0}% {remark}");
                if *last.borrow() != line {
                    say(line.trim_end());
                    *last.borrow_mut() = line;
                }
            }
        }
    }

    fn close(&self) {
        match self {
            Self::Bar(bar) => bar.abandon(),
            Self::Lines(_) => {}
        }
    }
}

/// A percentage as a number of steps of the bar.
fn whole(percent: f64) -> u64 {
    (0..100)
        .take_while(|step| f64::from(*step) < percent)
        .count() as u64
}
