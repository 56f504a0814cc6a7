//! The ports over the models keep the same contracts as the real adapters.
#![allow(
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    reason = "a contract is one story, and any other outcome is a failure"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
#![allow(
    dead_code,
    reason = "the rig is shared with adapters that need more of it"
)]

mod broker;
mod stores;

#[path = "../../../runtime/tests/store_contract/rig.rs"]
mod rig;

#[path = "../../../runtime/tests/store_contract/admin.rs"]
mod admin;
#[path = "../../../runtime/tests/store_contract/beside.rs"]
mod beside;
#[path = "../../../runtime/tests/store_contract/commits.rs"]
mod commits;
#[path = "../../../runtime/tests/store_contract/leadership.rs"]
mod leadership;
#[path = "../../../runtime/tests/store_contract/reads.rs"]
mod reads;
#[path = "../../../runtime/tests/store_contract/submissions.rs"]
mod submissions;
#[path = "../../../runtime/tests/store_contract/wishes.rs"]
mod wishes;
