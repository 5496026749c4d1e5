//! The reader: what is in an archive, which events have a value, and all of them again in their order.
//!
//! 1. What is damaged or missing is named in the outcome, and the rest goes on. A store that does not answer ends it: it
//!    can be tried again, a replay from its cursor.
//! 2. An event that the archive holds several times is given once: what has the same id and time within a namespace and
//!    hour, where all copies lie. An id is remembered only while an object is still to come that may hold it, and
//!    [`MAX_REMEMBERED`] at the most; those that had to be forgotten are counted.
//! 3. Indices and filters only save reading. A data object that no index names is found by its name and searched by its
//!    footer.
//! 4. Memory: the keys of one namespace and day, one index, one object's footer, one run of frames, one frame, and what is
//!    remembered. Reading blocks; what is too large for its cap is damaged.

mod hours;
mod list;
mod matcher;
mod object;
mod outcome;
mod plan;
mod search;
mod seen;
mod walk;

use std::sync::Arc;

use weir_buffer::object::{ObjectError, ObjectStore};
use weir_event::identity::EventId;
use weir_event::path::PathError;

pub use self::list::{HourSummary, Survey};
pub use self::outcome::{Damage, DamageKind, MAX_DAMAGES, Outcome};
pub use self::seen::MAX_REMEMBERED;
pub use self::walk::{Chunk, Cursor, CursorError, Replay};
use crate::key;

/// Reads one cluster's archive.
#[derive(Clone)]
pub struct Reader {
    store: Arc<dyn ObjectStore>,
    root: String,
}

/// Which events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The first time, nanoseconds since the Unix epoch.
    pub from: i64,
    /// The first time that is not wanted any more.
    pub to: i64,
    /// Namespaces; none for all.
    pub namespaces: Vec<String>,
    /// What must hold, all of it.
    pub conditions: Vec<Condition>,
}

/// A field has a value, as text: a string without escapes, a number or boolean as it is written, or one of those in an
/// array. The path reads as in a plugin's plan: nested and dotted, through arrays, the last of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The field's path.
    pub field: String,
    /// The value.
    pub value: String,
}

/// An event of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// The document, byte for byte as it was when it was archived.
    pub document: Vec<u8>,
}

/// Why reading ends.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The store did not do it.
    #[error("cannot read the archive: {0}")]
    Store(#[from] ObjectError),
    /// A condition's field is no path.
    #[error("a condition names no field: {0}")]
    Field(#[from] PathError),
    /// There are more keys than there can be.
    #[error("there are more than {limit} objects below {prefix}; ask for less time")]
    TooMany {
        /// Where.
        prefix: String,
        /// The most that are read.
        limit: usize,
    },
}

// === impl Selection ===

impl Selection {
    /// All events from one time to before another.
    pub fn of_time(from: i64, to: i64) -> Selection {
        Selection { from, to, namespaces: Vec::new(), conditions: Vec::new() }
    }
}

// === impl Condition ===

impl Condition {
    /// Reads `field=value`. A value may have further `=`.
    pub fn parse(text: &str) -> Option<Condition> {
        let (field, value) = text.split_once('=')?;
        (!field.is_empty()).then(|| Condition { field: field.to_owned(), value: value.to_owned() })
    }
}

// === impl Reader ===

impl Reader {
    /// A reader of the archive that was written with this prefix and cluster.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str, cluster: &str) -> Reader {
        Reader { store, root: key::root(prefix, cluster) }
    }

    /// Names of folders below a prefix.
    fn folders(&self, prefix: &str) -> Result<Vec<String>, ReadError> {
        let mut folders = Vec::new();
        self.pages(prefix, true, |listing| {
            let names = listing.folders.iter().filter_map(|key| key.strip_prefix(prefix)?.strip_suffix('/'));
            folders.extend(names.map(str::to_owned));
            folders.len()
        })?;
        Ok(folders)
    }

    /// Objects below a prefix: what follows the prefix, and their bytes.
    fn objects(&self, prefix: &str) -> Result<Vec<(String, u64)>, ReadError> {
        let mut objects = Vec::new();
        self.pages(prefix, false, |listing| {
            let names = listing.objects.iter();
            let names = names.filter_map(|(key, bytes)| Some((key.strip_prefix(prefix)?.to_owned(), *bytes)));
            objects.extend(names);
            objects.len()
        })?;
        Ok(objects)
    }

    fn pages(
        &self,
        prefix: &str,
        fold: bool,
        mut take: impl FnMut(weir_buffer::object::Listing) -> usize,
    ) -> Result<(), ReadError> {
        let mut after: Option<String> = None;
        loop {
            let mut listing = self.store.list(prefix, after.as_deref(), fold)?;
            after = listing.next.take();
            if take(listing) > hours::MAX_KEYS {
                return Err(ReadError::TooMany { prefix: prefix.to_owned(), limit: hours::MAX_KEYS });
            }
            if after.is_none() {
                return Ok(());
            }
        }
    }
}
