//! What the master says to the world: gRPC streams for frameworks and agents, calls for operators, pages for machines.
//!
//! Everything here runs on the connections' tasks: it decodes, validates and encodes, and decides nothing.

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

/// What every handler knows of the master it serves.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) core: Handle,
    pub(super) facts: Arc<MasterFacts>,
    pub(super) sessions: Arc<AtomicU64>,
    /// What `/state` and `/metrics` show.
    pages: Views,
    /// What calls of operators are answered from.
    questions: Views,
    /// One backup is made at a time.
    backups: Arc<Semaphore>,
}

impl Api {
    pub(super) fn new(core: Handle, facts: MasterFacts) -> Self {
        let (pages, questions) = (Views::of_pages(core.clone()), Views::of_questions(core.clone()));
        Self {
            core,
            facts: Arc::new(facts),
            sessions: Arc::default(),
            pages,
            questions,
            backups: Arc::new(Semaphore::new(1)),
        }
    }
}

/// What the master says of itself.
#[derive(Clone, Debug)]
pub(crate) struct MasterFacts {
    pub(crate) id: String,
    pub(crate) hostname: String,
    pub(crate) address: SocketAddr,
    /// Seconds since the epoch.
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

/// The version of the Mesos API this master answers with.
pub(super) const MESOS_VERSION: &str = "1.11.0";
