//! The stores that the contract is tried on here.

use crate::rig::{Rig, incarnation};
use niyanta_core::time::Duration;
use runtime::store::{self, Options};

/// Makes one test of a behaviour for each kind of database.
macro_rules! on_every_store {
    ($($name:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::stores::sqlite().await).await; })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(crate::stores::postgres().await).await; })+
        }
    };
}
pub(crate) use on_every_store;

pub(crate) fn options(name: &str) -> Options {
    let mut options = Options::new(incarnation(name));
    options.statement_timeout = Duration::from_secs(4);
    options.lock_timeout = Duration::from_secs(2);
    options
}

pub(crate) async fn sqlite() -> Rig {
    let scratch = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", scratch.path().join("truth.db").display());
    migrated(url, Some(Box::new(scratch))).await
}

pub(crate) async fn postgres() -> Rig {
    migrated(crate::server::create_database().await, None).await
}

async fn migrated(url: String, scratch: Option<Box<dyn std::any::Any + Send>>) -> Rig {
    store::migrate(&url, false).await.unwrap();
    let store = store::open(&url, &options("me")).await.unwrap();
    Rig::over(url, store, scratch).await
}
