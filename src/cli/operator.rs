//! A client of the master's operator API.

use tonic::{Code, transport::Channel};

use crate::{
    proto::{
        ext::{BackupRequest, operator_client::OperatorClient, registry_client::RegistryClient},
        v1::{
            AgentId,
            master::{
                Call, Response, call,
                response::{self, GetState},
            },
        },
    },
    transport::{
        MAX_REPLY_BYTES,
        connect::{self, Addresses},
    },
};

/// A connection to the master's operator API.
#[derive(Debug)]
pub struct Operator {
    client: OperatorClient<Channel>,
    registry: RegistryClient<Channel>,
}

impl Operator {
    /// Connects to the first master that answers.
    ///
    /// # Errors
    /// When no master answers.
    pub async fn connect(master: &Addresses) -> anyhow::Result<Self> {
        let channel = connect::master(master).await?;
        Ok(Self {
            client: OperatorClient::new(channel.clone()).max_decoding_message_size(MAX_REPLY_BYTES),
            registry: RegistryClient::new(channel),
        })
    }

    /// Lists all agents.
    ///
    /// # Errors
    /// When the master does not answer or returns an error.
    pub async fn agents(&mut self) -> anyhow::Result<response::GetAgents> {
        Ok(self.list(call::Type::GetAgents).await?.get_agents.unwrap_or_default())
    }

    /// Marks an agent gone for good.
    ///
    /// # Errors
    /// When the master does not answer, or does not know the agent.
    pub async fn mark_gone(&mut self, agent_id: &str) -> anyhow::Result<()> {
        let agent_id = AgentId { value: agent_id.to_owned() };
        let call = Call {
            r#type: Some(call::Type::MarkAgentGone.into()),
            mark_agent_gone: Some(call::MarkAgentGone { agent_id }),
            ..Call::default()
        };
        let answer = self.client.call(call).await;
        answer.map(drop).map_err(|status| anyhow::anyhow!("{}", status.message()))
    }

    /// Lists all tasks that the master has.
    ///
    /// # Errors
    /// When the master does not answer or returns an error.
    pub async fn tasks(&mut self) -> anyhow::Result<response::GetTasks> {
        Ok(self.list(call::Type::GetTasks).await?.get_tasks.unwrap_or_default())
    }

    /// Lists all frameworks that the master has.
    ///
    /// # Errors
    /// When the master does not answer or returns an error.
    pub async fn frameworks(&mut self) -> anyhow::Result<response::GetFrameworks> {
        Ok(self.list(call::Type::GetFrameworks).await?.get_frameworks.unwrap_or_default())
    }

    /// Reads a backup of the registry, as the bytes of its file.
    ///
    /// # Errors
    /// When the master does not answer or the stream fails.
    pub async fn backup(&mut self) -> anyhow::Result<Vec<u8>> {
        let failed = |status: tonic::Status| anyhow::anyhow!("the master returned no backup: {}", status.message());
        let mut chunks = self.registry.backup(BackupRequest {}).await.map_err(failed)?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await.map_err(failed)? {
            bytes.extend_from_slice(&chunk.data);
        }
        Ok(bytes)
    }

    /// Calls `List` and merges the parts of the answer.
    async fn list(&mut self, what: call::Type) -> anyhow::Result<GetState> {
        let failed = |status: tonic::Status| {
            anyhow::anyhow!("{}", status.message()).context(format!("the master did not answer {}", what.as_str_name()))
        };
        let question = Call { r#type: Some(what.into()), ..Call::default() };
        let mut whole = GetState::default();
        let mut parts = match self.client.list(question.clone()).await {
            Ok(parts) => parts.into_inner(),
            // A master of a version before `List` sends everything in one answer.
            Err(status) if status.code() == Code::Unimplemented => {
                append(&mut whole, self.client.call(question).await.map_err(failed)?.into_inner());
                return Ok(whole);
            }
            Err(status) => return Err(failed(status)),
        };
        while let Some(part) = parts.message().await.map_err(failed)? {
            append(&mut whole, part);
        }
        Ok(whole)
    }
}

/// Appends the lists of a part.
#[expect(deprecated, reason = "Mesos no longer uses this field; it holds divvy's orphans")]
fn append(whole: &mut GetState, part: Response) {
    if let Some(part) = part.get_tasks {
        let tasks = whole.get_tasks.get_or_insert_default();
        tasks.tasks.extend(part.tasks);
        tasks.unreachable_tasks.extend(part.unreachable_tasks);
        tasks.orphan_tasks.extend(part.orphan_tasks);
        tasks.completed_tasks.extend(part.completed_tasks);
    }
    if let Some(part) = part.get_frameworks {
        let frameworks = whole.get_frameworks.get_or_insert_default();
        frameworks.frameworks.extend(part.frameworks);
        frameworks.completed_frameworks.extend(part.completed_frameworks);
    }
    if let Some(part) = part.get_agents {
        let agents = whole.get_agents.get_or_insert_default();
        agents.agents.extend(part.agents);
        agents.recovered_agents.extend(part.recovered_agents);
        agents.departed.extend(part.departed);
    }
}

#[cfg(test)]
mod tests {
    use futures::stream::Empty;
    use tokio_util::sync::CancellationToken;
    use tonic::{Request, Status, service::Routes};

    use super::*;
    use crate::{
        proto::{ext::operator_server, v1::AgentInfo},
        transport::serve::{Limits, Listener, serve},
    };

    /// A master of the version before `List`.
    struct WithoutList;

    #[tonic::async_trait]
    impl operator_server::Operator for WithoutList {
        type ListStream = Empty<Result<Response, Status>>;

        async fn list(&self, _: Request<Call>) -> Result<tonic::Response<Self::ListStream>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn call(&self, request: Request<Call>) -> Result<tonic::Response<Response>, Status> {
            assert_eq!(request.into_inner().r#type(), call::Type::GetAgents);
            let agent_info = AgentInfo { hostname: "h".to_owned(), ..AgentInfo::default() };
            let agent = response::get_agents::Agent { agent_info, ..Default::default() };
            let agents = response::GetAgents { agents: vec![agent], ..Default::default() };
            Ok(tonic::Response::new(Response { get_agents: Some(agents), ..Response::default() }))
        }
    }

    #[tokio::test]
    async fn a_master_without_the_list_call_is_sent_the_whole_call_instead() {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), false).await.expect("a free port");
        let masters = listener.address().to_string().parse().expect("an address");
        let app = Routes::new(operator_server::OperatorServer::new(WithoutList)).into_axum_router();
        let stop = CancellationToken::new();
        let _stops = stop.clone().drop_guard();
        tokio::spawn(serve(listener, app, Limits::default(), stop));
        let mut operator = Operator::connect(&masters).await.expect("it serves");
        let agents = operator.agents().await.expect("an answer");
        assert_eq!(agents.agents[0].agent_info.hostname, "h");
    }
}
