//! Scratch folders, removed at the end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder under the system's temporary folder that goes away with this value.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// An empty folder that other users may enter: Postgres runs as its own.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("niyanta-test-")
            .tempdir()
            .unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path inside it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes `files` files of about `bytes` bytes each below `name`, a hundred to a folder, and
    /// returns that folder. The contents differ from file to file.
    #[must_use]
    pub fn tree(&self, name: &str, files: usize, bytes: usize) -> PathBuf {
        let root = self.join(name);
        for index in 0..files {
            let folder = root.join(format!("d{:04}", index / 100));
            if index % 100 == 0 {
                fs::create_dir_all(&folder).unwrap();
            }
            let line = format!("{index:08} the quick brown fox jumps over the lazy dog\n");
            let mut content = line.repeat(bytes.div_ceil(line.len()));
            content.truncate(bytes);
            fs::write(folder.join(format!("f{index:06}")), content).unwrap();
        }
        root
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
