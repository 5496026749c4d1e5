//! From what is on disk to the checked configuration: defaults, cross references, limits.
//!
//! Every part has a function that turns its disk struct into its checked type and reports what is wrong on the way. It
//! goes on after an error, with a value that nobody gets to see: [`crate::load`] returns nothing if there is any error.

mod bucket;
mod buffers;
mod kinds;
pub(crate) mod memory;
mod paths;
mod pipelines;
mod places;
mod plugins;
mod registries;
mod relabel;
mod scrape;
mod sinks;
mod sources;
mod stages;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use places::Places;

use crate::config::{Admin, Config, Secret};
use crate::error::{Complaint, Report};
use crate::files::Files;
use crate::host::Host;
use crate::key_path::KeyPath;
use crate::raw;
use crate::secret::{self, SecretError};
use crate::types::Name;
use crate::yaml::{Node, Value};

const DEFAULT_DATA_DIR: &str = "/var/lib/weir";

/// What all parts need to know.
struct Context<'a> {
    /// The whole configuration as it was written: for places, and for names whose values were invalid.
    tree: &'a Node,
    base_dir: &'a Path,
    host: &'a Host,
    report: &'a mut Report,
}

/// The checked configuration. It is of use only if nothing was reported.
pub(crate) fn validate(raw: raw::Config, files: Files, host: &Host, report: &mut Report) -> Config {
    let Files { tree, hash, base_dir } = files;
    let mut context = Context { tree: &tree, base_dir: &base_dir, host, report };
    let node = raw.node.map(|node| node.0.0).or_else(|| host.node()).unwrap_or_else(|| context.no_node());
    let sources = context.named(raw.sources, "sources", sources::source);
    let plugins = context.named(raw.plugins, "plugins", plugins::plugin);
    let registries = registries::registries(raw.registries, &mut context);
    plugins::check_artifacts(&plugins, &registries, &mut context);
    let sinks = context.named(raw.sinks, "sinks", sinks::sink);
    let pipelines = context.named(raw.pipelines, "pipelines", pipelines::pipeline);
    let buffers = context.named(raw.buffers, "buffers", buffers::buffer);
    sinks::check_paths(&sinks, &sources, &mut context);
    sinks::check_archives(&sinks, &mut context);
    sources::check_secrets(&mut context);
    sources::check_addresses(&sources, &mut context);
    plugins::check_secrets(&mut context);
    registries::check_secrets(&mut context);
    sinks::check_secrets(&mut context);
    buffers::check_secrets(&mut context);
    pipelines::check_references(&mut context);
    buffers::check_references(&mut context);
    buffers::check_use(&sinks, &mut context);
    buffers::check_order(&sinks, &buffers, &mut context);
    kinds::check(&pipelines, &sources, &sinks, &mut context);
    pipelines::check_together(&pipelines, &sources, &sinks, &mut context);
    let workers = raw.workers.and_then(|count| NonZeroUsize::new(count as usize));
    let given = memory::Given { memory: raw.memory.map(|size| size.0), workers };
    let parts = memory::Parts::of(&plugins, &sources, &pipelines, &sinks, &buffers);
    let (memory, workers, planned_memory) = memory::share_out(&given, &parts, &mut context);
    let data_dir = raw.data_dir.map_or_else(|| PathBuf::from(DEFAULT_DATA_DIR), |path| path.0.0);
    let data_dir = context.absolute(&data_dir);
    Config {
        version: raw.version.unwrap_or_default(),
        cluster: raw.cluster.map(|cluster| cluster.0.0).unwrap_or_default(),
        node,
        data_dir,
        memory,
        planned_memory,
        workers,
        sources,
        plugins,
        registries,
        pipelines,
        sinks,
        buffers,
        admin: raw.admin.map(|admin| Admin { listen: admin.listen.0.0 }),
        hash,
        places: Places::new(tree, report),
        base_dir,
    }
}

// === impl Context ===

impl<'a> Context<'a> {
    /// Converts the entries of a section.
    fn named<R, C>(
        &mut self,
        raw: impl IntoIterator<Item = (raw::Text<Name>, R)>,
        section: &str,
        convert: impl Fn(R, &Name, &KeyPath, &mut Context<'_>) -> C,
    ) -> std::collections::BTreeMap<Name, C> {
        let section = KeyPath::of(&[section]);
        let convert = |(name, value): (raw::Text<Name>, R)| {
            let checked = convert(value, &name.0, &section.key(&name.0), self);
            (name.0, checked)
        };
        raw.into_iter().map(convert).collect()
    }

    /// All names of a section, those of entries with errors too.
    fn names(&self, section: &str) -> Vec<&'a str> {
        let tree = self.tree;
        tree.entry(section).map(|entry| entry.value.keys().collect()).unwrap_or_default()
    }

    /// A path relative to the configuration's folder.
    fn absolute(&self, path: &Path) -> PathBuf {
        self.base_dir.join(path).components().collect()
    }

    /// Whether something stands at this path, be it valid or not.
    fn is_written(&self, path: &KeyPath) -> bool {
        places::find(self.tree, path).is_some()
    }

    /// Whether a map with keys stands at this path, be they valid or not.
    fn has_entries(&self, path: &KeyPath) -> bool {
        places::find(self.tree, path).is_some_and(|(node, _)| !node.entries().is_empty())
    }

    /// The path of a text in the list at `path`.
    fn index_of(&self, path: &KeyPath, text: &str) -> KeyPath {
        let list = places::find(self.tree, path).map(|(node, _)| &node.value);
        let Some(Value::List(items)) = list else { return path.clone() };
        let is_meant = |item: &Node| matches!(&item.value, Value::Text(found) if found == text);
        items.iter().position(is_meant).map_or_else(|| path.clone(), |index| path.index(index))
    }

    /// Where a secret is had.
    fn secret(&self, raw: raw::SecretReference) -> Secret {
        match raw {
            raw::SecretReference::File(path) => Secret::File(self.absolute(&path.0.0)),
            raw::SecretReference::Env(name) => Secret::Variable(name.0.0),
        }
    }

    /// Complains about files and variables below a value that cannot be had, where what is wrong with them matters.
    fn check_found(&mut self, value: &Node, at: &KeyPath, matters: impl Fn(&SecretError) -> bool) {
        for (at, error) in secret::find_missing(&value.to_json(), self.base_dir, self.host, at) {
            if matters(&error) {
                self.error(&at, Complaint::new(error.reason()));
            }
        }
    }

    /// Complains about what these keys of `written`, which stands at `at`, refer to and cannot be had, whatever else may be
    /// wrong there. A certificate may be longer than a secret; what matters is that it can be read.
    fn check_given(&mut self, written: &Node, at: &KeyPath, secrets: &[&str], certificates: &[&str]) {
        for key in secrets {
            let Some(entry) = written.entry(key) else { continue };
            self.check_found(&entry.value, &at.key(key), |_| true);
        }
        for key in certificates {
            let Some(entry) = written.entry(key) else { continue };
            let is_unreadable = |error: &SecretError| matches!(error, SecretError::Unreadable { .. });
            self.check_found(&entry.value, &at.key(key), is_unreadable);
        }
    }

    /// Complains about a time that is not within these bounds.
    fn within(&mut self, value: Duration, bounds: [(Duration, &str); 2], path: &KeyPath) {
        let [(least, least_shown), (most, most_shown)] = bounds;
        if !(least..=most).contains(&value) {
            self.error(path, Complaint::new(format!("must be from {least_shown} to {most_shown}")));
        }
    }

    fn at_most(&mut self, value: Duration, most: Duration, shown: &str, path: &KeyPath) {
        if value > most {
            self.error(path, Complaint::new(format!("must be at most {shown}")));
        }
    }

    fn no_node(&mut self) -> String {
        let complaint = Complaint::new("the node's name is not known");
        self.error(
            &KeyPath::default(),
            complaint.help("give node, or set the environment variable NODE_NAME"),
        );
        String::new()
    }

    fn error(&mut self, path: &KeyPath, complaint: Complaint) {
        self.report.error(places::locate(self.tree, path), path, complaint);
    }

    fn warn(&mut self, path: &KeyPath, complaint: Complaint) {
        self.report.warn(places::locate(self.tree, path), path, complaint);
    }
}

fn parser(raw: raw::Parser) -> crate::config::Parser {
    use crate::config::Parser;
    match raw {
        raw::Parser::Auto => Parser::Auto,
        raw::Parser::Json => Parser::Json,
        raw::Parser::Logfmt => Parser::Logfmt,
        raw::Parser::Klog => Parser::Klog,
        raw::Parser::None => Parser::None,
        raw::Parser::Regex(pattern) => Parser::Regex(pattern.0),
    }
}
