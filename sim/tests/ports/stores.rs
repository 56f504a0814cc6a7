//! The store that the contract is tried on here: the model.

use crate::rig::Rig;
use sim::{
    clock::WallClock,
    model::store::Store,
    ports::{SimStore, Time},
};
use std::sync::Arc;

/// Makes one test of a behaviour for the model.
macro_rules! on_every_store {
    ($($name:ident)+) => {
        mod model {
            $(#[tokio::test(start_paused = true)]
            async fn $name() { super::$name(crate::stores::model().await).await; })+
        }
    };
}
pub(crate) use on_every_store;

pub(crate) async fn model() -> Rig {
    let database = Store::new(WallClock::at_speed(0));
    let store = SimStore::new(database, Time::of_runtime());
    Rig::over(String::from("the model"), Arc::new(store), None).await
}
