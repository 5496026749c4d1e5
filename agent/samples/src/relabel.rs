//! Relabelling, with the semantics of Prometheus 3.9 (package model/relabel) for every action.
//!
//! 1. What Prometheus accepts is accepted and gives the same labels; what it refuses is refused. Names of labels are checked as
//!    in its default, `name_validation_scheme: utf8`: any text but the empty one.
//! 2. Regular expressions are RE2's, translated: anchored at both ends, `.` matches line feeds too.
//! 3. A series is worked out once and remembered by [`Relabel`]. Two series are told apart by 128 bits of hashes, of which 64
//!    have a random secret, so nobody can make two series that take each other's labels.
//! 4. A series that ends without any label is dropped like one that a rule drops, as Prometheus' scrape does. One that ends
//!    with labels but without `__name__`, or with a label of the empty name (a `labelmap` can make one), is dropped with a
//!    reason of its own: Prometheus fails the whole scrape then, and its remote-write receiver refuses the series.
//! 5. Labels that begin with `__` are labels like others here. They stay in samples, as they do in Prometheus; a source that
//!    finds targets uses [`Rules::apply`] and removes them afterwards.
//!
//! # Differences from Prometheus
//!
//! A test asks Prometheus' own package for random rules and label sets (`integration-tests/oracles/relabel` and the example
//! `relabel_oracle`). These differences are known:
//!
//! | what | Prometheus | here |
//! |---|---|---|
//! | `\p{Old_Italic}` and other scripts of more than one word | refused since Go 1.25, which looks them up without `_` | works |
//! | what is in `\p{…}` | Unicode 15 | Unicode 16 or later: characters that are new since, and four that differ |
//! | nested repetitions such as `(a{100}){11}` | refused beyond 1,000 copies | works up to 10 MiB when compiled |
//! | groups in groups | 1,000 deep | 250 deep |
//! | a repetition right behind flags or an empty `\Q\E`: `a(?i)*` | works | refused with a message |
//! | a letter's case in `(?i)`, `lowercase` and `uppercase` | Unicode 15 | Unicode 16 or later: letters that are new since |
//! | a name in a replacement, `$name` | ends before a combining mark | goes on over marks that count as alphabetic |
//! | `regex: (.*)` or an empty list `source_labels: []` with an action that takes none | refused | taken for not said |
//! | rules that write more than 1 MiB to one label set, which only rules that double a value do | uses memory | drops it |

mod cache;
mod letters;
mod lists;
mod re2;
mod re2_escape;
mod re2_unicode;
mod rule;
mod rules;
mod template;

pub use cache::{Limits, Relabel, Usage};
pub use lists::Lists;
pub use rule::{Action, DEFAULT_REGEX, DEFAULT_REPLACEMENT, DEFAULT_SEPARATOR, Problem, Rule, RuleError};
pub use rules::Rules;

/// Bytes that rules may write to one label set: far beyond any label, and far below where a rule that doubles a value leads.
pub const MAX_WRITTEN_BYTES: usize = 1 << 20;
/// Rules in one list.
pub const MAX_RULES: usize = 10_000;

#[cfg(test)]
mod tests;
