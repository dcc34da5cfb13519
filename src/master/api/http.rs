//! The HTTP pages: `/health`, `/version`, `/metrics`, `/state`.

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use super::{Api, MESOS_VERSION, metrics::Measured};

/// The routes, each also under `/master`, where clients of Mesos request them.
pub(super) fn routes(api: Api) -> Router {
    let pages = || {
        Router::new()
            .route("/health", get(health))
            .route("/version", get(version))
            .route("/metrics", get(prometheus))
            .route("/state", get(whole_state))
    };
    pages().nest("/master", pages()).with_state(api)
}

async fn health(State(api): State<Api>) -> Response {
    match api.core.ask(crate::master::core::Question::Alive).await {
        Ok(_) => match api.core.lag().stalled() {
            Some(text) => (StatusCode::SERVICE_UNAVAILABLE, text).into_response(),
            None => StatusCode::OK.into_response(),
        },
        Err(stopped) => (StatusCode::SERVICE_UNAVAILABLE, stopped.to_string()).into_response(),
    }
}

async fn version() -> Response {
    as_json(json!({ "version": MESOS_VERSION, "divvy_version": env!("CARGO_PKG_VERSION") }).to_string().into_bytes())
}

async fn prometheus(State(api): State<Api>) -> Response {
    let measured = Measured {
        registry_waited: api.core.lag().waited(),
        longest_turn: api.core.turns().longest(),
        unread: api.core.budget().clone(),
    };
    let text = async { api.pages.reader().await?.metrics(measured).await };
    match text.await {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text.to_string()).into_response()
        }
        Err(status) => (StatusCode::SERVICE_UNAVAILABLE, status.message().to_owned()).into_response(),
    }
}

/// Streams the document as the client reads it. If the client is too slow, the transfer is aborted.
async fn whole_state(State(api): State<Api>) -> Response {
    match api.pages.reader().await {
        Ok(reader) => as_json(Body::from_stream(reader.state(api.facts.clone()))),
        Err(status) => (StatusCode::SERVICE_UNAVAILABLE, status.message().to_owned()).into_response(),
    }
}

fn as_json(document: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.into()).into_response()
}
