//! Random configurations, one after the other, against a model that knows only what was written: what is the same must be
//! the same thing afterwards, and everything else another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

/// A configuration as the model has it: by name, what it is made of.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    sources: BTreeMap<&'static str, u8>,
    sinks: BTreeMap<&'static str, u8>,
    /// Source, parser, sinks.
    pipelines: BTreeMap<&'static str, (Vec<&'static str>, &'static str, Vec<&'static str>)>,
}

const PARSERS: [&str; 3] = ["json", "auto", "logfmt"];

fn some<T: Clone>(random: &mut StdRng, of: &[T]) -> Vec<T> {
    of.iter().filter(|_| random.random_bool(0.6)).cloned().collect()
}

impl Model {
    /// Like another, with something of it changed.
    fn vary(&self, random: &mut StdRng) -> Model {
        let mut model = self.clone();
        for name in some(random, &["a", "b", "c"]) {
            if random.random_bool(0.5) {
                model.sources.insert(name, random.random_range(0..3));
            }
        }
        for name in some(random, &["x", "y", "z"]) {
            if random.random_bool(0.5) {
                model.sinks.insert(name, random.random_range(0..3));
            } else if random.random_bool(0.3) {
                model.sinks.remove(name);
            }
        }
        for name in some(random, &["p", "q", "r"]) {
            model.pipelines.remove(name);
            let from = some(random, &model.sources.keys().copied().collect::<Vec<_>>());
            let to = some(random, &model.sinks.keys().copied().collect::<Vec<_>>());
            if !from.is_empty() && !to.is_empty() {
                let parser = PARSERS[random.random_range(0..PARSERS.len())];
                model.pipelines.insert(name, (from, parser, to));
            }
        }
        let sinks = model.sinks.clone();
        model.pipelines.retain(|_, (_, _, to)| to.iter().all(|sink| sinks.contains_key(sink)));
        model
    }

    fn is_possible(&self) -> bool {
        !self.pipelines.is_empty()
    }

    fn text(&self, folder: &Path) -> String {
        let mut text =
            "version: 1\ncluster: c\nnode: n\ndata_dir: data\nmemory: 256MiB\nworkers: 2\n".to_owned();
        let folder = folder.display();
        text.push_str("sources:\n");
        for (name, variant) in &self.sources {
            let linger = 10 + variant;
            let _ = writeln!(
                text,
                "  {name}: {{type: file, include: ['{folder}/{name}/*.log'], format: text, linger: {linger}ms}}"
            );
        }
        text.push_str("pipelines:\n");
        for (name, (from, parser, to)) in &self.pipelines {
            let (from, to) = (from.join(", "), to.join(", "));
            let _ = writeln!(text, "  {name}: {{from: [{from}], stages: [{{parse: {parser}}}], to: [{to}]}}");
        }
        text.push_str("sinks:\n");
        for (name, variant) in &self.sinks {
            let _ = writeln!(text, "  {name}: {{type: file, path: {folder}/{name}-{variant}.ndjson}}");
        }
        text
    }

    /// The sources that lead somewhere.
    fn read(&self) -> BTreeMap<&'static str, u8> {
        let is_read = |name: &str| self.pipelines.values().any(|(from, _, _)| from.contains(&name));
        self.sources
            .iter()
            .filter(|(name, _)| is_read(name))
            .map(|(name, variant)| (*name, *variant))
            .collect()
    }
}

/// What the model says of two maps.
fn difference<V: PartialEq>(old: &BTreeMap<&'static str, V>, new: &BTreeMap<&'static str, V>) -> Difference {
    let names =
        |names: Vec<&&'static str>| names.into_iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let both = |same: bool| {
        new.iter().filter(move |(k, v)| old.get(*k).is_some_and(|o| (o == *v) == same)).map(|(k, _)| k)
    };
    Difference {
        kept: names(both(true).collect()),
        changed: names(both(false).collect()),
        added: names(new.keys().filter(|name| !old.contains_key(*name)).collect()),
        removed: names(old.keys().filter(|name| !new.contains_key(*name)).collect()),
    }
}

#[test]
fn what_is_the_same_is_not_touched_and_everything_else_is() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let path = folder.path().join("weir.yaml");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let checkpoints = Arc::new(Checkpoints::open(&folder.path().join("data")).unwrap());
        let mut live: Option<Live> = None;
        let mut before = Model::default();
        for round in 0..12 {
            let model = before.vary(&mut random);
            if !model.is_possible() {
                continue;
            }
            std::fs::write(&path, model.text(folder.path())).unwrap();
            let (config, _) = weir_config::load(&path)
                .unwrap_or_else(|errors| panic!("{errors}\n{}", model.text(folder.path())));
            let live = live.get_or_insert_with(|| {
                let surroundings = Surroundings {
                    checkpoints: Arc::clone(&checkpoints),
                    runtime: runtime.handle().clone(),
                    mode: Mode::Follow,
                };
                Live::new(&config, surroundings).unwrap()
            });
            let names = ["a", "b", "c"];
            let sources = names.map(|name| live.sources.metrics_of(name));
            let pipelines = ["p", "q", "r"].map(|name| live.pipelines.pipeline(name));
            let sinks = ["x", "y", "z"].map(|name| live.sinks.sink(name));
            let changes = live.change(&config, &Plugins::new(), &Plugins::new(), Trial::Yes).unwrap();

            let at = format!("seed {seed}, round {round}: {before:?} → {model:?}");
            assert_eq!(changes.sources, difference(&before.read(), &model.read()), "{at}");
            assert_eq!(changes.pipelines, difference(&before.pipelines, &model.pipelines), "{at}");
            assert_eq!(changes.sinks, difference(&before.sinks, &model.sinks), "{at}");
            for (name, old) in names.into_iter().zip(sources) {
                let new = live.sources.metrics_of(name);
                assert_eq!(new.is_some(), model.read().contains_key(name), "{name}: {at}");
                let is_same = old.zip(new).is_some_and(|(old, new)| Arc::ptr_eq(&old, &new));
                assert_eq!(is_same, changes.sources.kept.contains(name), "{name}: {at}");
            }
            for (name, old) in ["p", "q", "r"].into_iter().zip(pipelines) {
                let new = live.pipelines.pipeline(name);
                assert_eq!(new.is_some(), model.pipelines.contains_key(name), "{name}: {at}");
                let is_same = old.zip(new).is_some_and(|(old, new)| Arc::ptr_eq(&old, &new));
                assert_eq!(is_same, changes.pipelines.kept.contains(name), "{name}: {at}");
            }
            for (name, old) in ["x", "y", "z"].into_iter().zip(sinks) {
                let new = live.sinks.sink(name);
                assert_eq!(new.is_some(), model.sinks.contains_key(name), "{name}: {at}");
                let Some(((old_buffer, old_driver), (new_buffer, new_driver))) = old.zip(new) else {
                    continue;
                };
                assert!(Arc::ptr_eq(&old_buffer, &new_buffer), "a buffer belongs to its name: {name}: {at}");
                assert_eq!(old_driver == new_driver, changes.sinks.kept.contains(name), "{name}: {at}");
            }
            before = model;
        }
        let mut live = live.expect("something was possible");
        live.stop_sources();
        assert!(live.finish_workers(Duration::from_secs(10)).is_empty());
        live.finish().unwrap();
    }
}
