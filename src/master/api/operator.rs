//! The operator calls of Mesos v1 over gRPC: what there is to see, and the changes this master does.

use tonic::{Request, Response, Status};

use super::{Api, MESOS_VERSION, render, roles};
use crate::{
    master::core::{Answer, Question, Snapshot},
    proto::{
        ext::operator_server::Operator,
        v1::{
            self,
            master::{Call, Response as Reply, call::Type, response},
        },
    },
};

#[tonic::async_trait]
impl Operator for Api {
    async fn call(&self, request: Request<Call>) -> Result<Response<Reply>, Status> {
        let call = request.into_inner();
        let kind = Type::try_from(call.r#type.unwrap_or_default()).unwrap_or(Type::Unknown);
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
                reply.get_agents = Some(self.rendered(render::agents).await?);
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
            Type::Teardown | Type::MarkAgentGone | Type::UpdateWeights | Type::UpdateQuota => {
                for question in questions(call)? {
                    self.change(question).await?;
                }
            }
            Type::GetQuota => {
                reply.set_type(response::Type::GetQuota);
                reply.get_quota = Some(self.rendered(roles::quotas).await?);
            }
            Type::GetRoles => {
                reply.set_type(response::Type::GetRoles);
                reply.get_roles = Some(self.rendered(roles::roles).await?);
            }
            other => {
                return Err(Status::unimplemented(format!("{} is not served by this master", other.as_str_name())));
            }
        }
        Ok(Response::new(reply))
    }
}

impl Api {
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
            Answer::Registry(..) | Answer::Done | Answer::Refused(_) => Err(Status::internal("no snapshot came")),
        }
    }

    async fn change(&self, question: Question) -> Result<(), Status> {
        match self.core.ask(question).await.map_err(|error| Status::unavailable(error.to_string()))? {
            Answer::Refused(text) => Err(Status::invalid_argument(text)),
            Answer::Done | Answer::Snapshot(_) | Answer::Registry(..) => Ok(()),
        }
    }
}

/// What a call that changes something asks of the core, in order; nothing for one that only looks.
pub(super) fn questions(call: Call) -> Result<Vec<Question>, Status> {
    let missing = |field: &str| Status::invalid_argument(format!("{field}: missing"));
    Ok(match Type::try_from(call.r#type.unwrap_or_default()).unwrap_or(Type::Unknown) {
        Type::Teardown => {
            let teardown = call.teardown.ok_or_else(|| missing("teardown"))?;
            vec![Question::Teardown { framework: teardown.framework_id.value }]
        }
        Type::MarkAgentGone => {
            let gone = call.mark_agent_gone.ok_or_else(|| missing("mark_agent_gone"))?;
            vec![Question::MarkGone { agent: gone.agent_id.value }]
        }
        Type::UpdateWeights => {
            let weigh = |info: v1::WeightInfo| {
                let role = info.role.ok_or_else(|| missing("update_weights.role"))?;
                Ok(Question::Weight { role, weight: info.weight })
            };
            let infos = call.update_weights.unwrap_or_default().weight_infos;
            infos.into_iter().map(weigh).collect::<Result<_, Status>>()?
        }
        Type::UpdateQuota => {
            let update = call.update_quota.ok_or_else(|| missing("update_quota"))?;
            let quotas = roles::parse_quotas(&update.quota_configs).map_err(Status::invalid_argument)?;
            vec![Question::Quotas { quotas, force: update.force() }]
        }
        _ => Vec::new(),
    })
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
