//! Keys against paths, in every way in which one can fit the other.

use super::*;

fn tree(paths: &[&str]) -> PathTree {
    let mut tree = PathTree::default();
    for path in paths {
        tree.add_recorded(path).unwrap();
    }
    tree
}

fn matched(tree: &PathTree, node: Node, key: &str) -> Match {
    let mut padded = key.as_bytes().to_vec();
    padded.resize(key.len() + 64, b'x');
    tree.match_key(node, &padded, key.len())
}

#[test]
fn keys_match_exactly_dotted_and_beyond() {
    let tree = tree(&["level", "labels", "user.email", "@timestamp", "kubernetes", "a.b.c"]);
    let at = |path: &str| tree.find(path).unwrap();
    assert_eq!((tree.path_len(ROOT), tree.path_len(at("level"))), (0, 5));
    assert_eq!(tree.path_len(at("user.email")), 10);
    for (key, expected) in [
        ("level", Match::Exact(at("level"))),
        ("levels", Match::Nothing),
        ("leve", Match::Nothing),
        ("", Match::Nothing),
        ("labels", Match::Exact(at("labels"))),
        ("labels.app", Match::Beyond(at("labels"))),
        ("labels.", Match::Beyond(at("labels"))),
        ("user", Match::Exact(at("user"))),
        ("user.email", Match::Exact(at("user.email"))),
        ("user.email.domain", Match::Beyond(at("user.email"))),
        ("user.name", Match::Nothing),
        ("@timestamp", Match::Exact(at("@timestamp"))),
        ("kubernetes.pod", Match::Beyond(at("kubernetes"))),
        ("kubernetez", Match::Nothing),
        ("a.b", Match::Exact(at("a.b"))),
        ("a.b.c", Match::Exact(at("a.b.c"))),
    ] {
        assert_eq!(matched(&tree, ROOT, key), expected, "{key}");
    }
    assert_eq!(matched(&tree, at("user"), "email"), Match::Exact(at("user.email")));
    assert_eq!(matched(&tree, at("a"), "b.c"), Match::Exact(at("a.b.c")));
}

#[test]
fn many_children_are_all_found() {
    let names: Vec<String> = (0..400).map(|n| format!("k{n}")).chain(["zz".into()]).collect();
    let tree = tree(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(tree.child_count(ROOT), 401);
    for name in &names {
        assert_eq!(matched(&tree, ROOT, name), Match::Exact(tree.find(name).unwrap()), "{name}");
    }
}

#[test]
fn bad_paths_are_refused() {
    assert!(matches!(check("a..b"), Err(PathError::EmptyPart(_))));
    assert!(matches!(check(""), Err(PathError::EmptyPart(_))));
    assert!(matches!(check(&"x".repeat(300)), Err(PathError::TooLong(300))));
}

#[test]
fn what_lies_below_a_recorded_path_is_recorded_too() {
    let mut tree = PathTree::default();
    tree.add_field("a.b.c").unwrap();
    let below = tree.add("a.b.d").unwrap();
    assert!(!tree.is_recorded(below));
    tree.add_recorded("a.b").unwrap();
    for (path, recorded) in [("a", false), ("a.b", true), ("a.b.c", true), ("a.b.d", true)] {
        assert_eq!(tree.is_recorded(tree.find(path).unwrap()), recorded, "{path}");
    }
    assert!(tree.add("a.b.e.f").is_ok_and(|later| tree.is_recorded(later)));
    tree.record_others(ROOT);
    assert!(tree.is_recorded(tree.find("a").unwrap()));
    assert!(tree.add("z").is_ok_and(|later| tree.is_recorded(later)));
}
