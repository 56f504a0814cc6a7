//! Past the store, at the database itself: what only a test may do.

use crate::rig::Rig;
use sqlx::Connection as _;

impl Rig {
    /// Runs a statement past the store.
    pub(crate) async fn execute(&self, statement: &'static str) {
        if self.url.starts_with("sqlite") {
            let mut conn = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query(statement).execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
        } else {
            let mut conn = sqlx::PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(statement).execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
        }
    }

    /// The number that a question about a workload, `$1`, answers.
    pub(crate) async fn count(&self, question: String, number: u128) -> i64 {
        let question = sqlx::AssertSqlSafe(question);
        let workload = uuid::Uuid::from_u128(number);
        if self.url.starts_with("sqlite") {
            let mut conn = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            let query = sqlx::query_scalar(question).bind(workload);
            query.fetch_one(&mut conn).await.unwrap()
        } else {
            let mut conn = sqlx::PgConnection::connect(&self.url).await.unwrap();
            let query = sqlx::query_scalar(question).bind(workload);
            query.fetch_one(&mut conn).await.unwrap()
        }
    }
}
