//! The response to an unknown path, in the caller's protocol.

use axum::{
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};

use crate::types::quoted;

/// Returns 404 with a text, or for a gRPC call the status `unimplemented`.
pub(super) async fn unknown(request: Request) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return tonic::Status::unimplemented(format!("{} is not served here", quoted(request.uri().path())))
            .into_http();
    }
    (StatusCode::NOT_FOUND, format!("{} is not served here\n", quoted(request.uri().path()))).into_response()
}
