//! Disk space: an agent whose disk is full accepts no launches, and writes its records into space reserved for them.
//!
//! A launch received meanwhile is dropped, not failed: it never began, and its framework can place it elsewhere.

use prost::Message as _;
use prost::bytes::Bytes;

use super::containers::Phase;
use super::tasks::statuses::Report;
use super::{Agent, ContainerId, Effect, Problem};
use crate::proto::internal::RunTask;
use crate::proto::v1::task_status::Reason;
use crate::proto::v1::{TaskInfo, TaskState};
use crate::types::Now;

/// The state of the disk of the work directory.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// Since when it is full, on the monotonic clock, and the system's error text.
    full: Option<(u64, String)>,
}

impl Space {
    pub(super) fn is_full(&self) -> bool {
        self.full.is_some()
    }

    pub(super) fn problem(&self) -> Option<Problem> {
        self.full.as_ref().map(|(since_ns, text)| Problem::DiskFull { since_ns: *since_ns, text: text.clone() })
    }
}

impl Agent {
    /// The disk is full, as `text` says, or has free space again.
    pub(super) fn disk_full(&mut self, now: Now, text: Option<String>) {
        let since = self.space.full.as_ref().map_or(now.mono_ns, |(since, _)| *since);
        self.space.full = text.map(|text| (since, text));
    }

    /// Accepts a launch only to report that it is dropped, in as few bytes as possible.
    pub(super) fn refuse_for_space(
        &mut self,
        now: Now,
        id: &ContainerId,
        run: RunTask,
        info: &TaskInfo,
        out: &mut Vec<Effect>,
    ) {
        let info = TaskInfo { task_id: info.task_id.clone(), ..TaskInfo::default() };
        let run = RunTask { task_info: Bytes::from(info.encode_to_vec()), ..run };
        self.accept(now, id, run, &info, (None, Phase::Ended(None)), out);
        let why = self.space.full.as_ref().map(|(_, text)| text.as_str()).unwrap_or_default();
        let text = format!("the agent takes no tasks while the disk of its work directory is full: {why}");
        let state = self.lost_state_of(id, TaskState::TaskDropped);
        self.end(now, id, Report::by_agent(state, Reason::ContainerLaunchFailed, text), out);
    }
}
