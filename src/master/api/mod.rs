//! The master's API: gRPC streams for frameworks and agents, operator calls, and HTTP pages.
//!
//! It runs on the tasks of the connections: it decodes, validates and encodes. All decisions are the core's.

mod backup;
mod by_framework;
mod document;
mod http;
#[cfg(feature = "fuzz")]
pub(crate) mod inside;
pub(crate) mod intake;
mod lists;
mod metrics;
mod operator;
pub(crate) mod outgo;
mod reading;
mod render;
mod roles;
mod sessions;
mod state;
mod views;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
};

use axum::Router;
use tokio::sync::Semaphore;

use self::views::Views;
use super::service::Handle;
use crate::{
    proto::{
        ext::{
            operator_server::OperatorServer, registry_server::RegistryServer,
            scheduler_session_server::SchedulerSessionServer,
        },
        internal::agent_session_server::AgentSessionServer,
    },
    transport::{MAX_MESSAGE_BYTES, MAX_REGISTRATION_BYTES},
};

/// The state that all handlers share.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) core: Handle,
    pub(super) facts: Arc<MasterFacts>,
    pub(super) sessions: Arc<AtomicU64>,
    /// Snapshots for `/state` and `/metrics`.
    pages: Views,
    /// Snapshots for operator calls.
    calls: Views,
    /// Limits backups to one at a time.
    backups: Arc<Semaphore>,
}

impl Api {
    pub(super) fn new(core: Handle, facts: MasterFacts) -> Self {
        let (pages, calls) = (Views::for_pages(core.clone()), Views::for_calls(core.clone()));
        Self {
            core,
            facts: Arc::new(facts),
            sessions: Arc::default(),
            pages,
            calls,
            backups: Arc::new(Semaphore::new(1)),
        }
    }
}

/// The master's description of itself.
#[derive(Clone, Debug)]
pub(crate) struct MasterFacts {
    pub(crate) id: String,
    pub(crate) hostname: String,
    pub(crate) address: SocketAddr,
    /// When it started, in seconds since 1970.
    pub(crate) started: f64,
}

/// All routes of a master.
pub(super) fn router(api: Api) -> Router {
    let scheduler = SchedulerSessionServer::new(api.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let agents = AgentSessionServer::new(api.clone()).max_decoding_message_size(MAX_REGISTRATION_BYTES);
    let operator = OperatorServer::new(api.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let registry = RegistryServer::new(api.clone());
    let grpc = tonic::service::Routes::new(scheduler).add_service(agents).add_service(operator).add_service(registry);
    http::routes(api).merge(grpc.into_axum_router())
}

/// The version of the Mesos API that this master reports.
pub(super) const MESOS_VERSION: &str = "1.11.0";
