//! Text from people: resources, attributes, addresses, settings, files of offers and tasks.
//!
//! Also the output of tasks, and what the host reports about them.

use super::stores::Folder;
use crate::{
    agent::{
        sandbox::{SandboxError, Sandboxes},
        supervisor,
    },
    allocator::{ClusterAgent, ClusterView, Constraint, TaskRequest, shortage},
    cli::{
        allocate::{self, Input, StrategyName, Way},
        run::screen::{Marked, Plain},
        settings,
    },
    transport::connect::Addresses,
    types::{Attributes, Ranges, Resources},
};

/// Resources sent and received are the same. (Their text shows more of a reservation than can be parsed.)
pub(super) fn resources(bytes: &[u8]) {
    let Some(read) = parsed::<Resources>(bytes) else { return };
    drop(read.to_string());
    assert_eq!(Resources::from_proto(&read.to_proto()).expect("what was sent can be received"), read);
}

pub(super) fn attributes(bytes: &[u8]) {
    let Some(read) = parsed::<Attributes>(bytes) else { return };
    assert_eq!(Attributes::from_proto(&read.to_proto()).expect("what was sent can be received"), read);
}

pub(super) fn ranges(bytes: &[u8]) {
    let Some(read) = parsed::<Ranges>(bytes) else { return };
    let again = read.to_string().parse::<Ranges>().expect("what was written can be read");
    assert_eq!(again, read);
}

pub(super) fn addresses(bytes: &[u8]) {
    let Some(read) = parsed::<Addresses>(bytes) else { return };
    let again = read.to_string().parse::<Addresses>().expect("what was written can be read");
    assert_eq!(again.to_string(), read.to_string());
}

pub(super) fn constraints(bytes: &[u8]) {
    let Some(read) = parsed::<Constraint>(bytes) else { return };
    let again = read.to_string().parse::<Constraint>().expect("what was written can be read");
    assert_eq!(again, read);
}

/// The file of offers, a zero byte, the file of tasks.
pub(super) fn allocate(bytes: &[u8]) {
    let mut files = bytes.splitn(2, |byte| *byte == 0);
    let offers = Input::new("offers", files.next().unwrap_or_default());
    let tasks = Input::new("tasks", files.next().unwrap_or_default());
    for strategy in [StrategyName::Naive, StrategyName::Binpack, StrategyName::Spread] {
        let way = Way { strategy, best_effort: true };
        let answer = || allocate::allocate(&offers, &tasks, way, 1_000).map_err(|error| error.to_string());
        assert_eq!(answer(), answer(), "the same input gives the same answer");
    }
}

/// A settings file of any program. Each error is one line.
pub(super) fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for error in settings::check(text) {
        let line = error.to_string();
        assert!(!line.contains('\n'), "one line: {line:?}");
    }
}

/// The output of a task: it has no terminal control codes, however it is cut, and every line names its task.
pub(super) fn output(bytes: &[u8]) {
    let Some((piece, printed)) = bytes.split_first() else { return };
    let mut plain = Plain::default();
    let pieces: Vec<u8> = printed.chunks(usize::from(*piece).max(1)).flat_map(|piece| plain.strip(piece)).collect();
    assert_eq!(Plain::default().strip(printed), pieces, "the pieces make no difference");
    let control = |byte: &u8| matches!(byte, 0..=8 | 0x0b | 0x0c | 0x0e..=0x1f | 0x7f);
    assert!(!pieces.iter().any(control), "terminal control codes are left: {pieces:?}");
    let c1 = |pair: &[u8]| pair[0] == 0xc2 && (0x80..=0x9f).contains(&pair[1]);
    assert!(!pieces.windows(2).any(c1), "terminal control codes are left: {pieces:?}");
    let mut marked = Marked::new("t");
    let lines = [marked.lines(&pieces), marked.rest()].concat();
    assert!(
        lines.split_inclusive(|byte| *byte == b'\n').all(|line| line.starts_with(b"t | ") && line.ends_with(b"\n"))
    );
}

/// The host's data about a process, some of which the process chose, and about the server of a folder.
pub(super) fn processes(bytes: &[u8]) {
    supervisor::read_of_the_host(bytes);
}

/// The id of a container and a path in its sandbox, with a zero byte between: only files of the sandbox are read.
pub(super) fn path_in_a_sandbox(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (id, path) = text.split_once('\0').unwrap_or(("c", text));
    let folder = Folder::new();
    let sandboxes = Sandboxes::new(&folder.0).expect("a folder can be made");
    let sandbox = sandboxes.create("c").expect("a folder can be made");
    std::fs::write(folder.0.join("secret"), "outside").expect("a file can be written");
    std::fs::create_dir(sandbox.join("a")).expect("a folder can be made");
    std::fs::write(sandbox.join("a/f"), "inside").expect("a file can be written");
    for (target, name) in [("/", "r"), ("../..", "u"), ("a/f", "l"), ("m", "m"), ("/proc/self/root", "p")] {
        std::os::unix::fs::symlink(target, sandbox.join(name)).expect("a link can be made");
    }
    match sandboxes.read(id, path, 0, 100) {
        Ok(part) => assert_eq!((id, &*part.data), ("c", &b"inside"[..]), "{path:?}"),
        Err(SandboxError::Failed { .. }) => panic!("{id:?} {path:?} is the caller's fault"),
        Err(_) => {}
    }
}

/// A constraint and two agents' attributes, with zero bytes between: the same input gives the same explanation.
pub(super) fn placement(bytes: &[u8]) {
    let mut texts = bytes.splitn(3, |byte| *byte == 0);
    let mut next = || std::str::from_utf8(texts.next().unwrap_or_default()).unwrap_or_default();
    let (Ok(constraint), Ok(one), Ok(other)) = (next().parse::<Constraint>(), next().parse(), next().parse()) else {
        return;
    };
    let agent = |name: &str, attributes: Attributes| {
        let id = crate::proto::v1::AgentId { value: name.to_owned() };
        let total = "cpus:2;mem:64".parse().expect("resources in text form");
        ClusterAgent::new(id, name).attributes(attributes).total(total)
    };
    let (one, other): (Attributes, Attributes) = (one, other);
    let view = ClusterView::new().agent(agent("a", one)).agent(agent("b", other));
    let wanted = TaskRequest::command("t", "true").cpus(1.0).count(3).constraint(constraint);
    let explain = || format!("{:?}", shortage::of(&view, std::slice::from_ref(&wanted)));
    assert_eq!(explain(), explain(), "the same input gives the same explanation");
}

fn parsed<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
