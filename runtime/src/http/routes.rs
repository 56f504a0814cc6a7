//! The table of routes: the one list from which the router, the document, and the tests of who may
//! do what, are made.
//!
//! Method and path stand at the handler (`#[utoipa::path]`), and are read from there alone, so the
//! document cannot say another thing than the router does. Who may use a route stands here.

use super::{
    ApiState, admin, auth::Access, configs, control, customers, health, keys, logs, openapi, stats,
    workloads,
};
use axum::{http::Method, routing::MethodRouter};
use utoipa::openapi::{PathItem, RefOr, Schema, path::Operation};
use utoipa_axum::router::UtoipaMethodRouter;

/// One route.
pub(crate) struct Route {
    /// How it is asked.
    pub(crate) method: Method,
    /// Its path, with names for what varies.
    pub(crate) path: String,
    /// Who may use it.
    pub(crate) access: Access,
    /// What answers.
    pub(crate) handler: MethodRouter<ApiState>,
    /// What its handler says of it.
    pub(crate) operation: Operation,
    /// The schemas that it names.
    pub(crate) schemas: Vec<(String, RefOr<Schema>)>,
}

impl Route {
    fn new(
        access: Access,
        (schemas, paths, handler): UtoipaMethodRouter<ApiState>,
    ) -> Option<Self> {
        let (path, item) = paths.paths.into_iter().next()?;
        let (method, operation) = only_operation(item)?;
        Some(Self {
            method,
            path,
            access,
            handler,
            operation,
            schemas,
        })
    }
}

fn only_operation(item: PathItem) -> Option<(Method, Operation)> {
    let operations = [
        (Method::GET, item.get),
        (Method::POST, item.post),
        (Method::PUT, item.put),
        (Method::PATCH, item.patch),
        (Method::DELETE, item.delete),
    ];
    let mut found = operations
        .into_iter()
        .filter_map(|(method, operation)| operation.map(|operation| (method, operation)));
    found.next()
}

/// Routes of one access; each handler carries its method and path.
macro_rules! routes {
    ($access:expr; $($module:ident :: $handler:ident),+ $(,)?) => {
        [$(Route::new($access, utoipa_axum::routes!($module::$handler))),+]
    };
}

/// Every route.
pub(crate) fn all() -> Vec<Route> {
    let public = routes![Access::Public;
        health::health, health::ready, health::metrics, openapi::document, openapi::page,
    ];
    let customer = routes![Access::Customer;
        workloads::submit, workloads::list, workloads::submit_batch, workloads::show,
        control::cancel, control::pause, control::resume, logs::logs, workloads::audit,
        configs::create, configs::list, configs::show, configs::replace, configs::delete,
        customers::own, stats::stats,
    ];
    let operator = routes![Access::Admin;
        admin::workers, admin::drain, admin::undrain, admin::remove,
        customers::create, customers::list, customers::show, customers::patch,
        keys::create, keys::list, keys::revoke, admin::coordinators, admin::audit,
    ];
    let all = public.into_iter().chain(customer).chain(operator);
    // Each handler has a method: a test counts them.
    all.flatten().collect()
}
