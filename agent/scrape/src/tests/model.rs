//! Any sequence of scrapes gives the samples that a simple model gives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use weir_event::batch::ArenaPool;
use weir_event::stream::Attributes;
use weir_pipeline::source::SourceMetrics;
use weir_samples::exposition::Format;
use weir_samples::relabel::{Action, Rule, Rules};

use super::rig::{BEGIN, Kept};
use crate::cache::Cache;
use crate::cache::families::FamilyPool;
use crate::commit::{Committer, Moment};
use crate::ingest::{Ingest, ReadSettings};
use crate::metrics::ScrapeMetrics;
use crate::outgoing::Outgoing;
use crate::series_rules::SeriesRules;

/// A line of a body.
#[derive(Clone, Debug)]
struct Line {
    /// `e` has timestamps of its own, `d` is dropped.
    metric: char,
    label: u8,
    /// Labels the other way round: another text of the same series.
    is_swapped: bool,
    value: u8,
    /// Milliseconds since the beginning, for `e`.
    timestamp: i64,
}

#[derive(Clone, Debug)]
struct Scrape {
    lines: Vec<Line>,
    /// Where a line stands that is none.
    fault: Option<usize>,
    /// Nothing could be asked at all.
    is_refused: bool,
    pieces: usize,
}

/// What Prometheus would do, without any memory to save.
#[derive(Default)]
struct Model {
    tracked: BTreeSet<String>,
    explicit: BTreeMap<String, (i64, u8)>,
}

impl Line {
    fn text(&self) -> String {
        let (a, b) = (format!("a=\"{}\"", self.label), "b=\"x\"");
        let labels = if self.is_swapped { format!("{b},{a}") } else { format!("{a},{b}") };
        let timestamp =
            if self.metric == 'e' { format!(" {}", BEGIN + self.timestamp) } else { String::new() };
        format!("{}{{{labels}}} {}{timestamp}\n", self.metric, self.value)
    }

    fn series(&self) -> String {
        format!("{}{{a=\"{}\",b=\"x\",job=\"j\"}}", self.metric, self.label)
    }
}

impl Model {
    fn step(&mut self, scrape: &Scrape, time: i64, track: bool) -> Vec<(String, i64, String)> {
        let (mut out, mut tracked, mut seen) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let has_failed = scrape.is_refused || scrape.fault.is_some();
        for line in scrape.lines.iter().filter(|line| !has_failed && line.metric != 'd') {
            let series = line.series();
            seen.insert(series.clone());
            let sample = |time| (series.clone(), time, line.value.to_string());
            if line.metric != 'e' {
                if tracked.insert(series.clone()) {
                    out.push(sample(time));
                }
                continue;
            }
            if line.timestamp > time + 600_000 {
                continue;
            }
            let now = (line.timestamp, line.value);
            match self.explicit.get(&series) {
                Some(last) if *last == now => {}
                Some(last) if last.0 >= now.0 => continue,
                _ => {
                    self.explicit.insert(series.clone(), now);
                    out.push(sample(line.timestamp));
                }
            }
            if track {
                tracked.insert(series);
            }
        }
        for gone in self.tracked.difference(&tracked) {
            if self.explicit.get(gone).is_none_or(|last| last.0 < time) {
                out.push((gone.clone(), time, "stale".to_owned()));
            }
        }
        self.tracked = tracked;
        if !has_failed {
            self.explicit.retain(|series, _| seen.contains(series));
        }
        out.sort();
        out
    }
}

fn line() -> impl Strategy<Value = Line> {
    (
        prop::sample::select(vec!['m', 'n', 'e', 'd']),
        0_u8..6,
        prop::bool::weighted(0.2),
        0_u8..3,
        0_i64..900_000,
    )
        .prop_map(|(metric, label, is_swapped, value, timestamp)| Line {
            metric,
            label,
            is_swapped,
            value,
            timestamp,
        })
}

fn scrape() -> impl Strategy<Value = Scrape> {
    let fault = prop::option::weighted(0.15, 0_usize..20);
    (prop::collection::vec(line(), 0..25), fault, prop::bool::weighted(0.1), 1_usize..40)
        .prop_map(|(lines, fault, is_refused, pieces)| Scrape { lines, fault, is_refused, pieces })
}

fn body(scrape: &Scrape) -> String {
    let mut lines: Vec<String> = scrape.lines.iter().map(Line::text).collect();
    if let Some(fault) = scrape.fault {
        lines.insert(fault.min(lines.len()), "no line at all\n".to_owned());
    }
    lines.concat()
}

fn rules() -> SeriesRules {
    let rule = Rule {
        source_labels: vec!["__name__".into()],
        regex: "d".into(),
        action: Action::Drop,
        ..Rule::default()
    };
    let mut target = Vec::new();
    let mut labels = weir_samples::labels::LabelsBuilder::new();
    labels.push("job", "j");
    labels.finish(&mut target).unwrap();
    SeriesRules {
        target,
        external: Vec::new(),
        honor_labels: false,
        rules: Arc::new(Rules::new(&[rule]).unwrap()),
        label_limit: 0,
        label_name_length_limit: 0,
        label_value_length_limit: 0,
    }
}

fn play(scrapes: &[Scrape], track_timestamps: bool) -> Result<(), TestCaseError> {
    let (kept, metrics, rules) = (Kept::default(), Arc::new(ScrapeMetrics::default()), rules());
    let outgoing = Outgoing::new(
        Box::new(kept.clone()),
        ArenaPool::new(),
        Arc::clone(&metrics),
        Arc::new(SourceMetrics::default()),
    );
    let mut committer = Committer::new(outgoing, metrics);
    let mut cache = Cache::new(rules.shared_labels(), FamilyPool::new(Attributes::default()));
    let settings = ReadSettings {
        honor_timestamps: true,
        native_histograms: false,
        always_scrape_classic_histograms: false,
        sample_limit: 0,
    };
    let mut model = Model::default();
    for (index, scrape) in scrapes.iter().enumerate() {
        let time = index as i64 * 15_000;
        cache.begin();
        let mut staged = None;
        if !scrape.is_refused {
            let mut ingest = Ingest::new(&mut cache, &rules, settings, (Format::Text, BEGIN + time));
            let body = body(scrape);
            let mut fed = Ok(());
            for piece in body.as_bytes().chunks(scrape.pieces) {
                fed = fed.and_then(|()| ingest.feed(piece));
            }
            if fed.is_ok() {
                let (all, read) = ingest.finish();
                staged = read.is_ok().then_some(all);
            }
        }
        prop_assert_eq!(staged.is_some(), !scrape.is_refused && scrape.fault.is_none());
        match staged {
            Some(staged) => {
                let moment = Moment { time: BEGIN + time, track_timestamps };
                committer.succeed(&mut cache, &staged, moment).unwrap();
            }
            None => {
                cache.roll_back();
                committer.fail(&mut cache, BEGIN + time).unwrap();
            }
        }
        committer.outgoing.send().unwrap();
        let mut seen: Vec<_> =
            kept.take().into_iter().map(|seen| (seen.series, seen.time, seen.value)).collect();
        seen.sort();
        prop_assert_eq!(seen, model.step(scrape, time, track_timestamps), "scrape {}", index);
        prop_assert!(cache.entries.len() <= 2 * cache.live as usize + 8);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_sequence_of_scrapes_gives_what_the_model_gives(
        scrapes in prop::collection::vec(scrape(), 1..15),
        track: bool,
    ) {
        play(&scrapes, track)?;
    }
}
