//! The path of a key, such as `pipelines.app-logs.stages[1]`.

use std::fmt;

/// The way from the top level to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyPath(Vec<Step>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl KeyPath {
    /// The path of these keys, from the top level down.
    pub fn of(keys: &[&str]) -> KeyPath {
        KeyPath(keys.iter().map(|key| Step::Key((*key).to_string())).collect())
    }

    /// This path and one key more.
    #[must_use]
    pub fn key(&self, key: &str) -> KeyPath {
        let mut longer = self.clone();
        longer.push(Step::Key(key.to_string()));
        longer
    }

    /// This path and one index more.
    #[must_use]
    pub fn index(&self, index: usize) -> KeyPath {
        let mut longer = self.clone();
        longer.push(Step::Index(index));
        longer
    }

    pub fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    pub fn pop(&mut self) {
        self.0.pop();
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if !is_plain(key) => write!(f, "[{:?}]", crate::text::shorten(key))?,
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 64
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
