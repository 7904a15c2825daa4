//! The walk over prefixes, without a server.

use super::*;

fn names() -> Names {
    let client = Client::builder().endpoint("https://203.0.113.1").insecure(true).build().unwrap();
    Names::new(client, Listing::Keys, "").unwrap()
}

fn prefixes(names: &Names) -> Vec<String> {
    names
        .steps
        .iter()
        .rev()
        .map(|step| match step {
            Step::Prefix(text) => text.clone(),
            Step::Continue { at, .. } => format!("{at}…"),
        })
        .collect()
}

#[test]
fn the_search_behind_a_name_is_in_order_and_leaves_out_its_own_beginnings() {
    let mut names = names();
    names.steps.clear();
    names.search_behind("axz", "a");
    assert_eq!(prefixes(&names), ["ay", "az"], "behind `axz` itself nothing but what begins with it sorts before `ay`");
    names.steps.clear();
    names.search_behind("ay-z", "a");
    let found = prefixes(&names);
    assert_eq!(found.first().unwrap(), "ay0");
    assert_eq!(found.last().unwrap(), "az");
    assert!(found.is_sorted());
}

#[test]
fn a_lone_underscore_is_never_asked_for() {
    let mut names = names();
    names.steps.clear();
    names.search_behind("Zz", "");
    let found = prefixes(&names);
    assert!(!found.contains(&"_".to_owned()));
    assert!(found.contains(&"_0".to_owned()) && found.contains(&"__".to_owned()) && found.contains(&"a".to_owned()));
    assert!(found.is_sorted());
}

#[test]
fn repeated_and_foreign_names_are_left_out() {
    let mut names = names();
    names.prefix = "b".to_owned();
    names.take(vec!["a".into(), "b1".into(), "b2".into()]);
    names.take(vec!["b2".into(), "b3".into(), "c".into()]);
    assert_eq!(names.ready, ["b1", "b2", "b3"]);
}
