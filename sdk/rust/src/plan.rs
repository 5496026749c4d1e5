//! The plan: what a configured plugin reads, writes, drops and edits.

use crate::Json;
use crate::bindings::{self, Edit, ReasonClass};
use crate::transform::ConfigError;

/// A field that is read: [`Plan::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read(pub(crate) u32);

/// A stream attribute that is read: [`Plan::attribute`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute(pub(crate) u32);

/// A field that may be written: [`Plan::write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write(pub(crate) u32);

/// Why a row is dropped: [`Plan::sampled`] and [`Plan::dropped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(pub(crate) u8);

/// What a configured plugin wants. The agent shows it what it reads and nothing else, and refuses the plugin when
/// its manifest or the operator's grants do not cover the plan.
///
/// Paths are dotted: `user.email` is the member `email` of the object `user`, and also a member that is literally
/// called `user.email`. What is asked for twice is the same handle.
#[derive(Debug)]
pub struct Plan {
    raw: bindings::Plan,
    error: Option<ConfigError>,
}

impl Plan {
    /// A verdict is one byte, and 0 keeps.
    pub const MAX_REASONS: usize = 255;

    pub(crate) fn new() -> Plan {
        let raw = bindings::Plan {
            reads: Vec::new(),
            attributes: Vec::new(),
            writes: Vec::new(),
            reasons: Vec::new(),
            edits: Vec::new(),
        };
        Plan { raw, error: None }
    }

    /// Reads the field at this path; `*` is the whole event as one object.
    pub fn read(&mut self, path: &str) -> Read {
        Read(index_of(&mut self.raw.reads, path))
    }

    /// Reads an attribute of the stream that an event came from: `source`, `cluster`, `node`, `namespace`, `pod`,
    /// `container`, `uid`, `stream`, `path` or `tag`.
    pub fn attribute(&mut self, name: &str) -> Attribute {
        Attribute(index_of(&mut self.raw.attributes, name))
    }

    /// Declares that the plugin writes this path, in columns or in edits of single rows; `*` is any path.
    pub fn write(&mut self, path: &str) -> Write {
        Write(index_of(&mut self.raw.writes, path))
    }

    /// A reason to leave rows out on purpose, to save volume. The ledger counts them by this name of at most 64 bytes.
    pub fn sampled(&mut self, name: &str) -> Reason {
        self.reason(name, ReasonClass::Sampled)
    }

    /// A reason to filter rows out. The ledger counts them by this name of at most 64 bytes.
    pub fn dropped(&mut self, name: &str) -> Reason {
        self.reason(name, ReasonClass::Dropped)
    }

    /// Removes every member at this path from every kept event. Such edits cost a plugin nothing per row. They are
    /// applied in the order in which they are planned, after what the plugin wrote to single rows.
    pub fn remove(&mut self, path: &str) {
        self.raw.edits.push(Edit::Remove(path.into()));
    }

    /// Writes this value to the path in every kept event.
    pub fn set(&mut self, path: &str, value: impl Into<Json>) {
        self.raw.edits.push(Edit::Set((path.into(), value.into().to_string())));
    }

    /// Moves the value from one path to another in every kept event.
    pub fn rename(&mut self, from: &str, to: &str) {
        self.raw.edits.push(Edit::Rename((from.into(), to.into())));
    }

    /// Removes everything but these paths from every kept event.
    pub fn keep_only(&mut self, paths: impl IntoIterator<Item = impl Into<String>>) {
        self.raw.edits.push(Edit::KeepOnly(paths.into_iter().map(Into::into).collect()));
    }

    pub(crate) fn finish(self) -> Result<bindings::Plan, ConfigError> {
        self.error.map_or(Ok(self.raw), Err)
    }

    fn reason(&mut self, name: &str, class: ReasonClass) -> Reason {
        let reasons = &mut self.raw.reasons;
        if let Some(at) = reasons.iter().position(|reason| reason.name == name) {
            if reasons[at].class != class {
                self.fail(format!("events would be both sampled and dropped for the reason {name}"));
            }
            return Reason((at + 1) as u8);
        }
        if reasons.len() == Plan::MAX_REASONS {
            self.fail(format!("there would be more than {} reasons to drop events", Plan::MAX_REASONS));
            return Reason(u8::MAX);
        }
        reasons.push(bindings::Reason { name: name.into(), class });
        Reason(reasons.len() as u8)
    }

    /// The first error is what configuring ends with.
    fn fail(&mut self, message: String) {
        self.error.get_or_insert(ConfigError::new(message));
    }
}

fn index_of(names: &mut Vec<String>, name: &str) -> u32 {
    if let Some(at) = names.iter().position(|known| known == name) {
        return at as u32;
    }
    names.push(name.into());
    names.len() as u32 - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_twice_is_the_same_handle() {
        let mut plan = Plan::new();
        let level = plan.read("level");
        assert_ne!(plan.read("user.id"), level);
        assert_eq!(plan.read("level"), level);
        assert_eq!(plan.sampled("debug"), plan.sampled("debug"));
        assert_ne!(plan.sampled("debug"), plan.dropped("muted"));
        let raw = plan.finish().map(|raw| (raw.reads, raw.reasons.len()));
        assert_eq!(raw, Ok((vec!["level".into(), "user.id".into()], 2)));
    }

    #[test]
    fn a_reason_has_one_class() {
        let mut plan = Plan::new();
        plan.sampled("debug");
        plan.dropped("debug");
        assert!(plan.finish().is_err_and(|error| error.to_string().contains("both sampled and dropped")));
    }

    #[test]
    fn reasons_beyond_a_byte_are_a_configuration_error() {
        let mut plan = Plan::new();
        for number in 0..Plan::MAX_REASONS {
            assert_eq!(plan.dropped(&number.to_string()), Reason(number as u8 + 1));
        }
        plan.dropped("one more");
        assert!(plan.finish().is_err_and(|error| error.to_string().contains("255 reasons")));
    }
}
