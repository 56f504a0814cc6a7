//! Migrations, and knowing whether they were applied.

use crate::stores::on_every_store;
use crate::{rig::Rig, stores::options};
use niyanta_core::ids::Generation;
use runtime::store::{self, SchemaError, Store};
use std::sync::Arc;

on_every_store! {
    a_migration_can_be_repeated_and_run_from_two_places
    a_missing_row_is_named_and_made_again
    a_newer_schema_is_not_known
}

async fn a_migration_can_be_repeated_and_run_from_two_places(rig: Rig) {
    rig.store.check_schema().await.unwrap();
    rig.store.ping().await.unwrap();
    let again = store::migrate(&rig.url, true).await.unwrap();
    assert_eq!((again.applied, again.version), (0, 4));
    assert!(again.repaired.is_empty());
    let url = if rig.url.starts_with("sqlite") {
        format!("{}.second", rig.url)
    } else {
        crate::server::create_database().await
    };
    let fresh: Arc<dyn Store> = if url.starts_with("sqlite") {
        Arc::clone(&rig.store)
    } else {
        let store = store::open(&url, &options("me")).await.unwrap();
        let outdated = store.check_schema().await;
        assert!(matches!(
            outdated,
            Err(SchemaError::Outdated {
                found: 0,
                wanted: 4
            })
        ));
        store
    };
    let (one, two) = tokio::join!(store::migrate(&url, false), store::migrate(&url, false));
    assert_eq!(one.unwrap().version, two.unwrap().version);
    fresh.check_schema().await.unwrap();
}

async fn a_missing_row_is_named_and_made_again(rig: Rig) {
    rig.submit(1).await;
    let generation = rig.lead().await;
    rig.assign(generation, 1, &[1]).await;
    rig.execute("delete from lease").await;
    let missing = rig.store.check_schema().await;
    assert!(matches!(
        missing,
        Err(SchemaError::MissingRow { table: "lease" })
    ));
    rig.execute("delete from fence").await;
    store::migrate(&rig.url, false).await.unwrap();
    assert!(rig.store.check_schema().await.is_err());
    let report = store::migrate(&rig.url, true).await.unwrap();
    assert_eq!(report.repaired, ["lease", "fence"]);
    rig.store.check_schema().await.unwrap();
    assert!(rig.lead().await > Generation(generation.0));
}

async fn a_newer_schema_is_not_known(rig: Rig) {
    let newer = "insert into _sqlx_migrations \
        (version, description, success, checksum, execution_time) values (9, 'x', true, 'x', 0)";
    rig.execute(newer).await;
    let unknown = rig.store.check_schema().await;
    assert!(
        matches!(
            unknown,
            Err(SchemaError::Unknown {
                found: 9,
                wanted: 4
            })
        ),
        "{unknown:?}"
    );
    let refused = store::migrate(&rig.url, false).await;
    assert!(matches!(refused, Err(SchemaError::Unknown { .. })));
}
