//! Changes of customers and workload configs: what is answered to what the store says, and what every
//! sending of them is made upon.

use super::stub_store::{Answers, view_of};
use super::*;
use crate::store::{
    ConfigId, ConfigRow, CreateConfig, CustomerView, PatchCustomer, ReplaceConfig, Revision, Tier,
};

fn lost<T>() -> Result<T, StoreError> {
    Err(StoreError::Unknown("lost".into()))
}

fn gone<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("gone".into()))
}

/// What was sent while the answers were those of the script.
fn upon<T>(answers: &Answers<T>) -> Vec<u64> {
    answers.upon.lock().unwrap().clone()
}

fn customer(revision: u64, tier: Tier) -> Box<CustomerView> {
    Box::new(CustomerView {
        tier,
        revision: Revision(revision),
        ..view_of(OWN, None)
    })
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_customer_in_doubt_is_never_made_upon_another() {
    use PatchCustomer::{NotFound, Overtaken, Patched};
    use Tier::{Free, Premium};
    for (answers, status, sent) in [
        (vec![Ok(Patched(customer(4, Premium)))], 200, vec![3]),
        (
            vec![lost(), gone(), Ok(Patched(customer(4, Premium)))],
            200,
            vec![3; 3],
        ),
        (
            vec![lost(), Ok(Overtaken(customer(4, Premium)))],
            200,
            vec![3; 2],
        ),
        // It had landed, or not: the change that came after says something else.
        (
            vec![lost(), Ok(Overtaken(customer(5, Free)))],
            504,
            vec![3; 2],
        ),
        (vec![lost(), Ok(NotFound)], 504, vec![3; 2]),
        // Before there is doubt it is looked at again.
        (
            vec![
                Ok(Overtaken(customer(4, Premium))),
                Ok(Patched(customer(4, Premium))),
            ],
            200,
            vec![3; 2],
        ),
        (vec![Ok(NotFound)], 404, vec![3]),
    ] {
        let rig = Rig::new();
        let script = &rig.store.changes.patch_answers;
        script.script.lock().unwrap().extend(answers);
        let uri = format!("/v1/admin/customers/{OWN}");
        let patch = request("PATCH", &uri, &rig.admin)
            .header("content-type", "application/json")
            .body(Body::from(r#"{"tier":"premium"}"#));
        let answer = rig.send(patch.unwrap()).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(upon(script), sent, "{answer:?}");
    }
}

fn config(revision: u64, retries: u32) -> ConfigRow {
    let body = json!({"workload_type": "sleep", "max_retries": retries});
    ConfigRow {
        record: configs::read(ConfigId(9), &body).unwrap(),
        created_at: WallTime(0),
        updated_at: WallTime(0),
        revision: Revision(revision),
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_in_doubt_is_never_made_upon_another() {
    use ReplaceConfig::{NotFound, Overtaken, Replaced, TypeTaken};
    for (answers, status, sent) in [
        (vec![Ok(Replaced(config(6, 1)))], 200, vec![5]),
        (
            vec![lost(), gone(), Ok(Replaced(config(6, 1)))],
            200,
            vec![5; 3],
        ),
        (vec![lost(), Ok(Overtaken(config(6, 1)))], 200, vec![5; 2]),
        (vec![lost(), Ok(Overtaken(config(7, 2)))], 504, vec![5; 2]),
        (vec![lost(), Ok(TypeTaken)], 504, vec![5; 2]),
        (vec![lost(), Ok(NotFound)], 504, vec![5; 2]),
        (
            vec![Ok(Overtaken(config(6, 2))), Ok(Replaced(config(6, 1)))],
            200,
            vec![5; 2],
        ),
        (vec![Ok(TypeTaken)], 409, vec![5]),
        (vec![Ok(NotFound)], 404, vec![5]),
    ] {
        let rig = Rig::new();
        *rig.store.changes.config.lock().unwrap() = Some(config(5, 0));
        let script = &rig.store.changes.replace_answers;
        script.script.lock().unwrap().extend(answers);
        let uri = format!("/v1/workload-configs/{}", ConfigId(9));
        let put = request("PUT", &uri, &rig.own)
            .header("content-type", "application/json")
            .body(Body::from(r#"{"workload_type":"sleep","max_retries":1}"#));
        let answer = rig.send(put.unwrap()).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(upon(script), sent, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_config_in_doubt_is_never_made_upon_another_deletion() {
    use CreateConfig::{Created, NoCustomer, Overtaken, TypeTaken};
    for (answers, status, sent) in [
        (vec![Ok(Created(config(0, 1)))], 201, vec![3]),
        (
            vec![lost(), gone(), Ok(Created(config(0, 1)))],
            201,
            vec![3; 3],
        ),
        // It may have been created, and deleted since.
        (vec![lost(), Ok(Overtaken)], 504, vec![3; 2]),
        (vec![lost(), Ok(TypeTaken)], 504, vec![3; 2]),
        (
            vec![Ok(Overtaken), Ok(Created(config(0, 1)))],
            201,
            vec![3; 2],
        ),
        (vec![Ok(TypeTaken)], 409, vec![3]),
        (vec![Ok(NoCustomer)], 404, vec![3]),
    ] {
        let rig = Rig::new();
        let script = &rig.store.changes.create_answers;
        script.script.lock().unwrap().extend(answers);
        let body = json!({"workload_type": "sleep", "max_retries": 1});
        let answer = rig.post("/v1/workload-configs", &body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(upon(script), sent, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_overtaken_each_time_is_not_done() {
    let rig = Rig::new();
    let script = &rig.store.changes.create_answers;
    let overtaken = || Ok(CreateConfig::Overtaken);
    script
        .script
        .lock()
        .unwrap()
        .extend(std::iter::repeat_with(overtaken).take(1_000));
    let body = json!({"workload_type": "sleep"});
    let answer = rig.post("/v1/workload-configs", &body).await;
    answer.refuses(503, "SERVICE_UNAVAILABLE");
}
