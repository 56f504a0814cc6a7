//! `hash_tree`: the digest of a folder, `{path}` to `{files, bytes, sha256}`.
//!
//! Owns the digest and its checkpoint. The digest is over the lines `<hex>  <relative path>` and a
//! newline each, in byte order of the relative path, so a later attempt needs only the state of the
//! running hashes and the place in that order: a few hundred bytes, however large the tree. Rejected:
//! keeping the lines, which outgrow a checkpoint.
//!
//! Reading blocks, so it is done in steps on the blocking pool; between steps it can be stopped.

mod pace;
mod walk;

use super::{Context, Outcome, WorkloadHandler};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use niyanta_core::workload::Cause;
use pace::Pace;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{
    Digest as _, Sha256,
    digest::common::hazmat::{SerializableState as _, SerializedState},
};
use std::{
    fs::File,
    io::{self, Read as _},
    num::NonZeroU64,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::time::Instant;
use walk::{Found, Walk};

/// The workload type `hash_tree`. The default reads as fast as it can.
#[derive(Debug, Clone, Default)]
pub struct HashTree {
    pace: Option<Arc<Pace>>,
}

impl HashTree {
    /// Reads at most so much in a second, in all its attempts together.
    #[must_use]
    pub fn limited(bytes_per_second: NonZeroU64) -> Self {
        Self {
            pace: Some(Arc::new(Pace::new(bytes_per_second))),
        }
    }
}

#[async_trait]
impl WorkloadHandler for HashTree {
    fn workload_type(&self) -> &'static str {
        "hash_tree"
    }

    async fn run(&self, context: Context) -> Outcome {
        let path = context.input_params.get("path").and_then(Value::as_str);
        let Some(path) = path.filter(|path| !path.is_empty() && !path.contains('\0')) else {
            return Outcome::permanent("input_params.path must name a folder");
        };
        let root = PathBuf::from(path);
        match hash(&context, root, self.pace.as_deref()).await {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::permanent(failure.to_string()),
        }
    }
}

/// What cannot be read, and why.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read: {source}", path.display())]
struct Unreadable {
    path: PathBuf,
    source: io::Error,
}

async fn hash(
    context: &Context,
    root: PathBuf,
    pace: Option<&Pace>,
) -> Result<Outcome, Unreadable> {
    let Some(total) = measure(context, &root).await? else {
        return Ok(Outcome::Stopped);
    };
    let saved = context.checkpoint.as_deref().and_then(Saved::read);
    if let Some(saved) = &saved {
        let within = saved.partial.as_ref().map_or(0, |partial| partial.read);
        let place = format!(
            "going on after {} files, {} bytes",
            saved.files,
            saved.bytes + within
        );
        context.log("info", place).await;
    }
    let mut hashing = Hashing::new(root, saved)?;
    let budget = pace.map_or(BYTES_PER_STEP, |pace| {
        pace.bytes_per_step().min(BYTES_PER_STEP)
    });
    let mut next_checkpoint = Instant::now() + context.checkpoint_interval;
    loop {
        let before = hashing.bytes_read();
        let (back, more) = in_steps(hashing, move |hashing| hashing.step(budget)).await?;
        hashing = back;
        if !more {
            return Ok(Outcome::Completed(Some(hashing.result())));
        }
        context.progress(percent(hashing.bytes_read(), total), Some(hashing.words()));
        let stop = context.stop_cause();
        if stop.is_some() || Instant::now() >= next_checkpoint {
            if stop != Some(Cause::Cancelled) {
                context.checkpoint(hashing.save()).await;
            }
            next_checkpoint = Instant::now() + context.checkpoint_interval;
        }
        if stop.is_some() {
            return Ok(Outcome::Stopped);
        }
        if let Some(pace) = pace {
            let paid_at = pace.pay(hashing.bytes_read() - before);
            tokio::select! {
                biased;
                _ = context.stopped() => {}
                () = tokio::time::sleep_until(paid_at) => {}
            }
        }
    }
}

/// How many bytes there are, for progress alone; nothing when it is stopped meanwhile.
async fn measure(context: &Context, root: &Path) -> Result<Option<u64>, Unreadable> {
    let mut walk = (Walk::new(root.to_owned(), None)?, 0);
    loop {
        let (back, more) = in_steps(walk, |(walk, total)| {
            for _ in 0..ENTRIES_PER_STEP {
                match walk.next()? {
                    Some(found) => *total += found.metadata.len(),
                    None => return Ok(false),
                }
            }
            Ok(true)
        })
        .await?;
        walk = back;
        if !more {
            return Ok(Some(walk.1));
        }
        if context.stop_cause().is_some() {
            return Ok(None);
        }
    }
}

/// Runs one step on the blocking pool.
async fn in_steps<T: Send + 'static>(
    mut state: T,
    step: impl FnOnce(&mut T) -> Result<bool, Unreadable> + Send + 'static,
) -> Result<(T, bool), Unreadable> {
    let done = tokio::task::spawn_blocking(move || step(&mut state).map(|more| (state, more)));
    match done.await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn percent(done: u64, total: u64) -> f64 {
    if total == 0 {
        return 100.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "shown to people")]
    let ratio = done as f64 / total as f64;
    (100.0 * ratio).min(100.0)
}

/// The tree being hashed.
struct Hashing {
    root: PathBuf,
    walk: Walk,
    lines: Sha256,
    files: u64,
    bytes: u64,
    /// The last file that is done.
    last: Option<Vec<u8>>,
    current: Option<Current>,
    /// Where to go on within a file, if it is still the same.
    partial: Option<Partial>,
}

/// The file being read.
struct Current {
    file: File,
    found: Found,
    hash: Sha256,
    read: u64,
}

impl Hashing {
    fn new(root: PathBuf, saved: Option<Saved>) -> Result<Self, Unreadable> {
        let saved = saved.unwrap_or_default();
        Ok(Self {
            walk: Walk::new(root.clone(), saved.last.clone())?,
            root,
            lines: saved.lines,
            files: saved.files,
            bytes: saved.bytes,
            last: saved.last,
            current: None,
            partial: saved.partial,
        })
    }

    /// Reads at most so many bytes. False when everything is done.
    fn step(&mut self, budget: usize) -> Result<bool, Unreadable> {
        let mut left = budget;
        let mut buffer = vec![0; READ_BYTES.min(budget)];
        while left > 0 {
            if self.current.is_none() {
                let Some(found) = self.walk.next()? else {
                    return Ok(false);
                };
                self.current = Some(self.open(found)?);
                // Small files cost something too.
                left = left.saturating_sub(FILE_COST);
                continue;
            }
            let Some(current) = &mut self.current else {
                continue;
            };
            let most = buffer.len().min(left);
            let count = current.file.read(&mut buffer[..most]);
            let count = count.map_err(|source| self.walk.unreadable(&current.found, source))?;
            if count == 0 {
                self.finish_file();
                continue;
            }
            current.hash.update(&buffer[..count]);
            current.read += count as u64;
            left = left.saturating_sub(count);
        }
        Ok(true)
    }

    fn open(&mut self, found: Found) -> Result<Current, Unreadable> {
        let partial = self.partial.take().filter(|partial| partial.is_of(&found));
        let opened = walk::open(&self.root, &found).and_then(|mut file| {
            if let Some(partial) = &partial {
                io::Seek::seek(&mut file, io::SeekFrom::Start(partial.read))?;
            }
            Ok(file)
        });
        let file = opened.map_err(|source| self.walk.unreadable(&found, source))?;
        let (hash, read) =
            partial.map_or_else(Default::default, |partial| (partial.hash, partial.read));
        Ok(Current {
            file,
            found,
            hash,
            read,
        })
    }

    fn finish_file(&mut self) {
        let Some(current) = self.current.take() else {
            return;
        };
        self.lines.update(hex(&current.hash.finalize()));
        self.lines.update(b"  ");
        self.lines.update(&current.found.relative);
        self.lines.update(b"\n");
        self.files += 1;
        self.bytes += current.read;
        self.last = Some(current.found.relative);
    }

    fn bytes_read(&self) -> u64 {
        self.bytes + self.current.as_ref().map_or(0, |current| current.read)
    }

    fn words(&self) -> String {
        format!("{} files, {} bytes", self.files, self.bytes_read())
    }

    fn result(self) -> Value {
        json!({
            "files": self.files,
            "bytes": self.bytes,
            "sha256": hex(&self.lines.finalize()),
        })
    }

    fn save(&self) -> Vec<u8> {
        let partial = self.current.as_ref().map(|current| Partial {
            relative: current.found.relative.clone(),
            hash: current.hash.clone(),
            read: current.read,
            stamp: Stamp::of(&current.found),
        });
        Saved {
            lines: self.lines.clone(),
            files: self.files,
            bytes: self.bytes,
            last: self.last.clone(),
            partial,
        }
        .write()
    }
}

/// A checkpoint.
#[derive(Default)]
struct Saved {
    lines: Sha256,
    files: u64,
    bytes: u64,
    last: Option<Vec<u8>>,
    partial: Option<Partial>,
}

/// A file that is read half-way.
struct Partial {
    relative: Vec<u8>,
    hash: Sha256,
    read: u64,
    stamp: Stamp,
}

/// By what a file is taken for unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    len: u64,
    mtime: i64,
    mtime_nsec: i64,
}

impl Stamp {
    fn of(found: &Found) -> Self {
        Self {
            len: found.metadata.len(),
            mtime: found.metadata.mtime(),
            mtime_nsec: found.metadata.mtime_nsec(),
        }
    }
}

impl Partial {
    fn is_of(&self, found: &Found) -> bool {
        self.relative == found.relative && self.stamp == Stamp::of(found)
    }
}

/// The shape of a checkpoint. Byte strings are base64: names need not be UTF-8.
#[derive(Serialize, Deserialize)]
struct SavedText {
    version: u32,
    lines: String,
    files: u64,
    bytes: u64,
    last: Option<String>,
    partial: Option<PartialText>,
}

#[derive(Serialize, Deserialize)]
struct PartialText {
    path: String,
    hash: String,
    read: u64,
    #[serde(flatten)]
    stamp: Stamp,
}

impl Saved {
    fn write(&self) -> Vec<u8> {
        let text = SavedText {
            version: VERSION,
            lines: STANDARD.encode(self.lines.serialize()),
            files: self.files,
            bytes: self.bytes,
            last: self.last.as_ref().map(|last| STANDARD.encode(last)),
            partial: self.partial.as_ref().map(|partial| PartialText {
                path: STANDARD.encode(&partial.relative),
                hash: STANDARD.encode(partial.hash.serialize()),
                read: partial.read,
                stamp: partial.stamp.clone(),
            }),
        };
        serde_json::to_vec(&text).unwrap_or_default()
    }

    /// Nothing for what this version cannot read: then it begins at the start.
    fn read(bytes: &[u8]) -> Option<Self> {
        let text: SavedText = serde_json::from_slice(bytes).ok()?;
        if text.version != VERSION {
            return None;
        }
        let partial = match text.partial {
            Some(partial) => Some(Partial {
                relative: STANDARD.decode(partial.path).ok()?,
                hash: hasher(&partial.hash)?,
                read: partial.read,
                stamp: partial.stamp,
            }),
            None => None,
        };
        let last = text.last.map(|last| STANDARD.decode(last).ok());
        Some(Self {
            lines: hasher(&text.lines)?,
            files: text.files,
            bytes: text.bytes,
            last: match last {
                Some(decoded) => Some(decoded?),
                None => None,
            },
            partial,
        })
    }
}

fn hasher(text: &str) -> Option<Sha256> {
    let bytes = STANDARD.decode(text).ok()?;
    let state = SerializedState::<Sha256>::try_from(bytes.as_slice()).ok()?;
    Sha256::deserialize(&state).ok()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const VERSION: u32 = 1;
const ENTRIES_PER_STEP: usize = 2_000;
const BYTES_PER_STEP: usize = 8 * 1024 * 1024;
const READ_BYTES: usize = 256 * 1024;
const FILE_COST: usize = 16 * 1024;

#[cfg(test)]
mod tests;
