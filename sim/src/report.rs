//! A run as one page that needs nothing else: no network, no server, no build step.
//!
//! Owns what the page is given; how it is drawn stands in `report/page.html`. A lane for each node,
//! terms, leases and attempts as bars, messages, calls and statements as arrows, the story beside it.

use crate::{
    Outcome, Plan,
    clock::Moment,
    picture::Picture,
    story::{self, law},
};
use serde::Serialize;

#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    command: &'a str,
    bug: Option<&'static str>,
    violation: Option<Wrong<'a>>,
    lanes: Vec<Lane>,
    lines: Vec<Told<'a>>,
    #[serde(flatten)]
    picture: &'a Picture,
    /// The end of the run, in microseconds.
    end: u64,
    /// How much of what led to the violation is seen at first, in microseconds.
    focus: u64,
}

#[derive(Serialize)]
struct Wrong<'a> {
    property: &'a str,
    law: &'a str,
    what: String,
    at: u64,
    step: u64,
}

#[derive(Serialize)]
struct Lane {
    id: String,
    kind: &'static str,
    short: &'static str,
    what: String,
}

#[derive(Serialize)]
struct Told<'a> {
    at: u64,
    step: u64,
    who: &'a str,
    text: &'a str,
    bad: bool,
}

/// The page of a run whose story was told.
///
/// # Errors
///
/// When the run cannot be written as JSON, which no run can cause.
pub fn page(
    title: &str,
    command: &str,
    plan: &Plan,
    outcome: &Outcome,
) -> Result<String, serde_json::Error> {
    let violation = outcome.violation.as_ref();
    let end = violation.map(|violation| violation.at);
    let last = outcome.trace.story().last().map(|line| line.at);
    let end = end.or(last).unwrap_or_default();
    let is_bad = |who: &str| violation.is_some_and(|violation| violation.property == who);
    let lines = outcome.trace.story().iter().map(|line| Told {
        at: micros(line.at),
        step: line.step,
        who: &line.who,
        text: &line.text,
        bad: is_bad(&line.who),
    });
    let page = Page {
        title: &format!("Niyanta simulator: {title}"),
        command,
        bug: plan.bug.map(|bug| bug.name()),
        violation: violation.map(|violation| Wrong {
            property: violation.property,
            law: law(violation.property),
            what: story::named(&violation.what),
            at: micros(violation.at),
            step: violation.step,
        }),
        lanes: lanes(plan),
        lines: lines.collect(),
        picture: outcome.trace.picture(),
        end: micros(end).max(1_000),
        focus: 8_000_000,
    };
    // What looks like the end of a script must not end this one.
    let data = serde_json::to_string(&page)?.replace("</", "<\\/");
    let safe = title.replace(['<', '>', '&'], " ");
    Ok(PAGE
        .replacen("/*TITLE*/", &safe, 1)
        .replacen("/*DATA*/", &data, 1))
}

fn lanes(plan: &Plan) -> Vec<Lane> {
    let mut lanes = vec![Lane {
        id: "fault".to_owned(),
        kind: "fault",
        short: "what goes wrong",
        what: "what goes wrong on purpose".to_owned(),
    }];
    for (place, customer) in plan.customers.iter().enumerate() {
        if plan.errands.iter().any(|errand| errand.customer == place) {
            lanes.push(Lane {
                id: format!("customer{place}"),
                kind: "customer",
                short: "client",
                what: format!("the client of customer {}", customer.id),
            });
        }
    }
    if !plan.operations.is_empty() {
        lanes.push(Lane {
            id: "operators".to_owned(),
            kind: "customer",
            short: "operators",
            what: "operators, who drain and remove workers".to_owned(),
        });
    }
    for (place, _) in plan
        .coordinators
        .iter()
        .enumerate()
        .filter(|(_, node)| !node.absent)
    {
        lanes.push(Lane {
            id: format!("c{place}"),
            kind: "coordinator",
            short: "coordinator",
            what: "a coordinator".to_owned(),
        });
    }
    lanes.push(Lane {
        id: "store".to_owned(),
        kind: "store",
        short: "database",
        what: "the database, which says whose the lease is".to_owned(),
    });
    for (place, node) in plan
        .workers
        .iter()
        .enumerate()
        .filter(|(_, node)| !node.absent)
    {
        lanes.push(Lane {
            id: format!("w{place}"),
            kind: "worker",
            short: "worker",
            what: format!("a worker process under the id {}", node.profile.worker),
        });
    }
    lanes
}

const fn micros(moment: Moment) -> u64 {
    moment.0 / 1_000
}

const PAGE: &str = include_str!("report/page.html");
