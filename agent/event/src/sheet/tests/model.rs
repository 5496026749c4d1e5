//! What edits mean, said again on a tree and one edit after the other.

use super::tree::{Json, Members, parse};
use crate::stream::ENVELOPE_NAMES;
use crate::transform::Edit;

/// How a member's path lies to another one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lies {
    Apart,
    At,
    Beyond,
    OnTheWay,
}

fn lies(member: &str, path: &str) -> Lies {
    let goes_on =
        |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
    match (member == path, goes_on(member, path), goes_on(path, member)) {
        (true, _, _) => Lies::At,
        (_, true, _) => Lies::Beyond,
        (_, _, true) => Lies::OnTheWay,
        _ => Lies::Apart,
    }
}

/// Visits every object, those in arrays too, with the path that it has.
fn objects(json: &mut Json, path: Option<&str>, visit: &mut dyn FnMut(Option<&str>, &mut Members)) {
    match json {
        Json::Scalar(_) => {}
        Json::Array(items) => items.iter_mut().for_each(|item| objects(item, path, visit)),
        Json::Object(members) => {
            visit(path, members);
            for (key, value) in members {
                objects(value, Some(&joined(path, key)), visit);
            }
        }
    }
}

fn joined(path: Option<&str>, key: &str) -> String {
    path.map_or_else(|| key.to_owned(), |path| format!("{path}.{key}"))
}

/// Removes the members of which `goes` says so, by how they lie to the path.
fn remove_where(json: &mut Json, path: &str, goes: impl Fn(Lies) -> bool) {
    objects(json, None, &mut |object, members| {
        members.retain(|(key, _)| !goes(lies(&joined(object, key), path)));
    });
}

/// Changes every value at the path.
fn change(json: &mut Json, path: &str, change: &mut dyn FnMut(&mut Json)) {
    objects(json, None, &mut |object, members| {
        for (key, value) in members {
            if joined(object, key) == path {
                change(value);
            }
        }
    });
}

fn values_at(json: &Json, path: &str) -> Vec<Json> {
    let mut found = Vec::new();
    change(&mut json.clone(), path, &mut |value| found.push(value.clone()));
    found
}

/// The value that a stage reads at a path.
pub(super) fn read(json: &Json, path: &str) -> Option<Json> {
    last_in_text(json, None, path)
}

/// The objects are visited from the outside in; what counts is the order of the text.
fn last_in_text(json: &Json, at: Option<&str>, path: &str) -> Option<Json> {
    match json {
        Json::Scalar(_) => None,
        Json::Array(items) => items.iter().rev().find_map(|item| last_in_text(item, at, path)),
        Json::Object(members) => members.iter().rev().find_map(|(key, value)| {
            let own = joined(at, key);
            last_in_text(value, Some(&own), path).or_else(|| (own == path).then(|| value.clone()))
        }),
    }
}

/// Applies one edit.
pub(super) fn apply(json: &mut Json, edit: &Edit) {
    match edit {
        Edit::Remove(path) => remove_where(json, path, |lies| matches!(lies, Lies::At | Lies::Beyond)),
        Edit::Set(path, value) => set(json, path, &parse(value)),
        Edit::Rename(from, to) if from == to => {}
        Edit::Rename(from, to) => {
            if let Some(value) = read(json, from) {
                remove_where(json, from, |lies| lies == Lies::At);
                set(json, to, &value);
            }
        }
        Edit::KeepOnly(paths) => keep_only(json, None, paths),
    }
}

fn set(json: &mut Json, path: &str, value: &Json) {
    remove_where(json, path, |lies| lies == Lies::Beyond);
    if !values_at(json, path).is_empty() {
        change(json, path, &mut |old| *old = value.clone());
        return;
    }
    for (dot, _) in path.rmatch_indices('.') {
        let (way, rest) = (&path[..dot], &path[dot + 1..]);
        let there = values_at(json, way);
        if there.is_empty() {
            continue;
        }
        let is_object = |json: &Json| matches!(json, Json::Object(_));
        let any_object = there.iter().any(is_object);
        change(json, way, &mut |old| match old {
            Json::Object(members) => members.push(nested(rest, value)),
            other if !any_object => *other = Json::Object(vec![nested(rest, value)]),
            _ => {}
        });
        return;
    }
    if let Json::Object(members) = json {
        members.push(nested(path, value));
    }
}

fn nested(path: &str, value: &Json) -> (String, Json) {
    match path.split_once('.') {
        Some((first, rest)) => (first.to_owned(), Json::Object(vec![nested(rest, value)])),
        None => (path.to_owned(), value.clone()),
    }
}

fn keep_only(json: &mut Json, at: Option<&str>, paths: &[String]) {
    let Json::Object(members) = json else { return };
    members.retain_mut(|(key, value)| {
        let own = joined(at, key);
        let is_any = |wanted: &[Lies]| paths.iter().any(|path| wanted.contains(&lies(&own, path)));
        if is_any(&[Lies::At, Lies::Beyond]) {
            return true;
        }
        keep_only(value, Some(&own), paths);
        is_any(&[Lies::OnTheWay]) && matches!(value, Json::Object(_))
    });
}

/// What a document has besides the envelope: own members of its names are in `event`.
pub(super) fn document(json: Json) -> Json {
    let is_reserved =
        |key: &str| ENVELOPE_NAMES.iter().any(|name| matches!(lies(key, name), Lies::At | Lies::Beyond));
    let (moved, mut stays): (Vec<_>, Vec<_>) =
        json.into_members().into_iter().partition(|(key, _)| is_reserved(key));
    if !moved.is_empty() {
        stays.push(("event".to_owned(), Json::Object(moved)));
    }
    Json::Object(stays)
}
