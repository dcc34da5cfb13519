//! Authorization: every input of a peer or an operator is checked once, before it is processed.
//!
//! There is no authentication yet, so every principal is [`Principal::Anonymous`] and [`allow_all`] is the only policy
//! outside tests. Rules per principal take its place; the actions are the rows of their table.

use super::{Call, Question, Report};

/// On whose behalf an input is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Unauthenticated.
    #[default]
    Anonymous,
}

/// What a principal asks to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    RegisterFramework,
    UpdateFramework,
    TeardownFramework,
    UseOffers,
    RequestOffers,
    KillTask,
    AcknowledgeStatus,
    ReconcileTasks,
    SendMessage,
    RegisterAgent,
    ReportAsAgent,
    UnregisterAgent,
    ViewState,
    ViewRegistry,
    MarkAgentGone,
    UpdateWeights,
    UpdateQuotas,
}

/// What an action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object<'a> {
    /// The peer's own framework or agent, also one that is about to subscribe or register.
    Own,
    Framework(&'a str),
    Agent(&'a str),
    Cluster,
}

/// Whether a principal may perform an action on an object.
pub(super) type Policy = fn(&Principal, Action, Object<'_>) -> bool;

/// Allows everything to every principal.
pub(super) fn allow_all(_: &Principal, _: Action, _: Object<'_>) -> bool {
    true
}

/// Applies the policy.
///
/// # Errors
/// A text that names the principal, the action and the object.
pub(super) fn authorize(
    policy: Policy,
    principal: &Principal,
    (action, object): (Action, Object<'_>),
) -> Result<(), String> {
    if policy(principal, action, object) {
        return Ok(());
    }
    Err(format!("{principal:?} is not authorized for {action:?} on {object:?}"))
}

impl Call {
    /// The action to be authorized; `None` if it is refused anyway.
    pub(super) fn action(&self) -> Option<(Action, Object<'_>)> {
        let action = match self {
            Self::Subscribe(_) => Action::RegisterFramework,
            Self::UpdateFramework(_) => Action::UpdateFramework,
            Self::Teardown => Action::TeardownFramework,
            Self::Accept(_) | Self::Decline { .. } => Action::UseOffers,
            Self::Revive { .. } | Self::Suppress { .. } | Self::Request { .. } => Action::RequestOffers,
            Self::Kill { .. } => Action::KillTask,
            Self::Acknowledge { .. } => Action::AcknowledgeStatus,
            Self::Reconcile { .. } => Action::ReconcileTasks,
            Self::Message { .. } => Action::SendMessage,
            Self::Invalid { .. } => return None,
        };
        Some((action, Object::Own))
    }
}

impl Report {
    /// The action to be authorized; `None` if it is refused anyway.
    pub(super) fn action(&self) -> Option<(Action, Object<'_>)> {
        let action = match self {
            Self::Register(_) => Action::RegisterAgent,
            Self::Updated(_) | Self::Ponged | Self::OrphanGone { .. } => Action::ReportAsAgent,
            Self::Sent { .. } => Action::SendMessage,
            Self::Unregistered => Action::UnregisterAgent,
            Self::Invalid { .. } => return None,
        };
        Some((action, Object::Own))
    }
}

impl Question {
    /// The action to be authorized; `None` for a liveness check, which needs no authorization.
    pub(super) fn action(&self) -> Option<(Action, Object<'_>)> {
        Some(match self {
            Self::Alive => return None,
            Self::Snapshot | Self::Departed => (Action::ViewState, Object::Cluster),
            Self::Registry => (Action::ViewRegistry, Object::Cluster),
            Self::Teardown { framework } => (Action::TeardownFramework, Object::Framework(framework)),
            Self::MarkGone { agent } => (Action::MarkAgentGone, Object::Agent(agent)),
            Self::Weights { .. } => (Action::UpdateWeights, Object::Cluster),
            Self::Quotas { .. } => (Action::UpdateQuotas, Object::Cluster),
        })
    }
}
