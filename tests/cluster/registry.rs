//! The master's registry with real binaries: backed up, lost and restored while agents run tasks.

use std::{fs, path::Path, process::Command};

use divvy::proto::v1::TaskState;

use super::{
    part::{Site, until},
    scheduler::{ended, in_state, start, states},
};

fn master_command(site: &Site, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_divvy-master"));
    command.args(arguments).env_remove("DIVVY_WORK_DIR");
    let output = site.run(command);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn backed_up(site: &Site, master: &str, to: &Path) -> (bool, String) {
    let to = to.display().to_string();
    let (status, out, err) = site.divvy("backup", master, &["backup", "--to", &to]).wait();
    (status.success(), format!("{out}{err}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_continues_with_a_restored_registry_after_its_master_lost_its_disk() {
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("agent", &master.address, "cpus:4;mem:256");
    let go = site.path().join("go");
    let wait = format!("while [ ! -e {} ]; do sleep 0.05; done", go.display());
    let (driver, received) = start(&master.address, "cpus:1;mem:32", vec![("t".to_owned(), wait)]);
    until("the task to run", || match in_state(&received, TaskState::TaskRunning) {
        1 => Ok(()),
        count => Err(count),
    });
    let backup = site.path().join("registry.backup");
    let (fine, text) = backed_up(&site, &master.address, &backup);
    assert!(fine && text.contains("wrote 1 agents"), "{text}");
    let (fine, text) = backed_up(&site, &master.address, &backup);
    assert!(!fine && text.contains("exists: a backup does not overwrite"), "{text}");
    // The backup is older than the masters that follow.
    let mut address = master.kill();
    for _ in 0..3 {
        address = site.master_on(&address).kill();
    }
    fs::remove_dir_all(site.path().join("master")).expect("lost");
    let arguments = ["restore", "--from", "registry.backup", "--work-dir", "master"];
    let (fine, text) = master_command(&site, &arguments);
    assert!(fine && text.contains("restored 1 agents"), "{text}");
    let (fine, text) = master_command(&site, &arguments);
    assert!(!fine && text.contains("holds 1 agents") && text.contains("--force"), "{text}");
    let _master = site.master_on(&address);
    fs::write(go, "").expect("written");
    until("the task to end", || match ended(&received) {
        (1, _) => Ok(()),
        other => Err(other),
    });
    let states = states(&received, "t");
    assert_eq!(states.last(), Some(&TaskState::TaskFinished), "{states:?}");
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
}

#[test]
fn a_stopped_master_is_backed_up_from_its_directory_and_a_running_one_is_not() {
    let site = Site::new();
    let master = site.master();
    let arguments = ["backup", "--work-dir", "master", "--to", "backup"];
    let (fine, text) = master_command(&site, &arguments);
    assert!(!fine && text.contains("is in use by another master") && text.contains("`divvy backup`"), "{text}");
    let forced = ["restore", "--from", "backup", "--work-dir", "master", "--force"];
    let (fine, text) = master_command(&site, &forced);
    assert!(!fine && text.contains("cannot restore from backup") && text.contains("No such file"), "{text}");
    master.kill();
    let (fine, text) = master_command(&site, &arguments);
    assert!(fine && text.contains("wrote 0 agents and 0 removed frameworks of epoch 1"), "{text}");
    let (fine, text) = master_command(&site, &forced);
    assert!(fine && text.contains("what was there is kept in"), "{text}");
    let (fine, text) = master_command(&site, &["backup", "--work-dir", "nowhere", "--to", "other"]);
    assert!(
        !fine && text.contains("there is no registry in nowhere") && !site.path().join("nowhere").exists(),
        "{text}"
    );
    let _ = site.master();
}

#[test]
fn a_registry_of_the_first_format_is_read_by_todays_master() {
    let site = Site::new();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/registry/format-1.redb");
    fs::create_dir(site.path().join("master")).expect("made");
    fs::copy(sample, site.path().join("master/registry.redb")).expect("copied");
    site.master().kill();
    let (fine, text) = master_command(&site, &["backup", "--work-dir", "master", "--to", "backup"]);
    assert!(fine && text.contains("wrote 2 agents and 1 removed frameworks of epoch 3"), "{text}");
}
