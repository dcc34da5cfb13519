//! An agent with several masters finds the one that registers it.

use tonic::metadata::MetadataMap;

use super::*;
use crate::transport::connect::LEADER_METADATA;

fn of_both(first: &str, second: &Master, work_dir: &tempfile::TempDir) -> Options {
    Options { master: format!("{first},{}", second.address), ..options(second, work_dir) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_master_that_is_stopped_does_not_keep_an_agent_from_the_second() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    // The kernel accepts its connections, and no process answers on them.
    let stopped = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let first = stopped.local_addr().unwrap().to_string();
    let agent = Agent::start(of_both(&first, &master, &work_dir)).await.unwrap();
    let attached = tokio::time::timeout(2 * TIMEOUT, master.attached.recv()).await;
    assert!(attached.expect("the agent tries the second in time").is_some());
    within(agent.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_master_of_a_lower_epoch_does_not_keep_an_agent_from_the_second() {
    let work_dir = tempfile::tempdir().unwrap();
    let (mut outdated, mut master) = (Master::start().await, Master::start().await);
    let agent = Agent::start(options(&master, &work_dir)).await.unwrap();
    let (session, _) = master.admit_as(5).await;
    // It has read the answer, and with it the epoch.
    within(agent.id().wait_for(Option::is_some)).await.unwrap();
    within(agent.stop()).await.unwrap();
    drop(session);
    let agent = Agent::start(of_both(&outdated.address, &master, &work_dir)).await.unwrap();
    let (_refused, _) = outdated.admit_as(4).await;
    let (_session, register) = master.admit_as(5).await;
    assert_eq!(register.epoch, 5);
    within(agent.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_that_a_master_names_is_followed() {
    let work_dir = tempfile::tempdir().unwrap();
    let (mut follower, mut leader) = (Master::start().await, Master::start().await);
    let agent = Agent::start(options(&follower, &work_dir)).await.unwrap();
    let attached = within(follower.attached.recv()).await.expect("an agent attaches");
    let mut metadata = MetadataMap::new();
    metadata.insert(LEADER_METADATA, leader.address.parse().unwrap());
    let elsewhere = Status::with_metadata(tonic::Code::Unavailable, "not the leader", metadata);
    attached.answers.send(Err(elsewhere)).await.unwrap();
    leader.admit().await;
    within(agent.stop()).await.unwrap();
}
