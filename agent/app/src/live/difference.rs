//! What two generations have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use serde::Serialize;

use crate::plugins::Plugins;

/// Names by what becomes of what they name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The same in both generations: not touched.
    pub kept: BTreeSet<String>,
    /// In the new one only.
    pub added: BTreeSet<String>,
    /// In both, but not the same.
    pub changed: BTreeSet<String>,
    /// In the old one only.
    pub removed: BTreeSet<String>,
}

// === impl Difference ===

impl Difference {
    /// Between two maps of names, by what `is_same` says of those that are in both.
    pub fn between<K: Ord + Display, A, B>(
        old: &BTreeMap<K, A>,
        new: &BTreeMap<K, B>,
        is_same: impl Fn(&A, &B) -> bool,
    ) -> Difference {
        let mut difference = Difference::default();
        for (name, wanted) in new {
            let names = match old.get(name) {
                None => &mut difference.added,
                Some(there) if is_same(there, wanted) => &mut difference.kept,
                Some(_) => &mut difference.changed,
            };
            names.insert(name.to_string());
        }
        let gone = old.keys().filter(|name| !new.contains_key(name));
        difference.removed = gone.map(ToString::to_string).collect();
        difference
    }

    /// Between the plugins of two generations, with their shadows: one that is the same is shared.
    pub fn of_shared(old: &Plugins, new: &Plugins) -> Difference {
        Difference::between(old, new, crate::plugins::Loaded::is_same)
    }

    /// Whether both are the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// `+added ~changed -removed`, for the log.
impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for (sign, names) in [('+', &self.added), ('~', &self.changed), ('-', &self.removed)] {
            for name in names {
                write!(f, "{gap}{sign}{name}")?;
                gap = " ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_name_is_told_by_what_becomes_of_it() {
        let old = BTreeMap::from([("kept", 1), ("changed", 2), ("removed", 3)]);
        let new = BTreeMap::from([("kept", 1), ("changed", 9), ("added", 4)]);
        let difference = Difference::between(&old, &new, i32::eq);
        assert_eq!(difference.kept, names(&["kept"]));
        assert_eq!(difference.added, names(&["added"]));
        assert_eq!(difference.changed, names(&["changed"]));
        assert_eq!(difference.removed, names(&["removed"]));
        assert_eq!(difference.to_string(), "+added ~changed -removed");
        assert!(!difference.is_empty() && Difference::between(&new, &new, i32::eq).is_empty());
    }
}
