//! The table of routes: the one list from which the router, and the tests of who may do what, are
//! made.

use super::{
    ApiState, admin, auth::Access, configs, control, customers, health, keys, logs, workloads,
};
use axum::{
    handler::Handler,
    http::Method,
    routing::{MethodFilter, MethodRouter, on},
};

/// One route.
pub(crate) struct Route {
    /// How it is asked.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the tests of who may do what read it")
    )]
    pub(crate) method: Method,
    /// Its path, with names for what varies.
    pub(crate) path: &'static str,
    /// Who may use it.
    pub(crate) access: Access,
    /// What answers.
    pub(crate) handler: MethodRouter<ApiState>,
}

fn route<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Route
where
    H: Handler<T, ApiState>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone());
    // The table below holds methods that axum knows.
    let filter = filter.unwrap_or(MethodFilter::TRACE);
    Route {
        method,
        path,
        access,
        handler: on(filter, handler),
    }
}

/// Every route.
pub(crate) fn all() -> Vec<Route> {
    let mut routes = public();
    routes.extend(customer());
    routes.extend(operator());
    routes
}

fn public() -> Vec<Route> {
    let get = |path, handler: MethodRouter<ApiState>| Route {
        method: Method::GET,
        path,
        access: Access::Public,
        handler,
    };
    vec![
        get("/health", axum::routing::get(health::health)),
        get("/ready", axum::routing::get(health::ready)),
        get("/metrics", axum::routing::get(health::metrics)),
    ]
}

fn customer() -> Vec<Route> {
    const WORKLOADS: &str = "/v1/workloads";
    const CONFIGS: &str = "/v1/workload-configs";
    const CONFIG: &str = "/v1/workload-configs/{config_id}";
    let (get, post) = (Method::GET, Method::POST);
    let of = Access::Customer;
    vec![
        route(post.clone(), WORKLOADS, of, workloads::submit),
        route(get.clone(), WORKLOADS, of, workloads::list),
        route(
            post.clone(),
            "/v1/workloads:batch",
            of,
            workloads::submit_batch,
        ),
        route(
            get.clone(),
            "/v1/workloads/{workload_id}",
            of,
            workloads::show,
        ),
        route(
            post.clone(),
            "/v1/workloads/{workload_id}/cancel",
            of,
            control::cancel,
        ),
        route(
            post.clone(),
            "/v1/workloads/{workload_id}/pause",
            of,
            control::pause,
        ),
        route(
            post.clone(),
            "/v1/workloads/{workload_id}/resume",
            of,
            control::resume,
        ),
        route(
            get.clone(),
            "/v1/workloads/{workload_id}/logs",
            of,
            logs::logs,
        ),
        route(
            get.clone(),
            "/v1/workloads/{workload_id}/audit",
            of,
            workloads::audit,
        ),
        route(post, CONFIGS, of, configs::create),
        route(get.clone(), CONFIGS, of, configs::list),
        route(get.clone(), CONFIG, of, configs::show),
        route(Method::PUT, CONFIG, of, configs::replace),
        route(Method::DELETE, CONFIG, of, configs::delete),
        route(get, "/v1/customer", of, customers::own),
    ]
}

fn operator() -> Vec<Route> {
    const CUSTOMERS: &str = "/v1/admin/customers";
    const CUSTOMER: &str = "/v1/admin/customers/{customer_id}";
    const KEYS: &str = "/v1/admin/customers/{customer_id}/api-keys";
    let (get, post) = (Method::GET, Method::POST);
    let of = Access::Admin;
    vec![
        route(get.clone(), "/v1/admin/workers", of, admin::workers),
        route(
            post.clone(),
            "/v1/admin/workers/{worker_id}/drain",
            of,
            admin::drain,
        ),
        route(
            post.clone(),
            "/v1/admin/workers/{worker_id}/undrain",
            of,
            admin::undrain,
        ),
        route(
            Method::DELETE,
            "/v1/admin/workers/{worker_id}",
            of,
            admin::remove,
        ),
        route(post.clone(), CUSTOMERS, of, customers::create),
        route(get.clone(), CUSTOMERS, of, customers::list),
        route(get.clone(), CUSTOMER, of, customers::show),
        route(Method::PATCH, CUSTOMER, of, customers::patch),
        route(post, KEYS, of, keys::create),
        route(get.clone(), KEYS, of, keys::list),
        route(
            Method::DELETE,
            "/v1/admin/api-keys/{key_id}",
            of,
            keys::revoke,
        ),
        route(
            get.clone(),
            "/v1/admin/coordinators",
            of,
            admin::coordinators,
        ),
        route(get, "/v1/admin/audit", of, admin::audit),
    ]
}
