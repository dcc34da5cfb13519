//! A restarted master: what it reads from its registry, what agents report, what it sends meanwhile. The numbers are
//! rows of the behaviour page.

use std::time::Duration;

use super::world::{World, facts, known, register, reported};
use crate::{
    master::{
        core::{Call, Config, Event, FrameworkFacts, Link, Order, RemovalRate, SessionId},
        registry::State,
    },
    proto::v1::{AgentInfo, TaskState, TaskStatus, task_status::Reason},
};

const TOTAL: &str = "cpus:4;mem:1024";
const WANTED: &str = "cpus:3;mem:24";

/// A master whose registry knows these agents.
fn restarted(agents: &[&str], config: Config) -> World {
    let mut state = State::default();
    for id in agents {
        state.agents.insert((*id).to_owned(), AgentInfo::default());
    }
    World::with(state, config)
}

fn back(world: &mut World, agent: &str, state: TaskState) -> crate::master::core::SessionId {
    let mut back = register(Some(agent), TOTAL);
    back.frameworks = vec![known("old-0000", "f")];
    back.tasks = vec![reported("old-0000", &("t".to_owned(), "c".to_owned()), WANTED, state)];
    world.register(back)
}

/// 62, 92, 93.
#[test]
fn an_agent_that_does_not_reregister_is_lost_and_no_status_of_its_tasks_is_sent_until_it_does() {
    let unaware = FrameworkFacts { partition_aware: false, ..facts("f", "*") };
    for (facts, away) in [(facts("f", "*"), TaskState::TaskUnreachable), (unaware, TaskState::TaskLost)] {
        let mut world = restarted(&["old-S0"], Config::default());
        let (framework, _) = world.subscribe(facts, Some("old-0000"));
        assert!(world.reconcile(framework, "t", "old-S0").is_empty(), "it may register any moment");
        world.wait(Duration::from_mins(10));
        assert!(world.events(framework).iter().any(|event| matches!(event, Event::Failures { .. })));
        assert!(world.statuses(framework).is_empty(), "nothing is known of its tasks");
        let sent = world.reconcile(framework, "t", "old-S0");
        let since = world.facts().unreachable["old-S0"];
        assert_eq!((sent[0].state(), sent[0].reason()), (away, Reason::Reconciliation));
        assert_eq!(sent[0].unreachable_time.map(|time| time.nanoseconds), Some(since));
        back(&mut world, "old-S0", TaskState::TaskRunning);
        let sent = world.statuses(framework);
        assert_eq!((sent[0].state(), sent[0].reason()), (TaskState::TaskRunning, Reason::AgentReregistered));
        assert!(world.facts().unreachable.is_empty());
    }
}

/// 66.
#[test]
fn since_when_an_agent_is_unreachable_is_known_to_the_next_master() {
    let mut state = State::default();
    state.agents.insert("old-S0".to_owned(), AgentInfo::default());
    state.unreachable.insert("old-S0".to_owned(), 77);
    let mut world = World::with(state, Config::default());
    let unaware = FrameworkFacts { partition_aware: false, ..facts("f", "*") };
    let (framework, _) = world.subscribe(unaware, Some("old-0000"));
    let sent = world.reconcile(framework, "t", "old-S0");
    assert_eq!(
        (sent[0].state(), sent[0].unreachable_time.map(|time| time.nanoseconds)),
        (TaskState::TaskLost, Some(77))
    );
}

/// 94.
#[test]
fn recovered_agents_are_marked_unreachable_at_the_rate_and_one_that_registers_before_is_not() {
    let rate = RemovalRate::new(2.try_into().expect("over 0"), Duration::from_mins(20));
    let config = Config { removal_rate: Some(rate), ..Config::default() };
    let mut world = restarted(&["old-S0", "old-S1", "old-S2"], config);
    let (framework, _) = world.subscribe(facts("f", "*"), Some("old-0000"));
    let lost = |world: &mut World| world.facts().unreachable.into_keys().collect::<Vec<_>>();
    world.wait(Duration::from_mins(10));
    assert_eq!(lost(&mut world), ["old-S0"]);
    assert!(world.reconcile(framework, "t", "old-S1").is_empty(), "it is still expected");
    world.wait(Duration::from_mins(9));
    back(&mut world, "old-S1", TaskState::TaskRunning);
    world.wait(Duration::from_mins(1));
    assert_eq!(lost(&mut world), ["old-S0", "old-S2"]);
    let counts = world.harness.core.snapshot().counts;
    assert_eq!((counts.agents_unreachable_scheduled, counts.agents_unreachable_canceled), (3, 1));
}

/// 74, 107.
#[test]
fn a_framework_is_recovered_with_its_tasks_until_it_subscribes() {
    let mut world = restarted(&["old-S0"], Config::default());
    back(&mut world, "old-S0", TaskState::TaskRunning);
    let seen = world.harness.core.snapshot();
    assert_eq!((seen.frameworks[0].link, seen.agents[0].tasks.len()), (Link::Recovered, 1));
    let (framework, _) = world.subscribe(facts("f", "*"), Some("old-0000"));
    assert_eq!(world.harness.core.snapshot().frameworks[0].link, Link::Connected);
    assert_eq!(*world.offers(framework)[0].resources, super::world::resources("cpus:1;mem:1000"), "nothing twice");
}

/// 103: a framework without a failover timeout has the re-registration timeout of its agents.
#[test]
fn a_failover_timeout_of_nothing_does_not_end_tasks_because_the_master_went() {
    let mut world = restarted(&["old-S0"], Config::default());
    let mut back = register(Some("old-S0"), TOTAL);
    let mut framework = known("old-0000", "f");
    framework.facts.failover = Duration::ZERO;
    back.frameworks = vec![framework.clone()];
    back.tasks = vec![reported("old-0000", &("t".to_owned(), "c".to_owned()), WANTED, TaskState::TaskRunning)];
    let agent = world.register(back);
    world.wait(Duration::from_mins(9));
    assert!(world.orders(agent).iter().all(|order| !matches!(order, Order::Shutdown { .. })));
    let (session, _) = world.subscribe(framework.facts, Some("old-0000"));
    world.detach(session);
    world.wait(Duration::ZERO);
    assert!(world.orders(agent).iter().any(|order| matches!(order, Order::Shutdown { .. })), "its own disconnection");
}

/// 99.
#[test]
fn an_agent_that_describes_itself_anew_changes_the_registry() {
    let mut world = restarted(&["old-S0"], Config::default());
    back(&mut world, "old-S0", TaskState::TaskRunning);
    assert_eq!(world.facts().agents["old-S0"].hostname, "h");
    assert!(world.harness.core.snapshot().recovered.is_empty());
}

/// 102, 104.
#[test]
fn a_framework_that_was_removed_or_is_another_is_not_subscribed_by_the_next_master_either() {
    let mut state = State::default();
    state.remove_framework("old-0000", 1);
    let mut world = World::with(state, Config::default());
    let (session, _) = world.subscribe(facts("f", "*"), Some("old-0000"));
    let error = |world: &World, session| {
        world.events(session).into_iter().find_map(|event| match event {
            Event::Error { text } => Some(text),
            _ => None,
        })
    };
    assert_eq!(error(&world, session).as_deref(), Some("Framework has been removed"));
    let (first, id) = world.framework("g");
    let other = FrameworkFacts { principal: Some("another".to_owned()), ..facts("g", "*") };
    let (second, _) = world.subscribe(other, Some(&id));
    assert!(error(&world, second).is_some() && world.closed(second));
    assert!(!world.closed(first), "the one that is subscribed stays so");
}

/// 123.
#[test]
fn the_tasks_of_an_agent_that_unregisters_end_at_once_and_it_may_register_as_a_new_one() {
    let mut world = restarted(&["old-S0"], Config::default());
    let (framework, _) = world.subscribe(facts("f", "*"), Some("old-0000"));
    let agent = back(&mut world, "old-S0", TaskState::TaskRunning);
    world.feed(crate::master::core::Input::Reported {
        session: agent,
        report: crate::master::core::Report::Unregistered,
    });
    let sent = world.statuses(framework);
    assert_eq!((sent[0].state(), sent[0].reason()), (TaskState::TaskLost, Reason::AgentRemoved));
    assert!(world.events(framework).iter().any(|event| matches!(event, Event::Failures { .. })));
    assert!(world.facts().agents.is_empty());
}

/// 125.
#[test]
fn a_kill_while_the_agent_is_disconnected_is_resent_when_it_reregisters() {
    let mut world = restarted(&["old-S0"], Config::default());
    let (framework, _) = world.subscribe(facts("f", "*"), Some("old-0000"));
    let agent = back(&mut world, "old-S0", TaskState::TaskRunning);
    world.detach(agent);
    let kill = crate::master::core::Call::Kill { task: "t".into(), agent: None, policy: None };
    world.call(framework, kill);
    let session = back(&mut world, "old-S0", TaskState::TaskRunning);
    assert!(
        world
            .orders(session)
            .iter()
            .any(|order| matches!(order, Order::Kill { container, .. } if *container == "c".into()))
    );
}

#[test]
fn a_kill_of_a_task_that_its_agent_has_not_reported_yet_is_carried_out_when_it_has() {
    for named in [None, Some("old-S0")] {
        for is_unreachable in [false, true] {
            let mut world = restarted(&["old-S0"], Config::default());
            let (framework, _) = world.subscribe(facts("f", "*"), Some("old-0000"));
            if is_unreachable {
                world.wait(Duration::from_mins(11));
            }
            let agent = named.map(str::to_owned);
            world.call(framework, Call::Kill { task: "t".into(), agent, policy: None });
            let sent: Vec<TaskState> = world.statuses(framework).iter().map(TaskStatus::state).collect();
            let expected = match (is_unreachable, named) {
                (false, _) => vec![],
                (true, Some(_)) => vec![TaskState::TaskUnreachable],
                (true, None) => vec![TaskState::TaskUnknown],
            };
            assert_eq!(sent, expected, "{named:?}, unreachable: {is_unreachable}");
            let session = back(&mut world, "old-S0", TaskState::TaskRunning);
            assert_eq!(kills(&world, session), 1, "{named:?}, unreachable: {is_unreachable}");
        }
    }
}

#[test]
fn a_kill_that_is_awaited_on_one_agent_is_not_for_another_nor_for_a_later_task_of_that_name() {
    let mut world = restarted(&["old-S0", "old-S1"], Config::default());
    let (framework, _) = world.subscribe(facts("f", "*"), Some("old-0000"));
    let kill = |task: &str, agent: Option<&str>| Call::Kill {
        task: task.into(),
        agent: agent.map(str::to_owned),
        policy: None,
    };
    world.call(framework, kill("t", Some("old-S1")));
    let session = back(&mut world, "old-S0", TaskState::TaskRunning);
    assert_eq!(kills(&world, session), 0);

    world.call(framework, kill("later", None));
    let offer = world.inbox().pop().expect("the rest of the agent is offered").1;
    world.launch(framework, &offer, &[("later", "cpus:0.1;mem:32")]);
    let run = world.runs(session).pop().expect("launched");
    world.detach(session);
    let mut again = register(Some("old-S0"), TOTAL);
    again.frameworks = vec![known("old-0000", "f")];
    again.tasks = vec![reported("old-0000", &run, "cpus:0.1;mem:32", TaskState::TaskRunning)];
    let session = world.register(again);
    assert_eq!(kills(&world, session), 0);
}

fn kills(world: &World, session: SessionId) -> usize {
    world.orders(session).iter().filter(|order| matches!(order, Order::Kill { .. })).count()
}
