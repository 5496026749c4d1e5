//! Files named by patterns. Only folders below the part of a pattern without special characters are looked into, no
//! deeper than the pattern goes.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use weir_event::stream::Attributes;
use weir_pipeline::source::{Source, SourceContext};

use crate::engine::{self, HeldLimits, Options};
use crate::handle::Packing;
use crate::layout::{Incarnation, Layout, Order, Place};
use crate::multiline::Grammar;
use crate::settings::{FilesSettings, SettingsError};

/// `**` goes down this many folders: enough for every tree of logs, and an end for links in a circle.
const MAX_DEPTH: usize = 16;

/// The source `file`.
pub struct Files {
    layout: Globs,
    options: Options,
}

impl Files {
    /// A source over the settings; the patterns are looked at now, the files when it runs.
    pub fn new(settings: FilesSettings) -> Result<Files, SettingsError> {
        let include = absolute(&settings.include)?;
        let layout = Globs {
            bases: include.iter().map(|pattern| base(pattern)).collect(),
            include: patterns("include", &include)?,
            exclude: patterns("exclude", &absolute(&settings.exclude)?)?,
        };
        let options = Options {
            format: settings.format,
            read_from: settings.read_from,
            linger: settings.linger,
            held: HeldLimits { bytes: settings.max_held_bytes, age: settings.max_held_age },
            grammar: settings.multiline.as_ref().map(Grammar::new).transpose()?.map(Arc::new),
        };
        Ok(Files { layout, options })
    }

    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (Box<dyn Layout>, Options) {
        (Box::new(self.layout), self.options)
    }
}

impl Source for Files {
    fn run(self: Box<Self>, context: SourceContext) {
        engine::run(Box::new(self.layout), self.options, context);
    }
}

/// Where the files of a pattern can lie.
#[derive(Debug, PartialEq, Eq)]
struct Base {
    directory: PathBuf,
    /// How many levels down, 1 being the folder itself.
    depth: usize,
}

struct Globs {
    bases: Vec<Base>,
    include: GlobSet,
    exclude: GlobSet,
}

impl Layout for Globs {
    fn roots(&self) -> Vec<PathBuf> {
        self.bases.iter().map(|base| base.directory.clone()).collect()
    }

    fn wants_directory(&self, path: &Path) -> bool {
        let below =
            |base: &Base| path.strip_prefix(&base.directory).ok().map(|rest| rest.components().count());
        self.bases.iter().any(|base| below(base).is_some_and(|levels| levels < base.depth))
    }

    fn place(&self, path: &Path) -> Option<Place> {
        let wanted = self.include.is_match(path) && !self.exclude.is_match(path);
        let is_packed = path.extension().is_some_and(|extension| extension == "gz");
        let packing = if is_packed { Packing::Gzip } else { Packing::Plain };
        wanted.then(|| Place { chain: path.to_owned(), order: Order::Current, restart: 0, packing })
    }

    fn attributes(&self, chain: &Path) -> Attributes {
        Attributes { path: chain.to_string_lossy().into_owned(), ..Attributes::default() }
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation::FirstSeen
    }
}

/// A set of patterns, in which `*` and `?` stop at a `/`.
pub(crate) fn patterns(setting: &'static str, patterns: &[String]) -> Result<GlobSet, SettingsError> {
    let error = |pattern: &str, error: &globset::Error| SettingsError::Pattern {
        setting,
        pattern: pattern.to_owned(),
        reason: error.kind().to_string(),
    };
    let build = |pattern: &String| -> Result<Glob, SettingsError> {
        GlobBuilder::new(pattern).literal_separator(true).build().map_err(|cause| error(pattern, &cause))
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(build(pattern)?);
    }
    set.build().map_err(|cause| error(&patterns.join(", "), &cause))
}

fn absolute(patterns: &[String]) -> Result<Vec<String>, SettingsError> {
    let absolute = |pattern: &String| {
        if pattern.starts_with('/') {
            return Ok(pattern.clone());
        }
        let folder = std::env::current_dir()
            .map_err(|error| SettingsError::WorkingFolder { pattern: pattern.clone(), error })?;
        let folder = globset::escape(&folder.to_string_lossy());
        Ok(format!("{folder}/{}", pattern.strip_prefix("./").unwrap_or(pattern)))
    };
    patterns.iter().map(absolute).collect()
}

/// The part of a pattern before its first special character, up to the last `/`, and how deep the rest goes.
fn base(pattern: &str) -> Base {
    let special = |component: &Component<'_>| {
        component.as_os_str().to_string_lossy().contains(['*', '?', '[', '{', '\\'])
    };
    let components: Vec<Component<'_>> = Path::new(pattern).components().collect();
    let literal = components.iter().take_while(|component| !special(component)).count();
    // Of a pattern without special characters, the last component is the file.
    let literal = literal.min(components.len().saturating_sub(1));
    let (literal, rest) = components.split_at(literal);
    // What stands in braces may hold a `/`: then the components say nothing.
    let unbounded = rest.iter().any(|component| {
        let text = component.as_os_str().to_string_lossy();
        text.contains("**") || text.contains('{') && !text.contains('}')
    });
    Base { directory: literal.iter().collect(), depth: if unbounded { MAX_DEPTH } else { rest.len() } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_pattern_can_reach_is_walked() {
        for (pattern, directory, depth) in [
            ("/var/log/app.log", "/var/log", 1),
            ("/var/log/*.log", "/var/log", 1),
            ("/var/log/*/current", "/var/log", 2),
            ("/var/log/app-?/x/*.log", "/var/log", 3),
            ("/var/log/**/*.log", "/var/log", MAX_DEPTH),
            ("/var/{log/a,tmp}/*.log", "/var", MAX_DEPTH),
            ("/var/{log,tmp}/*.log", "/var", 2),
            ("/*", "/", 1),
        ] {
            assert_eq!(base(pattern), Base { directory: directory.into(), depth }, "{pattern}");
        }
    }

    fn source(include: &[&str], exclude: &[&str]) -> Result<Files, SettingsError> {
        let strings = |list: &[&str]| list.iter().map(|pattern| (*pattern).to_owned()).collect();
        Files::new(FilesSettings {
            include: strings(include),
            exclude: strings(exclude),
            format: crate::Format::Text,
            read_from: crate::ReadFrom::Beginning,
            linger: std::time::Duration::ZERO,
            max_held_bytes: u64::MAX,
            max_held_age: std::time::Duration::MAX,
            multiline: None,
        })
    }

    #[test]
    fn patterns_choose_files() {
        let files =
            source(&["/logs/*/a?.log", "/logs/{x,y}.txt", "/deep/**/*.log"], &["**/*.gz", "/logs/no/*"])
                .unwrap();
        for (path, expected) in [
            ("/logs/s/a1.log", true),
            ("/logs/s/t/a1.log", false),
            ("/logs/no/a1.log", false),
            ("/logs/x.txt", true),
            ("/logs/z.txt", false),
            ("/deep/a.log", true),
            ("/deep/b/c/a.log", true),
            ("/deep/b/c/a.log.gz", false),
        ] {
            assert_eq!(files.layout.place(Path::new(path)).is_some(), expected, "{path}");
        }
        for (path, expected) in
            [("/logs/s", true), ("/logs/s/t", false), ("/deep/b/c", true), ("/other", false)]
        {
            assert_eq!(files.layout.wants_directory(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_relative_pattern_counts_from_the_working_folder() {
        let files = source(&["./logs/*.log"], &[]).unwrap();
        let here = std::env::current_dir().unwrap();
        assert!(files.layout.place(&here.join("logs/a.log")).is_some());
        assert!(files.layout.place(Path::new("logs/a.log")).is_none());
    }

    #[test]
    fn a_broken_pattern_is_named() {
        let error = source(&["/ok/*", "/broken/[a"], &[]).err().unwrap().to_string();
        assert!(error.contains("/broken/[a") && error.contains("include"), "{error}");
    }
}
