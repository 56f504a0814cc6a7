//! Which migrations a program knows, and what a database's list of them means to it.

use super::SchemaError;
use sqlx::{
    FromRow, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

/// The migrations of one kind of database: version, description, statements.
pub(super) struct Known(pub(super) &'static [(i64, &'static str, &'static str)]);

/// A migration that a database says was applied.
#[derive(Debug, FromRow)]
pub(super) struct Applied {
    version: i64,
    checksum: Vec<u8>,
    success: bool,
}

/// A table whose one row is never deleted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Table {
    Lease,
    Fence,
}

impl Table {
    /// Whether the row is there.
    pub(super) const fn check(self, found: i64) -> Result<(), SchemaError> {
        let table = match self {
            Self::Lease => "lease",
            Self::Fence => "fence",
        };
        if found == 1 {
            Ok(())
        } else {
            Err(SchemaError::MissingRow { table })
        }
    }
}

impl Known {
    /// What sqlx runs.
    pub(super) fn migrator(&self) -> Migrator {
        Migrator::with_migrations(self.migrations().collect())
    }

    /// The newest version applied, if the list is one that this program can go on from; unless
    /// `partial`, only if it is complete.
    pub(super) fn judge(&self, applied: Vec<Applied>, partial: bool) -> Result<i64, SchemaError> {
        let wanted = self.0.last().map_or(0, |(version, _, _)| *version);
        let found = applied.last().map_or(0, |row| row.version);
        let known = |row: &Applied| {
            self.migrations()
                .any(|it| it.version == row.version && *it.checksum == *row.checksum)
        };
        if !applied.iter().all(known) {
            return Err(SchemaError::Unknown { found, wanted });
        }
        let done = applied.iter().filter(|row| row.success).count();
        if done < self.0.len() && !partial {
            return Err(SchemaError::Outdated { found, wanted });
        }
        Ok(found)
    }

    fn migrations(&self) -> impl Iterator<Item = Migration> {
        self.0.iter().map(|(version, description, sql)| {
            let description = (*description).into();
            Migration::new(
                *version,
                description,
                MigrationType::Simple,
                sql.into_sql_str(),
                false,
            )
        })
    }
}
