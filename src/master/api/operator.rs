//! The operator calls of Mesos v1 over gRPC: queries and changes.

use futures::stream::{self, BoxStream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::{Api, MESOS_VERSION, lists::Pager, render, roles, views::Reader};
use crate::{
    master::core::{Answer, Question, Snapshot},
    proto::{
        ext::operator_server::Operator,
        v1::{
            self,
            master::{Call, Response as Reply, call::Type, response, response::get_agents::Departed},
        },
    },
    types::limits::ID_BYTES,
};

/// The approximate size of a part of a large answer.
const PART_BYTES: usize = 64 << 10;
/// The largest answer that is sent in one piece.
const WHOLE_BYTES: usize = 1 << 20;

#[tonic::async_trait]
impl Operator for Api {
    type ListStream = BoxStream<'static, Result<Reply, Status>>;

    async fn list(&self, request: Request<Call>) -> Result<Response<Self::ListStream>, Status> {
        let kind = kind(&request.into_inner());
        if !Pager::has_lists(kind) {
            let text = format!("type: {} has no list to send in parts: use Call", kind.as_str_name());
            return Err(Status::invalid_argument(text));
        }
        let (reader, pager) = self.pager(kind).await?;
        let parts = stream::unfold(Some((reader, pager)), |at| async move {
            let (reader, mut pager) = at?;
            match reader.view() {
                Ok(view) => Some((Ok(pager.part(&view, PART_BYTES)?), Some((reader, pager)))),
                Err(cut_off) => Some((Err(cut_off), None)),
            }
        });
        Ok(Response::new(parts.boxed()))
    }

    async fn call(&self, request: Request<Call>) -> Result<Response<Reply>, Status> {
        let call = request.into_inner();
        let kind = kind(&call);
        if let Some(reply) = self.answer_query(kind).await? {
            return Ok(Response::new(reply));
        }
        self.change(question(kind, call)?).await?;
        Ok(Response::new(Reply::default()))
    }
}

fn kind(call: &Call) -> Type {
    Type::try_from(call.r#type.unwrap_or_default()).unwrap_or(Type::Unknown)
}

/// The question to the core of a call that changes something.
pub(super) fn question(kind: Type, call: Call) -> Result<Question, Status> {
    Ok(match kind {
        Type::Teardown => {
            let teardown = call.teardown.ok_or_else(|| missing("teardown"))?;
            Question::Teardown { framework: id("teardown.framework_id", teardown.framework_id.value)? }
        }
        Type::MarkAgentGone => {
            let gone = call.mark_agent_gone.ok_or_else(|| missing("mark_agent_gone"))?;
            Question::MarkGone { agent: id("mark_agent_gone.agent_id", gone.agent_id.value)? }
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

/// Checks the length of an id, so that an error may quote it.
fn id(field: &str, id: String) -> Result<String, Status> {
    if id.len() <= ID_BYTES {
        return Ok(id);
    }
    Err(Status::invalid_argument(format!("{field}: has {} bytes; at most {ID_BYTES} are accepted", id.len())))
}

fn missing(field: &str) -> Status {
    Status::invalid_argument(format!("{field}: missing"))
}

impl Api {
    /// The answer to a call that changes nothing; `None` for any other call.
    async fn answer_query(&self, kind: Type) -> Result<Option<Reply>, Status> {
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
            _ => return self.whole(kind).await,
        }
        Ok(Some(reply))
    }

    /// An answer of lists in one piece, or an error if it is too large; `None` for calls without lists.
    async fn whole(&self, kind: Type) -> Result<Option<Reply>, Status> {
        if !Pager::has_lists(kind) {
            return Ok(None);
        }
        let (reader, mut pager) = self.pager(kind).await?;
        let view = reader.view()?;
        let rendered = tokio::task::spawn_blocking(move || (pager.part(&view, WHOLE_BYTES), pager.part(&view, 1)));
        let (whole, more) = rendered.await.map_err(|error| Status::internal(format!("rendering failed: {error}")))?;
        if more.is_some() {
            return Err(Status::resource_exhausted(format!(
                "the answer to {} has more than {WHOLE_BYTES} bytes: call divvy.ext.Operator/List, which sends it in parts",
                kind.as_str_name()
            )));
        }
        Ok(Some(whole.unwrap_or_else(|| Pager::empty(kind))))
    }

    async fn pager(&self, kind: Type) -> Result<(Reader, Pager), Status> {
        let departed = if kind == Type::GetAgents { self.departed().await? } else { Vec::new() };
        let reader = self.calls.reader().await?;
        Ok((reader, Pager::new(self.facts.id.as_str().into(), kind, departed)))
    }

    /// Takes a snapshot and renders it on a blocking thread, not the core's or a connection's.
    async fn rendered<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Snapshot) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let reader = self.calls.reader().await?;
        let view = reader.view()?;
        let rendered = tokio::task::spawn_blocking(move || write(&view.snapshot)).await;
        drop(reader);
        rendered.map_err(|error| Status::internal(format!("rendering failed: {error}")))
    }

    async fn departed(&self) -> Result<Vec<Departed>, Status> {
        match self.core.ask(Question::Departed).await.map_err(|error| Status::unavailable(error.to_string()))? {
            Answer::Departed(departed) => Ok(departed.into_iter().map(render::departed).collect()),
            Answer::Snapshot(_) | Answer::Registry(..) | Answer::Alive | Answer::Done | Answer::Refused(_) => {
                Err(Status::internal("the core returned no list of departed agents"))
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

fn weights(snapshot: &Snapshot) -> response::GetWeights {
    let one = |(role, weight): (&String, &f64)| v1::WeightInfo { role: Some(role.clone()), weight: *weight };
    response::GetWeights { weight_infos: snapshot.weights.iter().map(one).collect() }
}
