//! Declared resources of a host, and invalid declarations.

use super::*;

fn declared(text: &str) -> DeclaredResources {
    text.parse().unwrap()
}

fn error(text: &str) -> String {
    text.parse::<DeclaredResources>().unwrap_err().to_string()
}

#[test]
fn a_name_declared_as_zero_is_mentioned_and_adds_nothing() {
    let all = declared("cpus:2;mem:0;disk(web):0;ports:[];tags:{};ports(web):[]");
    assert_eq!(all.resources().to_string(), "cpus:2");
    assert!(["cpus", "mem", "disk", "ports", "tags"].iter().all(|name| all.mentions(name)));
    assert!(!all.mentions("gpus"));
}

#[test]
fn an_empty_text_mentions_nothing() {
    for text in ["", " ", ";", " ;\n; ", "{}"] {
        assert_eq!(declared(text), DeclaredResources::default(), "{text:?}");
    }
}

#[test]
fn entries_without_a_role_get_the_default_role() {
    let all = DeclaredResources::parse("cpus:1;mem(*):2;disk(b):3", "a").unwrap();
    assert_eq!(all.resources(), &"cpus(a):1;mem:2;disk(b):3".parse::<Resources>().unwrap());
    assert!(DeclaredResources::parse("cpus:1", "a//b").is_err());
}

#[test]
fn what_is_printed_is_read_back() {
    for text in [
        "{}",
        "cpus(reservations: [(STATIC,web)]):2; mem(reservations: [(STATIC,web)]):512",
        "cpus(reservations: [(STATIC,eng),(DYNAMIC,eng/web,alice)]):0.5; ports(reservations: [(STATIC,web)]):[1-2,4-4]",
        "tags(reservations: [(DYNAMIC,a,b c)]):{x:y,z}",
    ] {
        assert_eq!(text.parse::<Resources>().unwrap().to_string(), text);
        assert_eq!(declared(text).resources().to_string(), text);
    }
}

#[test]
fn invalid_reservations_are_refused() {
    for text in [
        "cpus(reservations: [(STATIC,*)]):2",
        "cpus(reservations: [(STATIC)]):2",
        "cpus(reservations: [(FIXED,a)]):2",
        "cpus(reservations: [(STATIC,a),(STATIC,a/b)]):2",
        "cpus(reservations: [(STATIC,a),(DYNAMIC,b)]):2",
        "cpus(reservations: [(STATIC,a,p,{k: v})]):2",
        "cpus(reservations: ):2",
        "cpus(reservations: [(STATIC,a)):2",
        "cpus(web:2",
        "cpus(web)x:2",
        "cpus[a](web):2",
        "cpus(-web):2",
        "cpus(a b):2",
        "cpus{REV}:1",
        "disk(a)[id:path]:5",
    ] {
        assert!(text.parse::<DeclaredResources>().is_err(), "{text}");
    }
}

#[test]
fn what_goes_to_two_roles_at_once_is_refused() {
    assert_eq!(
        error("ports:[1-9];ports(web):[5-12]"),
        "`ports(web):[5-12]`: [5-9] of `ports` is declared twice; it can go to one role only"
    );
    assert_eq!(error("x:{a,b};x(r):{b}"), "`x(r):{b}`: `b` of `x` is declared twice; it can go to one role only");
    assert_eq!(declared("ports:[1-4];ports(web):[5-12];cpus:1;cpus(web):1").resources().total_ports(), 12);
}

#[test]
fn the_usual_names_have_the_usual_form() {
    for text in ["cpus:[1-2]", "mem:{a}", "disk:[1-2]", "gpus:{a}", "ports:31000", "ports:{31000}"] {
        assert!(error(text).contains("has to be "), "{text}");
    }
    assert_eq!(error("x:1;x:[1-2]"), "`x:[1-2]`: `x` has to be a number");
    assert_eq!(error("ports:[0-65536]"), "`ports:[0-65536]`: ports go up to 65535");
}

#[test]
fn messages_declare_as_text_does() {
    let list = "cpus(web):2;mem:5".parse::<Resources>().unwrap().to_proto();
    let all = DeclaredResources::from_proto(&list).unwrap();
    assert_eq!(all, declared("cpus(web):2;mem:5"));
    let mut zero = list;
    zero[1].scalar = Some(crate::proto::v1::value::Scalar { value: 0.0 });
    let all = DeclaredResources::from_proto(&zero).unwrap();
    assert!(all.mentions("mem") && all.mentions("cpus"));
    assert_eq!(all.resources().len(), 1);
}
