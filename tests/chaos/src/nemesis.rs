//! Carries out strikes.
//!
//! Owns how each fault is done to a running site, and undone. A strike whose target is struck
//! already is skipped, and says so: the schedule stays as it was drawn.

use std::time::Duration;

use anyhow::bail;
use reqwest::Method;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::clock;
use super::history::{Happened, Record, Struck};
use super::schedule::{LOCKS, Line, Nemesis, Stop, Strike, Who, Wrong};
use super::site::{CoordinatorSeat, Site};
use tests::Signal;
use tests::{Proxy, Weather};

/// Waits for the moment of the strike, and carries it out to its end.
pub(super) async fn carry_out(site: &Site, strike: &Strike, begun: Instant) {
    sleep_until(begun + strike.at).await;
    let from = clock::now();
    let done = strike_once(site, strike).await;
    let was_skipped = done.is_err();
    let text = done.unwrap_or_else(|error| format!("skipped: {error}"));
    site.recorder.record(&Record::Strike(Struck {
        from,
        to: clock::now(),
        kind: strike.nemesis.kind().to_owned(),
        text: format!("{strike}: {text}"),
        was_skipped,
    }));
}

async fn strike_once(site: &Site, strike: &Strike) -> anyhow::Result<String> {
    let lasts = strike.lasts;
    match strike.nemesis {
        Nemesis::KillCoordinator(who) => {
            let mut seat = seat(site, who).process.try_lock()?;
            let name = seat.name();
            seat.kill(site);
            sleep(lasts).await;
            seat.start_again(site);
            Ok(name)
        }
        Nemesis::PauseCoordinator(who, ttls) => {
            let seat = seat(site, who).process.try_lock()?;
            site.happened(&seat.name(), Happened::Stopped);
            seat.it.process.signal(Signal::STOP);
            sleep(site.options.ttl.mul_f64(ttls)).await;
            seat.it.process.signal(Signal::CONT);
            site.happened(&seat.name(), Happened::GoesOn);
            Ok(seat.name())
        }
        Nemesis::StopCoordinator(who) => {
            let mut seat = seat(site, who).process.try_lock()?;
            let name = seat.name();
            seat.stop(site).await;
            seat.start_again(site);
            Ok(name)
        }
        Nemesis::RollingRestart => rolling_restart(site).await,
        Nemesis::CoordinatorLine(who, line, wrong) => {
            let seat = seat(site, who);
            let _sky = seat.sky.try_lock()?;
            let lines: &[&Proxy] = match line {
                Line::Postgres => &[&seat.to_postgres],
                Line::Nats => &[&seat.to_nats],
                Line::Both => &[&seat.to_postgres, &seat.to_nats],
            };
            spoil(lines, wrong, lasts).await;
            Ok(seat.url.clone())
        }
        Nemesis::KillWorker(_, _)
        | Nemesis::PauseWorker(_, _)
        | Nemesis::StopWorker(_)
        | Nemesis::DrainWorker(_)
        | Nemesis::WorkerLine(_, _) => strike_worker(site, strike).await,
        Nemesis::RestartPostgres(_)
        | Nemesis::RefusePostgres
        | Nemesis::FreezePostgres
        | Nemesis::TakeConnections
        | Nemesis::LockTable(_) => strike_postgres(site, strike).await,
        Nemesis::RestartNats => {
            let mut nats = site.nats.try_lock()?;
            nats.kill();
            sleep(lasts / 2).await;
            nats.start_again().await;
            Ok("killed and started".to_owned())
        }
        Nemesis::FreezeNats => {
            let nats = site.nats.try_lock()?;
            nats.signal(Signal::STOP);
            sleep(lasts).await;
            nats.signal(Signal::CONT);
            Ok("stopped and continued".to_owned())
        }
    }
}

async fn rolling_restart(site: &Site) -> anyhow::Result<String> {
    let mut names = Vec::new();
    for seat in &site.coordinators {
        let mut process = seat.process.lock().await;
        names.push(process.name());
        process.stop(site).await;
        process.start_again(site);
        // An upgrade waits for the new one, though not for ever: something else may be broken.
        let ready = async {
            while process
                .it
                .readiness()
                .await
                .is_none_or(|it| it["healthy"] != true)
            {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(10), ready).await.ok();
    }
    Ok(names.join(", "))
}

async fn strike_worker(site: &Site, strike: &Strike) -> anyhow::Result<String> {
    let lasts = strike.lasts;
    match strike.nemesis {
        Nemesis::KillWorker(index, is_other) => {
            let seat = &site.workers[index];
            let mut process = seat.process.try_lock()?;
            let name = process.it.name.clone();
            process.kill(site);
            sleep(lasts).await;
            let id = if is_other {
                format!("w{index}-{}", process.starts)
            } else {
                process.it.id.clone()
            };
            process.start_again(site, &id, seat.to_nats.port());
            Ok(format!("{name}, then {}", process.it.name))
        }
        Nemesis::PauseWorker(index, leases) => {
            let process = site.workers[index].process.try_lock()?;
            site.happened(&process.it.name, Happened::Stopped);
            process.it.process.signal(Signal::STOP);
            sleep(site.options.lease.mul_f64(leases)).await;
            process.it.process.signal(Signal::CONT);
            site.happened(&process.it.name, Happened::GoesOn);
            Ok(process.it.name.clone())
        }
        Nemesis::StopWorker(index) => {
            let seat = &site.workers[index];
            let mut process = seat.process.try_lock()?;
            let (name, id) = (process.it.name.clone(), process.it.id.clone());
            process.stop(site).await;
            process.start_again(site, &id, seat.to_nats.port());
            Ok(name)
        }
        Nemesis::DrainWorker(index) => {
            let process = site.workers[index].process.try_lock()?;
            let id = process.it.id.clone();
            let is_drained = order(site, &id, "drain").await;
            sleep(lasts).await;
            while !order(site, &id, "undrain").await {
                sleep(Duration::from_millis(500)).await;
            }
            Ok(format!("{id}: drained {is_drained}, then undrained"))
        }
        Nemesis::WorkerLine(index, wrong) => {
            let seat = &site.workers[index];
            let _sky = seat.sky.try_lock()?;
            spoil(&[&seat.to_nats], wrong, lasts).await;
            Ok(format!("line of the worker {index}"))
        }
        Nemesis::KillCoordinator(_)
        | Nemesis::PauseCoordinator(_, _)
        | Nemesis::StopCoordinator(_)
        | Nemesis::RollingRestart
        | Nemesis::CoordinatorLine(_, _, _)
        | Nemesis::RestartPostgres(_)
        | Nemesis::RefusePostgres
        | Nemesis::FreezePostgres
        | Nemesis::TakeConnections
        | Nemesis::LockTable(_)
        | Nemesis::RestartNats
        | Nemesis::FreezeNats => bail!("not a worker's"),
    }
}

async fn strike_postgres(site: &Site, strike: &Strike) -> anyhow::Result<String> {
    let lasts = strike.lasts;
    match strike.nemesis {
        Nemesis::RestartPostgres(how) => {
            let mut postgres = site.postgres.try_lock()?;
            match how {
                Stop::Fast => postgres.stop().await,
                Stop::Immediate => postgres.crash().await,
                Stop::Kill => postgres.kill(),
            }
            sleep(lasts / 2).await;
            postgres.start_again().await;
        }
        Nemesis::RefusePostgres => {
            let skies: Result<Vec<_>, _> = site
                .coordinators
                .iter()
                .map(|seat| seat.sky.try_lock())
                .collect();
            let _skies = skies?;
            for seat in &site.coordinators {
                seat.to_postgres.set(Weather::refusing());
                seat.to_postgres.reset();
            }
            sleep(lasts).await;
            for seat in &site.coordinators {
                seat.to_postgres.heal();
            }
        }
        Nemesis::FreezePostgres => {
            let postgres = site.postgres.try_lock()?;
            postgres.freeze();
            sleep(lasts).await;
            postgres.thaw();
        }
        Nemesis::TakeConnections => {
            let _postgres = site.postgres.try_lock()?;
            let mut taken = Vec::new();
            while let Ok(connection) = PgConnection::connect(&site.database_url).await {
                taken.push(connection);
            }
            sleep(lasts).await;
            return Ok(format!("took {} connections", taken.len()));
        }
        Nemesis::LockTable(which) => {
            let _postgres = site.postgres.try_lock()?;
            let mut stranger = PgConnection::connect(&site.database_url).await?;
            for statement in ["begin", "set local lock_timeout = '3s'", LOCKS[which]] {
                sqlx::query(AssertSqlSafe(statement))
                    .execute(&mut stranger)
                    .await?;
            }
            sleep(lasts).await;
            return Ok(LOCKS[which].to_owned());
        }
        Nemesis::KillCoordinator(_)
        | Nemesis::PauseCoordinator(_, _)
        | Nemesis::StopCoordinator(_)
        | Nemesis::RollingRestart
        | Nemesis::CoordinatorLine(_, _, _)
        | Nemesis::KillWorker(_, _)
        | Nemesis::PauseWorker(_, _)
        | Nemesis::StopWorker(_)
        | Nemesis::DrainWorker(_)
        | Nemesis::WorkerLine(_, _)
        | Nemesis::RestartNats
        | Nemesis::FreezeNats => bail!("not of Postgres"),
    }
    Ok("done and undone".to_owned())
}

/// Makes bad weather on these lines, and good weather again.
async fn spoil(lines: &[&Proxy], wrong: Wrong, lasts: Duration) {
    let weather = match wrong {
        Wrong::CutUp => Weather::cut(true, false),
        Wrong::CutDown => Weather::cut(false, true),
        Wrong::CutBoth => Weather::cut(true, true),
        Wrong::Held => Weather::held(true, true),
        Wrong::Slow => Weather::slow(lasts / 10, 100_000),
        Wrong::Reset => {
            for line in lines {
                line.reset();
            }
            return;
        }
    };
    for line in lines {
        line.set(weather);
    }
    sleep(lasts).await;
    for line in lines {
        line.heal();
    }
}

/// An operator's word about a worker, to any coordinator that takes it.
pub(super) async fn order(site: &Site, worker: &str, verb: &str) -> bool {
    for index in 0..site.coordinators.len() {
        let admin = tests::Client::with_patience(
            &site.coordinators[index].url,
            Some(&site.admin_key),
            Duration::from_secs(3),
        );
        let path = format!("/v1/admin/workers/{worker}/{verb}");
        let sent = admin
            .send(Method::POST, &path, &[], Some("{}".to_owned()))
            .await;
        if sent.is_ok_and(|answer| answer.status == 202) {
            return true;
        }
    }
    false
}

fn seat(site: &Site, who: Who) -> &CoordinatorSeat {
    let leader = site.leader();
    let index = match who {
        Who::Leader => leader,
        Who::Follower => leader + 1,
    };
    &site.coordinators[index % site.coordinators.len()]
}
