//! Logs with a changed bit, a changed beginning, a hole: what is read of them, and what is preserved.

use proptest::prelude::*;

use super::*;
use crate::proto::internal::Identity;

fn identity(id: &str) -> AgentRecord {
    AgentRecord {
        kind: Some(Kind::Identity(Identity { agent_id: id.to_owned(), boot_id: "b".to_owned(), ..Default::default() })),
        ..AgentRecord::default()
    }
}

fn some_records() -> Vec<AgentRecord> {
    vec![identity("S7"), record(3), text("one"), text("two"), record(4), text("three"), text("four")]
}

/// The records and the damage of a log with these bytes, opened in each recovery mode. Strict has to refuse exactly
/// what the others preserve, and to change nothing.
fn opened_in_each_mode(bytes: &[u8]) -> Result<(Vec<AgentRecord>, Option<Damage>), String> {
    let at_work = tempfile::tempdir().unwrap();
    let path = at_work.path().join(NAME);
    fs::write(&path, bytes).unwrap();
    let strict = Log::open(at_work.path(), BOOT, Recover::Strict);
    if let Err(error) = &strict {
        assert_eq!(fs::read(&path).unwrap(), bytes, "strict has touched the log");
        assert_eq!(fs::read_dir(at_work.path()).unwrap().count(), 1, "strict has left something");
        if !matches!(error, LogError::Damaged(_)) {
            let text = error.to_string();
            assert_eq!(open(at_work.path()).unwrap_err().to_string(), text);
            return Err(text);
        }
    }
    let mut answers = vec![];
    for recover in [Recover::Reconnect, Recover::Cleanup] {
        fs::write(&path, bytes).unwrap();
        let Opened { mut log, records, damage, .. } = Log::open(at_work.path(), BOOT, recover).unwrap();
        let refused =
            matches!(&strict, Err(LogError::Damaged(found)) if Some(found) == damage.as_ref().map(|it| &it.damage));
        assert_eq!(damage.is_some(), refused, "{strict:?} but {damage:?}");
        if let Some(kept) = &damage {
            assert_eq!(fs::read(&kept.aside).unwrap(), bytes, "what is kept is what was found");
        }
        log.append(&[text("after")]).unwrap();
        let again = Log::open(at_work.path(), BOOT, Recover::Strict).unwrap();
        assert_eq!(again.records, [records.clone(), vec![text("after")]].concat(), "the log goes on whole");
        answers.push((records, damage.map(|kept| kept.damage)));
    }
    assert_eq!(answers[0], answers[1]);
    Ok(answers.remove(0))
}

/// Asserts that `read` is a prefix of `written`, plus the agent's identity if that was found behind the damage.
fn assert_true_prefix(read: &[AgentRecord], written: &[AgentRecord]) {
    let same = read.iter().zip(written).take_while(|(read, written)| read == written).count();
    for fact in &read[same..] {
        assert!(matches!(fact.kind, Some(Kind::Identity(_) | Kind::Epoch(_))), "{fact:?} behind the damage");
        assert!(written[same..].contains(fact), "{fact:?} was never written");
    }
}

#[test]
fn a_bit_changed_before_the_end_is_reported_with_its_offset_and_the_agent_keeps_its_id() {
    let records = some_records();
    let third = written(&records[..2]).len();
    let mut bytes = written(&records);
    bytes[third + 9] ^= 0x20;
    let (read, damage) = opened_in_each_mode(&bytes).unwrap();
    assert_eq!(read, [identity("S7"), record(3), record(4)]);
    let damage = damage.unwrap();
    assert_eq!(damage.offset, third as u64);
    assert_eq!(damage.what, "what stands there is no record, and whole records follow");
}

#[test]
fn a_log_without_its_beginning_still_has_the_agents_id() {
    let records = some_records();
    for garbage in [&b"garbage"[..], &[0; 64], &[0xff; 18], b"divvy agent log x\n"] {
        for lost in [0, 5, format::HEADER.len()] {
            let bytes = [garbage, &written(&records)[lost..]].concat();
            let (read, damage) = opened_in_each_mode(&bytes).unwrap();
            assert_eq!(read, [identity("S7"), record(3), record(4)], "{garbage:?} for {lost} bytes");
            assert_eq!(damage.unwrap().offset, 0);
        }
    }
}

#[test]
fn the_last_record_with_a_changed_content_is_damage_too() {
    let mut bytes = written(&some_records());
    *bytes.last_mut().unwrap() ^= 1;
    let (read, damage) = opened_in_each_mode(&bytes).unwrap();
    assert_eq!(read, some_records()[..6]);
    assert_eq!(damage.unwrap().what, "a record of the right length has the wrong checksum");
}

#[test]
fn a_record_hidden_in_another_is_ignored() {
    let hidden = &written(&[identity("forged"), record(u64::MAX)])[format::HEADER.len()..];
    let carrier = text(&String::from_utf8_lossy(hidden));
    let mut bytes = written(&[identity("S7"), carrier.clone(), text("last")]);
    let at = written(&[identity("S7")]).len();
    // The damage leaves what is hidden whole, as far as it is text.
    bytes[at] ^= 1;
    bytes.splice(at + 20..at + 20, hidden.iter().copied());
    let (read, damage) = opened_in_each_mode(&bytes).unwrap();
    assert_eq!(read, [identity("S7")]);
    assert!(damage.is_some());
}

#[test]
fn a_full_disk_leaves_a_damaged_log_as_it_is() {
    let at_work = tempfile::tempdir().unwrap();
    let mut bytes = written(&some_records());
    bytes[30] ^= 1;
    fs::write(at_work.path().join(NAME), &bytes).unwrap();
    // Nothing can be written in place of the successor, as on a full disk.
    fs::create_dir(at_work.path().join(NEW)).unwrap();
    let error = open(at_work.path()).unwrap_err().to_string();
    assert!(error.starts_with("cannot remove ") && error.contains(NEW), "{error}");
    assert_eq!(fs::read(at_work.path().join(NAME)).unwrap(), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2 * ProptestConfig::default().cases))]

    #[test]
    fn a_changed_byte_anywhere_never_invents_a_record(position in 0.0..1.0_f64, change in 1..=255_u8) {
        let records = some_records();
        let mut bytes = written(&records);
        let position = place(position, bytes.len());
        bytes[position] ^= change;
        match opened_in_each_mode(&bytes) {
            Ok((read, damage)) => {
                assert_true_prefix(&read, &records);
                prop_assert!(read != records, "the change at {} went unseen", position);
                // What a crash could have left as well is the one thing that is passed over: a last length too long.
                let last = written(&records[..6]).len();
                prop_assert!(damage.is_some() || (last..last + 4).contains(&position), "at {}", position);
            }
            Err(error) => prop_assert!(error.contains("has version"), "{}", error),
        }
    }

    #[test]
    fn what_is_cut_out_or_put_in_anywhere_never_invents_a_record(
        position in 0.0..1.0_f64, cut in 0..40_usize, put in proptest::collection::vec(any::<u8>(), 0..40)
    ) {
        let records = some_records();
        let mut bytes = written(&records);
        let position = place(position, bytes.len());
        let end = (position + cut).min(bytes.len());
        bytes.splice(position..end, put);
        if let Ok((read, _)) = opened_in_each_mode(&bytes)
            && !is_without_whole_records(&read, &records)
        {
            assert_true_prefix(&read, &records);
        }
    }
}

/// Whole records that are cut out leave no trace: what is left is a log.
fn is_without_whole_records(read: &[AgentRecord], written: &[AgentRecord]) -> bool {
    let cut = |from: usize| (from..=written.len()).any(|to| read == [&written[..from], &written[to..]].concat());
    (0..=written.len()).any(cut)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place")]
fn place(share: f64, length: usize) -> usize {
    (share * length as f64) as usize
}
