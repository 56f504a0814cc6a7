//! Every regular file of a tree, in byte order of its relative path.
//!
//! Sorting each folder's entries by name is not enough: `a.txt` comes before `a/b`, because `.` is
//! less than `/`. Folders are therefore sorted as if their names ended in `/`.

use super::Unreadable;
use std::{
    ffi::OsStr,
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// A regular file.
#[derive(Debug)]
pub(super) struct Found {
    /// Relative to the root, as the bytes that the system knows it by.
    pub(super) relative: Vec<u8>,
    pub(super) metadata: Metadata,
}

/// A walk through a tree, a folder's entries in memory at a time for each level.
#[derive(Debug)]
pub(super) struct Walk {
    root: PathBuf,
    /// The entries still to come of each open folder, the next one last.
    levels: Vec<Vec<Entry>>,
    /// Everything up to this file was had before.
    after: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Entry {
    /// Relative to the root; of a folder with a `/` at its end.
    relative: Vec<u8>,
    is_folder: bool,
}

impl Walk {
    /// Begins after the file `after`.
    pub(super) fn new(root: PathBuf, after: Option<Vec<u8>>) -> Result<Self, Unreadable> {
        let mut walk = Self {
            root,
            levels: Vec::new(),
            after,
        };
        let entries = walk.entries(&[])?;
        walk.levels.push(entries);
        Ok(walk)
    }

    pub(super) fn next(&mut self) -> Result<Option<Found>, Unreadable> {
        while let Some(level) = self.levels.last_mut() {
            let Some(entry) = level.pop() else {
                self.levels.pop();
                continue;
            };
            if self.was_had(&entry) {
                continue;
            }
            if entry.is_folder {
                let entries = self.entries(&entry.relative)?;
                self.levels.push(entries);
                continue;
            }
            let path = full(&self.root, &entry.relative);
            let metadata = fs::symlink_metadata(&path);
            let metadata = metadata.map_err(|source| Unreadable { path, source })?;
            if metadata.is_file() {
                return Ok(Some(Found {
                    relative: entry.relative,
                    metadata,
                }));
            }
        }
        Ok(None)
    }

    pub(super) fn unreadable(&self, found: &Found, source: io::Error) -> Unreadable {
        Unreadable {
            path: full(&self.root, &found.relative),
            source,
        }
    }

    fn was_had(&self, entry: &Entry) -> bool {
        let Some(after) = &self.after else {
            return false;
        };
        if entry.is_folder {
            // All of it comes before, unless the place is within it.
            entry.relative < *after && !after.starts_with(&entry.relative)
        } else {
            entry.relative <= *after
        }
    }

    /// Regular files and folders in a folder, the first one last.
    fn entries(&self, folder: &[u8]) -> Result<Vec<Entry>, Unreadable> {
        let path = full(&self.root, folder);
        let unreadable = |source| Unreadable {
            path: path.clone(),
            source,
        };
        let mut entries = Vec::new();
        for entry in fs::read_dir(&path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let kind = entry.file_type().map_err(unreadable)?;
            if !kind.is_dir() && !kind.is_file() {
                continue;
            }
            let mut relative = folder.to_vec();
            relative.extend_from_slice(entry.file_name().as_bytes());
            if kind.is_dir() {
                relative.push(b'/');
            }
            entries.push(Entry {
                relative,
                is_folder: kind.is_dir(),
            });
        }
        entries.sort_unstable_by(|a, b| b.relative.cmp(&a.relative));
        Ok(entries)
    }
}

/// Opens a file that was regular a moment ago: never through a link, never waiting for a pipe.
pub(super) fn open(root: &Path, found: &Found) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(full(root, &found.relative))?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("it is not a regular file any more"))
}

fn full(root: &Path, relative: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(relative))
}
