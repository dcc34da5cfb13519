//! The owners of processes, in made-up surveys.

use super::*;

/// Processes as (pid, parent, marker), where markers are the ids of containers. The supervisor is process 10, and
/// session 9 belongs to none.
fn survey(processes: &[(u32, u32, Option<&str>)]) -> Survey {
    let processes = processes.iter().map(|&(pid, parent, mark)| {
        let stat = stat(pid, parent, 9);
        let mark = mark.map(|id| Mark::Marker(id.as_bytes().to_vec()));
        (pid, Seen { stat, mark, changing: 0 })
    });
    Survey { processes: processes.collect(), is_unsure: false }
}

fn stat(pid: u32, parent: u32, session: u32) -> Stat {
    let environment = process::Environment::Some;
    Stat { pid, parent, group: pid, session, start_time: 5, alive: true, is_headless: false, environment }
}

fn owned(survey: &Survey, firsts: &[(u32, &str)], reaper: Option<u32>) -> Vec<(u32, Owner)> {
    let firsts = firsts.iter().map(|(pid, id)| (*pid, (*id).to_owned())).collect();
    owners(survey, &Known { firsts, reaper, ..known() })
}

/// There are two containers, and their markers are their names.
fn known() -> Known {
    Known { markers: ["a", "b"].map(|id| (id.to_owned(), id.to_owned())).into(), ..Known::default() }
}

fn owners(survey: &Survey, known: &Known) -> Vec<(u32, Owner)> {
    survey.owned(known).into_iter().map(|(stat, owner)| (stat.pid, owner)).collect()
}

fn of(container: &str) -> Owner {
    Owner::Container(container.to_owned())
}

#[test]
fn descendants_belong_to_the_container_even_without_a_marker() {
    let survey = survey(&[(10, 1, None), (20, 10, Some("a")), (30, 20, None), (40, 30, None), (50, 1, None)]);
    assert_eq!(owned(&survey, &[(20, "a")], Some(10)), [(20, of("a")), (30, of("a")), (40, of("a"))]);
}

#[test]
fn an_orphan_is_recognized_by_its_marker_and_so_are_its_children() {
    let survey = survey(&[(10, 1, None), (30, 1, Some("a")), (40, 30, None)]);
    assert_eq!(owned(&survey, &[], None), [(30, of("a")), (40, of("a"))]);
}

#[test]
fn an_orphan_without_a_marker_is_a_stray_of_a_supervisor_that_reaps() {
    let survey = survey(&[(10, 1, None), (30, 10, None), (40, 30, None), (50, 10, Some("b"))]);
    assert_eq!(owned(&survey, &[], Some(10)), [(30, Owner::Stray), (40, Owner::Stray), (50, of("b"))]);
    assert_eq!(owned(&survey, &[], None), [(50, of("b"))], "children of an embedding program are its own");
}

#[test]
fn an_orphan_whose_marker_is_of_no_container_is_forged_and_so_is_what_it_starts() {
    let survey = survey(&[(10, 1, None), (20, 10, Some("a")), (30, 10, Some("?")), (40, 30, None), (50, 1, Some("?"))]);
    let forged = [(20, of("a")), (30, Owner::Forged), (40, Owner::Forged)];
    assert_eq!(owned(&survey, &[(20, "a")], Some(10)), forged, "one beside the supervisor is another supervisor's");
}

#[test]
fn a_descendant_belongs_to_its_container_whatever_its_marker_says() {
    let survey = survey(&[(10, 1, None), (20, 10, Some("a")), (30, 20, Some("?"))]);
    assert_eq!(owned(&survey, &[(20, "a")], Some(10)), [(20, of("a")), (30, of("a"))]);
}

#[test]
fn a_process_in_the_session_of_a_dead_supervisor_is_its_own_also_without_a_marker() {
    let mut survey = survey(&[(20, 1, None), (21, 20, None), (30, 1, Some("a")), (40, 1, None)]);
    survey.processes.get_mut(&20).unwrap().stat.session = 10;
    let led_by = |start_time| Known { session: Some(Leader { pid: 10, start_time }), ..known() };
    let strays = [(20, Owner::Stray), (21, Owner::Stray), (30, of("a"))];
    assert_eq!(owners(&survey, &led_by(5)), strays);
    assert_eq!(owners(&survey, &led_by(6)), [(30, of("a"))], "it is older than the supervisor");
    survey.processes.insert(10, Seen { stat: stat(10, 1, 10), mark: None, changing: 0 });
    assert_eq!(owners(&survey, &led_by(5)), strays, "the supervisor itself is not of its containers");
    survey.processes.get_mut(&10).unwrap().stat.start_time = 7;
    assert_eq!(owners(&survey, &led_by(5)), [(30, of("a"))], "another process bears the number now");
}

#[test]
fn a_container_nested_in_another_is_not_part_of_it() {
    let survey = survey(&[(20, 10, Some("a")), (30, 10, Some("b"))]);
    assert_eq!(owned(&survey, &[(20, "a"), (30, "b")], Some(10)), [(20, of("a")), (30, of("b"))]);
}

#[test]
fn marks_of_this_and_of_earlier_versions_are_read_and_those_of_others_do_not_count() {
    let markers = BTreeMap::from([("77aa".to_owned(), "a".to_owned())]);
    let known = Known { markers, folder: Some(b"/work/supervisors/1".to_vec()), ..Known::default() };
    let container = |environ: &[u8]| Mark::parse(environ).map(|mark| known.container(&mark).map(str::to_owned));
    let a = Some(Some("a".to_owned()));
    assert_eq!(container(b"X=1\0DIVVY_MARKER=77aa\0"), a);
    assert_eq!(container(b"DIVVY_MARKER=77ab\0DIVVY_CONTAINER_ID=a\0"), Some(None));
    assert_eq!(container(b"DIVVY_CONTAINER_ID=a\0DIVVY_SUPERVISOR=/work/supervisors/1\0"), a);
    assert_eq!(container(b"DIVVY_CONTAINER_ID=a\0DIVVY_SUPERVISOR=/work/supervisors/2\0"), Some(None));
    assert_eq!(container(b"DIVVY_CONTAINER_ID=a\0"), None);
}

#[test]
fn a_process_that_makes_its_environment_large_does_not_make_a_survey_large() {
    let long = |name: &str| [name.as_bytes(), b"=", &vec![b'7'; 1 << 20], b"\0"].concat();
    assert_eq!(Mark::parse(&long("DIVVY_MARKER")), Some(Mark::Marker(vec![b'7'; MAX_MARKER_BYTES])));
    let named = [long("DIVVY_SUPERVISOR"), b"DIVVY_CONTAINER_ID=a\0".to_vec()].concat();
    assert_eq!(Mark::parse(&named), None);
}

#[test]
fn a_process_that_begins_or_ends_while_the_host_is_looked_at_is_its_containers_and_not_forged() {
    let spec = |id: &str| {
        let start = crate::proto::internal::Start { container_id: id.to_owned(), ..Default::default() };
        super::super::ContainerSpec { start, marker: id.to_owned() }
    };
    let live = super::super::live::Live::new().unwrap();
    live.begin(&spec("a"));
    let look = || {
        live.abandon(&spec("a"));
        live.begin(&spec("b"));
        Ok(survey(&[(10, 1, None), (20, 10, Some("a")), (30, 10, Some("b")), (40, 10, Some("c"))]))
    };
    let (survey, known) = live.survey(Some(10), look).unwrap();
    assert_eq!(owners(&survey, &known), [(20, of("a")), (30, of("b")), (40, Owner::Forged)]);
}

#[test]
fn a_look_that_repeats_another_shows_what_is_there_now() {
    let mut child = std::process::Command::new("sleep").arg("1000").env(MARKER_VARIABLE, "77").spawn().unwrap();
    let known = Known { markers: BTreeMap::from([("77".to_owned(), "a".to_owned())]), ..Known::default() };
    let pids = |survey: &Survey| -> Vec<u32> { survey.owned(&known).iter().map(|(it, _)| it.pid).collect() };
    let mut seen = Survey::default();
    loop {
        seen = seen.again(|_| false).unwrap();
        if !seen.is_unsure() {
            break;
        }
    }
    assert_eq!(pids(&seen), [child.id()]);
    child.kill().and_then(|()| child.wait()).unwrap();
    assert_eq!(pids(&seen.again(|_| false).unwrap()), Vec::<u32>::new());
}
