//! The operator calls of Mesos v1 over gRPC: what there is to see, and the changes this master does.

use tonic::{Request, Response, Status};

use super::{Api, MESOS_VERSION, render, roles};
use crate::{
    master::core::{Answer, Question, Snapshot},
    proto::{
        ext::operator_server::Operator,
        v1::{
            self,
            master::{Call, Response as Reply, call::Type, response, response::get_agents::Departed},
        },
    },
};

#[tonic::async_trait]
impl Operator for Api {
    async fn call(&self, request: Request<Call>) -> Result<Response<Reply>, Status> {
        let call = request.into_inner();
        let kind = Type::try_from(call.r#type.unwrap_or_default()).unwrap_or(Type::Unknown);
        if let Some(reply) = self.shown(kind).await? {
            return Ok(Response::new(reply));
        }
        self.change(question(kind, call)?).await?;
        Ok(Response::new(Reply::default()))
    }
}

/// What a call that changes something asks of the core.
pub(super) fn question(kind: Type, call: Call) -> Result<Question, Status> {
    Ok(match kind {
        Type::Teardown => {
            let teardown = call.teardown.ok_or_else(|| missing("teardown"))?;
            Question::Teardown { framework: teardown.framework_id.value }
        }
        Type::MarkAgentGone => {
            let gone = call.mark_agent_gone.ok_or_else(|| missing("mark_agent_gone"))?;
            Question::MarkGone { agent: gone.agent_id.value }
        }
        Type::UpdateWeights => {
            let update = call.update_weights.ok_or_else(|| missing("update_weights"))?;
            let weights = roles::parse_weights(update.weight_infos).map_err(Status::invalid_argument)?;
            Question::Weights { weights }
        }
        Type::UpdateQuota => {
            let update = call.update_quota.ok_or_else(|| missing("update_quota"))?;
            let quotas = roles::parse_quotas(&update.quota_configs).map_err(Status::invalid_argument)?;
            Question::Quotas { quotas, force: update.force() }
        }
        Type::Unknown => return Err(missing("type")),
        other => {
            return Err(Status::unimplemented(format!("{} is not served by this master", other.as_str_name())));
        }
    })
}

fn missing(field: &str) -> Status {
    Status::invalid_argument(format!("{field}: missing"))
}

impl Api {
    /// The answer to a call that changes nothing; `None` to any other.
    async fn shown(&self, kind: Type) -> Result<Option<Reply>, Status> {
        let mut reply = Reply::default();
        match kind {
            Type::GetHealth => {
                reply.set_type(response::Type::GetHealth);
                reply.get_health = Some(response::GetHealth { healthy: true });
            }
            Type::GetVersion => {
                reply.set_type(response::Type::GetVersion);
                let version_info = v1::VersionInfo { version: MESOS_VERSION.to_owned(), ..v1::VersionInfo::default() };
                reply.get_version = Some(response::GetVersion { version_info });
            }
            Type::GetMaster => {
                reply.set_type(response::Type::GetMaster);
                reply.get_master = Some(response::GetMaster {
                    master_info: Some(self.facts.info()),
                    start_time: Some(self.facts.started),
                    elected_time: Some(self.facts.started),
                });
            }
            Type::GetAgents => {
                reply.set_type(response::Type::GetAgents);
                let departed = self.departed().await?;
                let agents = self.rendered(render::agents).await?;
                reply.get_agents = Some(response::GetAgents { departed, ..agents });
            }
            Type::GetTasks => {
                reply.set_type(response::Type::GetTasks);
                reply.get_tasks = Some(self.rendered(render::tasks).await?);
            }
            Type::GetFrameworks => {
                reply.set_type(response::Type::GetFrameworks);
                let id = self.facts.id.clone();
                reply.get_frameworks = Some(self.rendered(move |snapshot| render::frameworks(snapshot, &id)).await?);
            }
            Type::GetState => {
                reply.set_type(response::Type::GetState);
                let id = self.facts.id.clone();
                reply.get_state = Some(self.rendered(move |snapshot| state(snapshot, &id)).await?);
            }
            Type::GetWeights => {
                reply.set_type(response::Type::GetWeights);
                reply.get_weights = Some(self.rendered(weights).await?);
            }
            Type::GetQuota => {
                reply.set_type(response::Type::GetQuota);
                reply.get_quota = Some(self.rendered(roles::quotas).await?);
            }
            Type::GetRoles => {
                reply.set_type(response::Type::GetRoles);
                reply.get_roles = Some(self.rendered(roles::roles).await?);
            }
            _ => return Ok(None),
        }
        Ok(Some(reply))
    }

    /// Takes a snapshot and renders it away from the core's thread and from the connections'.
    pub(super) async fn rendered<T: Send + 'static>(
        &self,
        render: impl FnOnce(&Snapshot) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let answer = self.core.ask(Question::Snapshot).await.map_err(|error| Status::unavailable(error.to_string()))?;
        match answer {
            Answer::Snapshot(snapshot) => tokio::task::spawn_blocking(move || render(&snapshot))
                .await
                .map_err(|error| Status::internal(format!("rendering failed: {error}"))),
            Answer::Departed(_) | Answer::Registry(..) | Answer::Alive | Answer::Done | Answer::Refused(_) => {
                Err(Status::internal("no snapshot came"))
            }
        }
    }

    async fn departed(&self) -> Result<Vec<Departed>, Status> {
        match self.core.ask(Question::Departed).await.map_err(|error| Status::unavailable(error.to_string()))? {
            Answer::Departed(departed) => Ok(departed.into_iter().map(render::departed).collect()),
            Answer::Snapshot(_) | Answer::Registry(..) | Answer::Alive | Answer::Done | Answer::Refused(_) => {
                Err(Status::internal("no list of departed agents came"))
            }
        }
    }

    async fn change(&self, question: Question) -> Result<(), Status> {
        match self.core.ask(question).await.map_err(|error| Status::unavailable(error.to_string()))? {
            Answer::Refused(text) => Err(Status::invalid_argument(text)),
            Answer::Done | Answer::Alive | Answer::Departed(_) | Answer::Snapshot(_) | Answer::Registry(..) => Ok(()),
        }
    }
}

fn state(snapshot: &Snapshot, master: &str) -> response::GetState {
    response::GetState {
        get_tasks: Some(render::tasks(snapshot)),
        get_executors: Some(response::GetExecutors::default()),
        get_frameworks: Some(render::frameworks(snapshot, master)),
        get_agents: Some(render::agents(snapshot)),
    }
}

fn weights(snapshot: &Snapshot) -> response::GetWeights {
    let one = |(role, weight): (&String, &f64)| v1::WeightInfo { role: Some(role.clone()), weight: *weight };
    response::GetWeights { weight_infos: snapshot.weights.iter().map(one).collect() }
}
