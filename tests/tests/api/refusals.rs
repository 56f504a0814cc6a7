//! What every route refuses in the same way, made from what the document says of the route.

use tests::Answer;

use super::asked::{Asked, Who};
use super::document::{Access, Operation};
use super::place::{Ids, Place};
use super::wire::exchange;

/// An answer of this status that does not depend on what the route does; `None` if there is no such.
pub(crate) async fn refused(place: &Place, operation: &Operation, status: u16) -> Option<Answer> {
    let right = place.ask(operation);
    let asked = match (status, operation.access) {
        // A probe looks at no parameter; a head that is no HTTP is refused whatever it is for.
        (400, Access::Public) => {
            let head = format!(
                "{} {} HTTP/1.1\r\nno header\r\n\r\n",
                right.method, right.path
            );
            let answer = exchange(&place.url, &head).await;
            operation.check(&answer);
            return Some(answer);
        }
        (400, Access::Customer | Access::Admin) => right.query("surprise=1"),
        (401, _) => right.by(Who::Nobody),
        (403, Access::Customer) => right.by(Who::Admin),
        (403, Access::Admin) => right.by(Who::Own),
        (404, _) => not_found(place, operation).await?,
        (408, _) => return Some(too_slow(place, operation).await),
        (413, _) => {
            let most = if operation.id.ends_with("batch") {
                8
            } else {
                1
            };
            let body = Some(" ".repeat((most << 20) + 1));
            Asked { body, ..right }
        }
        (414, _) => right.query(&format!("x={}", "x".repeat(9 << 10))),
        (415, _) => right.header("Content-Type", "text/plain"),
        (422, _) => right.body(&serde_json::json!({"surprise": 1})),
        (429, _) => return Some(too_often(place, operation).await),
        (431, _) => right.header("X-Much", &"x".repeat(20 << 10)),
        _ => return None,
    };
    Some(send(place, operation, &asked).await)
}

pub(crate) async fn send(place: &Place, operation: &Operation, asked: &Asked) -> Answer {
    asked.send(operation, &place.client(asked.who)).await
}

/// What names nothing: for customers' routes another customer, and where an id stands in the path,
/// nobody's and somebody else's.
async fn not_found(place: &Place, operation: &Operation) -> Option<Asked> {
    let none = place.ask_for(operation, &Ids::of_nobody());
    let has_id = none.path != operation.path;
    if operation.access != Access::Customer {
        return has_id.then_some(none);
    }
    if has_id {
        let mine = place.ask(operation).by(Who::Other);
        for asked in [&none, &mine] {
            let answer = send(place, operation, asked).await;
            answer.expect_problem(404, "NOT_FOUND");
        }
    }
    let named = format!("customer_id={}", place.other_customer);
    Some(place.ask(operation).query(&named))
}

/// A body that does not come. Takes as long as the server waits for one.
async fn too_slow(place: &Place, operation: &Operation) -> Answer {
    let asked = place.ask(operation);
    let head = format!(
        "{} {} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{",
        asked.method,
        asked.path,
        place.key(asked.who)
    );
    let answer = exchange(&place.url, &head).await;
    operation.check(&answer);
    answer
}

/// One request more than a customer may send.
async fn too_often(place: &Place, operation: &Operation) -> Answer {
    let asked = place.ask(operation).by(Who::Limited);
    for _ in 0..50 {
        let answer = send(place, operation, &asked).await;
        if answer.status == 429 {
            return answer;
        }
    }
    panic!("{} {} is not limited", operation.method, operation.path);
}
