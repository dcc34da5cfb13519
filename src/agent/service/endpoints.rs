//! The endpoints on an agent's port: its health, metrics and version, and the files of its sandboxes.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::{Router, routing};

use super::health::Health;
use super::reading::Reading;
use crate::proto::ext::sandbox_server::SandboxServer;

/// The Mesos version of the API.
const MESOS_VERSION: &str = "1.11.0";

/// The router of all endpoints.
pub(super) fn router(reading: Reading, health: Health) -> Router {
    let grpc = tonic::service::Routes::new(SandboxServer::new(reading)).into_axum_router();
    let metrics = health.clone();
    grpc.route("/health", routing::get(async move || ([(CONTENT_TYPE, "application/json")], health.document())))
        .route(
            "/metrics",
            routing::get(async move || ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.metrics())),
        )
        .route("/version", routing::get(version))
}

async fn version() -> impl IntoResponse {
    let divvy = env!("CARGO_PKG_VERSION");
    let body = format!(r#"{{"version":"{MESOS_VERSION}","divvy_version":"{divvy}"}}"#);
    ([(CONTENT_TYPE, "application/json")], body)
}
