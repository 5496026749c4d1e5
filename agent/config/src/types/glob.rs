//! Patterns of file names.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};

use super::Format;
use crate::error::Complaint;

/// A pattern of paths: `*` and `?` stay within one folder, `**` goes over any number of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob(globset::Glob);

impl Glob {
    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        self.0.glob()
    }

    /// The pattern, compiled.
    pub fn matcher(&self) -> GlobMatcher {
        self.0.compile_matcher()
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Format for Glob {
    const NAME: &'static str = "Glob";
    const DESCRIPTION: &'static str = "A pattern of names: `*` and `?` stay within one folder, `**` goes over any \
                                       number of them, `{a,b}` and `[a-z]` are alternatives.";
    const EXPECTED: &'static str = "a pattern such as /var/log/app/*.log";

    fn parse(text: &str) -> Result<Glob, Complaint> {
        if text.is_empty() {
            return Err(Complaint::new(format!("expected {}, found an empty text", Glob::EXPECTED)));
        }
        let built = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        built.map(Glob).map_err(|error| Complaint::new(format!("invalid pattern: {}", error.kind())))
    }
}
