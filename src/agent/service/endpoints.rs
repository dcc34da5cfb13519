//! What an agent serves on its port: its health, its version, and the files of its sandboxes.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::{Router, routing};

use super::reading::Reading;
use crate::proto::ext::sandbox_server::SandboxServer;

/// The version of Mesos whose API is spoken.
const MESOS_VERSION: &str = "1.11.0";

/// All that is served.
pub(super) fn router(reading: Reading) -> Router {
    let grpc = tonic::service::Routes::new(SandboxServer::new(reading)).into_axum_router();
    grpc.route("/health", routing::get(|| async {})).route("/version", routing::get(version))
}

async fn version() -> impl IntoResponse {
    let divvy = env!("CARGO_PKG_VERSION");
    let body = format!(r#"{{"version":"{MESOS_VERSION}","divvy_version":"{divvy}"}}"#);
    ([(CONTENT_TYPE, "application/json")], body)
}
