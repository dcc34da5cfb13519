//! The text form of constraints: what is parsed, printed and refused, and the errors.

use proptest::prelude::*;

use super::*;

fn error(text: &str) -> String {
    text.parse::<Constraint>().expect_err("no constraint").to_string()
}

#[test]
fn every_form_is_read_and_written_in_one_way() {
    for (text, written) in [
        ("zone = a", ""),
        ("zone==a", "zone = a"),
        ("  zone=a  ", "zone = a"),
        ("zone in a,b", "zone in a, b"),
        ("zone in a", "zone = a"),
        ("zone != \"a b\"", ""),
        ("zone not in a, \"x,y\"", ""),
        ("cores<8", "cores < 8"),
        ("cores <= 8", ""),
        ("cores > 8.5", ""),
        ("cores>=8", "cores >= 8"),
        ("model ~ /xeon.*/", ""),
        ("model regexp ^xeon, \"gold\"", "model ~ /^xeon, \"gold\"/"),
        ("model regexp /a/b/", "model ~ /a/b/"),
        ("kernel version >= 5.10, < 7", ""),
        ("api semver >= 1.2.0", ""),
        ("tags contains all a,b", "tags contains all a, b"),
        ("tags contains any a", ""),
        ("zone is set", ""),
        ("zone is not set", ""),
        ("unique hostname", ""),
        ("at most 1 per zone", "unique zone"),
        ("at most 2 per zone", ""),
        ("spread zone", ""),
        ("spread zone a 60% b 40%", ""),
        ("group by rack", "group by rack skew 1"),
        ("group by rack skew 2", ""),
        ("with label app=db", ""),
        ("with label app", ""),
        ("with label app = db on same zone", "with label app=db on same zone"),
        ("avoid label app=\"my db\"", ""),
        ("exclusive", ""),
        ("prefer 50: zone = a", ""),
        ("prefer -100 : exclusive", "prefer -100: exclusive"),
        ("\"unique\" = \"\"", ""),
        ("\"a\\\"b\\\\\" = c", ""),
        ("größe = über", ""),
    ] {
        let constraint: Constraint = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(constraint.to_string(), if written.is_empty() { text } else { written });
    }
}

#[test]
fn an_error_names_the_text_the_position_and_what_was_expected() {
    for (text, problem) in [
        ("", "expected an attribute at character 1"),
        (
            "zone",
            "expected =, !=, <, <=, >, >=, ~, in, not in, regexp, version, semver, contains all, contains any, is set \
                  or is not set at character 5",
        ),
        ("zone =", "expected a value; quote one with spaces or signs at character 7"),
        ("zone = a b", "expected nothing more at character 10"),
        ("zone in a,", "expected a value; quote one with spaces or signs at character 11"),
        ("zone is a", "expected set at character 9"),
        ("zone not a", "expected in at character 10"),
        ("zone = \"a", "expected a closing quote at character 10"),
        ("größe ~", "expected a /pattern/ at character 8"),
        ("tags contains a", "expected all or any at character 15"),
        ("at most x per zone", "expected a number of instances at character 9"),
        ("at most 99999999999 per zone", "expected a number of instances at character 9"),
        ("at least 2 per zone", "expected most at character 4"),
        ("spread zone a", "expected a share like 60% at character 14"),
        ("spread zone a 60", "expected % at character 17"),
        ("group rack", "expected by at character 7"),
        ("with app=db", "expected label at character 6"),
        ("with label app=db on zone", "expected same at character 22"),
        ("prefer : zone = a", "expected a weight from -100 to 100 at character 8"),
        ("prefer 50 zone = a", "expected : at character 11"),
        ("exclusive = yes", "expected nothing more at character 11"),
    ] {
        assert_eq!(error(text), format!("constraint `{text}`: {problem}"));
    }
}

#[test]
fn what_can_be_parsed_and_not_be_satisfied_is_an_error_too() {
    for (text, problem) in [
        ("m ~ /(/", "/(/: error: unclosed group"),
        ("m ~ /\\w{1000}{10}/", "/\\w{1000}{10}/ needs more than 262144 bytes when compiled"),
        ("k version >= five", "`five` is not a version; write it like >= 5.10, < 7"),
        ("k semver ~> 1.0.0", "semver knows no ~>; write >= 1.2.0, < 1.3.0, or use version"),
        ("prefer 0: zone = a", "the weight 0 is not one of -100 to -1 and 1 to 100"),
        ("prefer 101: zone = a", "the weight 101 is not one of -100 to -1 and 1 to 100"),
        ("spread zone a 60% b 50%", "the targets add up to 110%; at most 100% can be spread"),
        ("spread zone a 60% a 20%", "`a` has two targets"),
        ("at most 0 per zone", "at most 0 allows no instance anywhere"),
        ("group by rack skew 0", "a skew of 0 allows no first instance; the least is 1"),
        ("\"\" = a", "the attribute has no name"),
        ("with label \"\"=db", "the label has no key"),
    ] {
        assert_eq!(error(text), format!("constraint `{text}`: {problem}"));
    }
    assert!(error("k semver >= 1.2").starts_with("constraint `k semver >= 1.2`: `1.2` is not a semantic version ("));
    let long = format!("zone = {}", "a".repeat(5_000));
    assert_eq!(error(&long), "a constraint of 5007 bytes; at most 4096 are read");
    assert!(Constraint::equal("zone", "a".repeat(5_000)).check().is_err());
    assert!(Constraint::one_of("zone", [""; 0]).check().is_err());
    assert!(Constraint::matches("m", "a".repeat(2_000)).check().unwrap_err().to_string().contains("at most 1024"));
}

#[test]
fn a_place_is_only_compared_where_there_are_neighbours() {
    assert_eq!(Constraint::avoid_label("app", "db").on_same("zone").to_string(), "avoid label app=db on same zone");
    assert_eq!(Constraint::unique("rack").on_same("zone"), Constraint::unique("rack"));
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,4}", "\\PC{1,6}", prop::sample::select(parse::RULE_WORDS.to_vec()).prop_map(str::to_owned)]
}

fn words() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(word(), 1..4)
}

fn constraint() -> impl Strategy<Value = Constraint> {
    let versions = prop::sample::select(vec![">= 5.10, < 7", "~> 1.2", "!= 3-beta", "1"]);
    let targets = prop::collection::btree_map(word(), 0..30_u32, 0..3);
    let hard = prop_oneof![
        (word(), words()).prop_map(|(name, values)| Constraint::one_of(name, values)),
        (word(), words()).prop_map(|(name, values)| Constraint::none_of(name, values)),
        (word(), word()).prop_map(|(name, bound)| Constraint::less(name, bound)),
        (word(), word()).prop_map(|(name, bound)| Constraint::greater_or_equal(name, bound)),
        (word(), "[a-z/ .*\"]{0,6}").prop_map(|(name, pattern)| Constraint::matches(name, pattern)),
        (word(), versions).prop_map(|(name, bounds)| Constraint::version(name, bounds)),
        (word(), words()).prop_map(|(name, items)| Constraint::contains_all(name, items)),
        (word(), words()).prop_map(|(name, items)| Constraint::contains_any(name, items)),
        word().prop_map(Constraint::is_set),
        word().prop_map(Constraint::is_not_set),
        (word(), 1..u32::MAX).prop_map(|(name, limit)| Constraint::max_per(name, limit)),
        (word(), targets).prop_map(|(name, targets)| Constraint::spread(name, targets)),
        (word(), 1..u32::MAX).prop_map(|(name, skew)| Constraint::group_by(name, skew)),
        (word(), word()).prop_map(|(key, value)| Constraint::with_label(key, value)),
        (word(), word(), word()).prop_map(|(key, value, name)| Constraint::avoid_label(key, value).on_same(name)),
        Just(Constraint::exclusive()),
    ];
    (hard, -100..=100).prop_map(|(hard, weight)| if weight == 0 { hard } else { hard.soft(weight) })
}

/// Text made of pieces of constraints, most of it invalid.
fn nonsense() -> impl Strategy<Value = String> {
    let pieces = [
        "zone", "=", "!=", "<", "~", "/", "(", "\"", "\\", ",", "in", "not", "is", "set", "at", "most", "9", "per",
        "%", "99", "spread", "group", "by", "skew", "with", "label", "on", "same", "prefer", "-", ":", "version",
        "regexp", " ", "é",
    ];
    let piece = prop_oneof![6 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,9}"];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same_constraint(constraint in constraint()) {
        prop_assume!(constraint.check().is_ok());
        prop_assert_eq!(constraint.to_string().parse(), Ok(constraint));
    }

    #[test]
    fn any_text_is_a_sensible_constraint_or_an_error(text in prop_oneof![nonsense(), "\\PC{0,300}"]) {
        if let Ok(constraint) = text.parse::<Constraint>() {
            prop_assert_eq!(constraint.check(), Ok(()));
            prop_assert_eq!(constraint.to_string().parse(), Ok(constraint));
        }
    }
}
