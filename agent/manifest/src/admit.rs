//! Whether a configured plan stays within what the manifest asks for and the operator grants.

use std::fmt;

use weir_event::transform::{Edit, Plan};

use crate::manifest::Manifest;
use crate::path::{EVERYTHING, covers};

/// What the operator allows a plugin, from `grants:` of the configuration. Absent = as the manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The dotted paths that it may be shown.
    pub fields: Option<Vec<String>>,
    /// The dotted paths that it may change.
    pub write: Option<Vec<String>>,
}

/// What a plan wanted to do with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// See a field.
    Read,
    /// Change a field.
    Write,
    /// See an attribute of the streams.
    Attribute,
}

/// Who did not allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The plugin's own manifest.
    Manifest,
    /// The operator's grants.
    Grants,
}

/// Something that a plan wants and must not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it wanted.
    pub access: Access,
    /// The path or attribute.
    pub path: String,
    /// Who did not allow it.
    pub by: Authority,
}

// === impl Manifest ===

impl Manifest {
    /// Checks that `plan` is within this manifest and within `grants`; all refusals at once.
    ///
    /// Written are the paths of `plan.writes` and those that `plan.edits` name: both ends of a rename, and
    /// the whole event for keep-only, which removes what it does not name. Attributes of streams need no
    /// grant.
    pub fn admit(&self, plan: &Plan, grants: &Grants) -> Result<(), Vec<Refusal>> {
        let mut refusals = Vec::new();
        let mut refuse = |access, path: &str, by| {
            let refusal = Refusal { access, path: path.to_owned(), by };
            if !refusals.contains(&refusal) {
                refusals.push(refusal);
            }
        };
        for path in &plan.reads {
            if !self.reads.allow(path) {
                refuse(Access::Read, path, Authority::Manifest);
            }
            if !granted(grants.fields.as_deref(), path) {
                refuse(Access::Read, path, Authority::Grants);
            }
        }
        for path in written(plan) {
            if !self.writes.allow(path) {
                refuse(Access::Write, path, Authority::Manifest);
            }
            if !granted(grants.write.as_deref(), path) {
                refuse(Access::Write, path, Authority::Grants);
            }
        }
        for name in &plan.attributes {
            if self.attributes.as_ref().is_some_and(|names| !names.contains(name)) {
                refuse(Access::Attribute, name, Authority::Manifest);
            }
        }
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }
}

fn granted(grants: Option<&[String]>, path: &str) -> bool {
    grants.is_none_or(|granted| granted.iter().any(|one| covers(one, path)))
}

/// The paths that an edit changes: both ends of a rename, and [`EVERYTHING`] for keep-only.
pub fn written_paths(edit: &Edit) -> impl Iterator<Item = &str> {
    let paths = match edit {
        Edit::Remove(path) | Edit::Set(path, _) => [Some(path.as_str()), None],
        Edit::Rename(from, to) => [Some(from.as_str()), Some(to.as_str())],
        Edit::KeepOnly(_) => [Some(EVERYTHING), None],
    };
    paths.into_iter().flatten()
}

fn written(plan: &Plan) -> impl Iterator<Item = &str> {
    plan.writes.iter().map(String::as_str).chain(plan.edits.iter().flat_map(written_paths))
}

// === impl Refusal ===

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        let (verb, member, grant) = match self.access {
            Access::Read => ("read", "reads", "grants.fields"),
            Access::Write => ("write", "writes", "grants.write"),
            Access::Attribute => ("see the stream attribute", "attributes", "grants"),
        };
        match self.by {
            Authority::Manifest => {
                write!(formatter, "wants to {verb} `{path}`, which `{member}` of its manifest does not name")
            }
            Authority::Grants => {
                write!(formatter, "wants to {verb} `{path}`, which `{grant}` does not allow")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Paths;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    fn manifest(reads: &[&str], writes: &[&str]) -> Manifest {
        let text = r#"{"name":"p","version":"1.0.0","worlds":["transform"],"reads":"any","writes":"any"}"#;
        let mut manifest: Manifest = serde_json::from_str(text).unwrap();
        let paths = |list: &[&str]| if list == ["any"] { Paths::Any } else { Paths::Listed(strings(list)) };
        (manifest.reads, manifest.writes) = (paths(reads), paths(writes));
        manifest
    }

    fn refused(manifest: &Manifest, plan: &Plan, grants: &Grants) -> Vec<String> {
        manifest.admit(plan, grants).err().unwrap_or_default().iter().map(Refusal::to_string).collect()
    }

    #[test]
    fn reads_are_within_the_manifest_and_the_grants() {
        type Case = (&'static [&'static str], Option<&'static [&'static str]>, &'static str, usize);
        let cases: [Case; 9] = [
            (&["any"], None, "user.email", 0),
            (&["user"], None, "user.email", 0),
            (&["user.email"], None, "user", 1),
            (&["level"], None, "*", 1),
            (&["any"], Some(&["level"]), "level", 0),
            (&["any"], Some(&["level"]), "message", 1),
            (&["any"], Some(&["*"]), "*", 0),
            (&["any"], Some(&[]), "level", 1),
            (&["level"], Some(&["level"]), "message", 2),
        ];
        for (reads, fields, wanted, expected) in cases {
            let plan = Plan { reads: strings(&[wanted]), ..Plan::default() };
            let grants = Grants { fields: fields.map(strings), write: None };
            let refusals = refused(&manifest(reads, &[]), &plan, &grants);
            assert_eq!(refusals.len(), expected, "{reads:?} {fields:?} {wanted}: {refusals:?}");
        }
    }

    #[test]
    fn edits_are_writes() {
        let cases = [
            (Edit::Remove("labels".into()), 0),
            (Edit::Remove("labels.app".into()), 0),
            (Edit::Remove("user".into()), 1),
            (Edit::Set("cluster".into(), "1".into()), 1),
            (Edit::Rename("labels.a".into(), "labels.b".into()), 0),
            (Edit::Rename("labels.a".into(), "b".into()), 1),
            (Edit::Rename("a".into(), "b".into()), 2),
            (Edit::KeepOnly(strings(&["labels"])), 1),
        ];
        for (edit, expected) in cases {
            let plan = Plan { edits: vec![edit.clone(), edit.clone()], ..Plan::default() };
            let by_manifest = refused(&manifest(&[], &["labels"]), &plan, &Grants::default());
            assert_eq!(by_manifest.len(), expected, "{edit:?}: {by_manifest:?}");
            let grants = Grants { fields: None, write: Some(strings(&["labels"])) };
            let by_grants = refused(&manifest(&[], &["any"]), &plan, &grants);
            assert_eq!(by_grants.len(), expected, "{edit:?}: {by_grants:?}");
        }
    }

    #[test]
    fn keep_only_needs_everything() {
        let plan = Plan { edits: vec![Edit::KeepOnly(strings(&["a"]))], ..Plan::default() };
        let grants = Grants { fields: None, write: Some(strings(&["*"])) };
        assert_eq!(manifest(&[], &["*"]).admit(&plan, &grants), Ok(()));
    }

    #[test]
    fn declared_writes_are_checked() {
        let plan = Plan { writes: strings(&["sample_rate"]), ..Plan::default() };
        let grants = Grants { fields: None, write: Some(Vec::new()) };
        assert_eq!(
            refused(&manifest(&[], &[]), &plan, &grants),
            [
                "wants to write `sample_rate`, which `writes` of its manifest does not name",
                "wants to write `sample_rate`, which `grants.write` does not allow",
            ]
        );
    }

    #[test]
    fn attributes_need_no_grant_but_hold_to_the_manifest() {
        let plan = Plan { attributes: strings(&["namespace", "pod"]), ..Plan::default() };
        let grants = Grants { fields: Some(Vec::new()), write: Some(Vec::new()) };
        let mut manifest = manifest(&[], &[]);
        assert_eq!(manifest.admit(&plan, &grants), Ok(()));
        manifest.attributes = Some(strings(&["namespace"]));
        let refusals = manifest.admit(&plan, &grants).unwrap_err();
        assert_eq!(refusals.iter().map(|r| r.path.as_str()).collect::<Vec<_>>(), ["pod"]);
    }
}
