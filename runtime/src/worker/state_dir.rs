//! What a restarted worker may know of the process before it.
//!
//! Owns three files in `--state-dir`:
//! - `lock`, held exclusively by the living worker, so that two never share a folder;
//! - `children`, held shared by every guard from before it starts a child until all that child's
//!   descendants are gone;
//! - `incarnation`, the worker id and incarnation of the last process that held `lock`.
//!
//! `replaces` may be said only when the predecessor *and all its children* have ended. The first
//! lock proves the process, the second its children: a guard takes it before it asks for its work,
//! so one that could start anything later holds it already. If it cannot be had in time, nothing is
//! replaced, and the lease of the predecessor has to end instead.

use super::WorkerError;
use niyanta_core::{
    ids::{Incarnation, WorkerId},
    time::Duration,
};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// The state folder, locked while this lives.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Locks the folder for this incarnation. Also gives the incarnation before it, if it is certain
    /// to have ended with all its children. Nothing while another process holds the folder: whoever
    /// starts a second worker there does without, and the leader refuses the id while the first lives.
    pub(super) async fn open(
        path: PathBuf,
        worker: &WorkerId,
        incarnation: &Incarnation,
    ) -> Result<Option<(Self, Option<Incarnation>)>, WorkerError> {
        let unusable = |source| WorkerError::StateDir {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(&path).map_err(unusable)?;
        let lock = lock_file(&path.join("lock")).map_err(unusable)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let children = path.join("children");
        let are_gone = children_are_gone(&children).await.map_err(unusable)?;
        let record = path.join("incarnation");
        let before = last_incarnation(&record, worker).filter(|_| are_gone);
        // While children of an older incarnation may live, it stays the one to be replaced later.
        if are_gone {
            write_whole(&record, &format!("{worker} {incarnation}\n")).map_err(unusable)?;
        } else {
            tracing::warn!(
                "children of the worker before this one may still run: waiting for its lease to end"
            );
            write_whole(&record, "").map_err(unusable)?;
        }
        let state = Self { path, _lock: lock };
        Ok(Some((state, before)))
    }

    /// What guards hold while their children live.
    pub(super) fn children_lock(&self) -> PathBuf {
        self.path.join("children")
    }
}

/// Whether no guard is left, waiting a little: those of a dead worker are just killing.
async fn children_are_gone(path: &Path) -> io::Result<bool> {
    let file = lock_file(path)?;
    for _ in 0..TRIES {
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            flock(&file, FlockOperation::Unlock)?;
            return Ok(true);
        }
        tokio::time::sleep(TRY_INTERVAL).await;
    }
    Ok(false)
}

pub(super) fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

fn last_incarnation(record: &Path, worker: &WorkerId) -> Option<Incarnation> {
    let text = fs::read_to_string(record).ok()?;
    let (id, incarnation) = text.trim_end().split_once(' ')?;
    (id == worker.as_str()).then(|| incarnation.parse().ok())?
}

/// Replaces a file by one that is whole.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

const TRIES: u32 = 60;
const TRY_INTERVAL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    async fn open(path: &Path, name: &str) -> Option<(StateDir, Option<Incarnation>)> {
        let worker = "w1".parse().unwrap();
        let incarnation = name.parse().unwrap();
        StateDir::open(path.to_owned(), &worker, &incarnation)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_restart_knows_the_incarnation_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let (first, before) = open(folder.path(), "one").await.unwrap();
        assert_eq!(before, None);
        assert!(open(folder.path(), "two").await.is_none());
        drop(first);
        let (_, before) = open(folder.path(), "three").await.unwrap();
        assert_eq!(before, Some("one".parse().unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_replaced_while_a_guard_may_live() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = open(folder.path(), "one").await.unwrap();
        let guard = lock_file(&first.children_lock()).unwrap();
        flock(&guard, FlockOperation::LockShared).unwrap();
        drop(first);
        let (second, before) = open(folder.path(), "two").await.unwrap();
        assert_eq!(before, None);
        drop((guard, second));
        // Nobody knows any more whether "two" was ever registered beside "one".
        let (_, before) = open(folder.path(), "three").await.unwrap();
        assert_eq!(before, None);
    }
}
