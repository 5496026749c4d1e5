//! What is rendered is valid, complete and documented.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::test_agent;

/// A family as a scraper sees it.
#[derive(Debug, Default)]
struct Scraped {
    kind: String,
    series: BTreeMap<String, f64>,
}

/// Reads the text format as strictly as its description allows; fails on the first line that is not valid.
fn scrape(text: &str) -> BTreeMap<String, Scraped> {
    let mut families: BTreeMap<String, Scraped> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && !help.contains('\\'), "{line}");
            assert!(families.insert(name.to_owned(), Scraped::default()).is_none(), "twice: {line}");
            current = name.to_owned();
            continue;
        }
        let family = families.get_mut(&current).unwrap();
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current);
            assert!(family.series.is_empty() && ["counter", "gauge"].contains(&kind), "{line}");
            family.kind = kind.to_owned();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert_eq!(name, current, "{line}");
        assert!(is_name(name) && !family.kind.is_empty(), "{line}");
        labels(series.get(name.len()..).unwrap());
        let value: f64 = value.parse().unwrap();
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(family.series.insert(series.to_owned(), value).is_none(), "twice: {line}");
    }
    families
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let is_letter = |b: u8| b.is_ascii_lowercase() || b == b'_';
    bytes.next().is_some_and(is_letter) && bytes.all(|b| is_letter(b) || b.is_ascii_digit())
}

/// The names in `{a="x",b="y"}`, each of which must be one and stand once.
fn labels(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = match text {
        "" => return names,
        text => text.strip_prefix('{').unwrap(),
    };
    loop {
        let (name, value) = rest.split_once("=\"").unwrap();
        assert!(is_name(name) && names.insert(name.to_owned()), "{text}");
        let mut escaped = false;
        let end = value.find(|c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = value.get(end.unwrap() + 1..).unwrap();
        match rest {
            "}" => return names,
            _ => rest = rest.strip_prefix(',').unwrap(),
        }
    }
}

#[test]
fn what_is_rendered_is_valid_and_complete() {
    let scraped = scrape(&render(&test_agent::state()));
    let names: Vec<&str> = scraped.keys().map(String::as_str).collect();
    let mut all: Vec<&str> = families::all().map(|family| family.name).collect();
    all.sort_unstable();
    assert_eq!(names, all);
    for family in families::all() {
        let known: BTreeSet<&str> = family.labels.split(", ").filter(|label| !label.is_empty()).collect();
        let scraped = &scraped[family.name];
        assert_eq!(scraped.kind, family.kind.name());
        let used: BTreeSet<String> =
            scraped.series.keys().flat_map(|series| labels(&series[family.name.len()..])).collect();
        assert_eq!(used.iter().map(String::as_str).collect::<BTreeSet<_>>(), known, "{}", family.name);
    }
}

#[test]
fn names_follow_the_conventions() {
    for family in families::all() {
        let name = family.name;
        assert!(name.starts_with("weir_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), family.kind == families::Kind::Counter, "{name}");
        assert!(family.help.ends_with('.') && !family.help.contains('\n'), "{name}");
    }
}

#[test]
fn numbers_come_from_where_they_are_counted() {
    let scraped = scrape(&render(&test_agent::state()));
    let cases = [
        ("weir_source_errors_total", r#"{source="pods"}"#, 3.0),
        ("weir_ledger_events_total", r#"{pipeline="app-logs",sink="local",state="read"}"#, 10.0),
        (
            "weir_ledger_bytes_total",
            r#"{pipeline="app-logs",sink="local",state="lost",reason="rotation"}"#,
            100.0,
        ),
        ("weir_ledger_waiting_events", r#"{pipeline="app-logs",sink="local",place="in_flight"}"#, 1.0),
        ("weir_ledger_balanced", r#"{pipeline="app-logs",sink="local"}"#, 1.0),
        ("weir_buffer_bound_bytes", r#"{sink="local",tier="memory"}"#, 1024.0),
        ("weir_plugin_errors_total", r#"{plugin="sampler",cause="trap"}"#, 0.0),
        ("weir_pipeline_held", r#"{pipeline="app-logs"}"#, 0.0),
        ("weir_opensearch_requests_total", r#"{sink="search",outcome="answered"}"#, 5.0),
        ("weir_opensearch_items_total", r#"{sink="search",outcome="held"}"#, 0.0),
        ("weir_opensearch_held_events", r#"{sink="search",index="logs-closed"}"#, 2.0),
        ("weir_ready", "", 0.0),
    ];
    for (name, labels, expected) in cases {
        assert_eq!(scraped[name].series.get(&format!("{name}{labels}")), Some(&expected), "{name}{labels}");
    }
    assert!(scraped["process_resident_memory_bytes"].series["process_resident_memory_bytes"] > 1e6);
}

/// docs/OPERATION.md has the table that is made here. `WEIR_UPDATE=1 cargo test -p weir` writes it anew.
#[test]
fn every_metric_is_documented() {
    let mut table = String::from("| metric | type | labels | |\n|---|---|---|---|\n");
    for family in families::all() {
        let labels: Vec<String> = family
            .labels
            .split(", ")
            .filter(|label| !label.is_empty())
            .map(|label| format!("`{label}`"))
            .collect();
        table += &format!(
            "| `{}` | {} | {} | {} |\n",
            family.name,
            family.kind.name(),
            labels.join(", "),
            family.help
        );
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATION.md");
    let kept = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = kept.split_once("<!-- metrics -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    let made = format!("{before}<!-- metrics -->\n{table}<!-- end -->{after}");
    if std::env::var_os("WEIR_UPDATE").is_some() {
        return std::fs::write(&file, &made).unwrap();
    }
    assert!(kept == made, "the table differs; if that is meant, run the test with WEIR_UPDATE=1");
}

/// Every metric and label of the alert rules is one that there is, and no rule is without a severity and a summary.
#[test]
fn the_alert_rules_ask_for_what_there_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/alerts");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let texts: Vec<String> = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let rules = texts.iter().flat_map(|text| text.split("- alert: ").skip(1));
    let rules: Vec<&str> = rules.collect();
    assert!(rules.len() >= 6, "the rules were not found");
    for rule in rules {
        let name = rule.lines().next().unwrap();
        let expression = rule.lines().find_map(|line| line.trim().strip_prefix("expr: ")).unwrap();
        assert!(rule.contains("severity: ") && rule.contains("summary: "), "{name}");
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut metrics = 0;
        for word in expression.split(|c| !is_word(c)).filter(|word| word.starts_with("weir_")) {
            let family = families::all().find(|family| family.name == word);
            let family = family.unwrap_or_else(|| panic!("{name} asks for {word}, which there is not"));
            for (at, _) in expression.match_indices(&format!("{word}{{")) {
                let selected = expression.get(at + word.len() + 1..).unwrap().split('}').next().unwrap();
                for label in selected.split(',').filter_map(|one| one.split(['=', '!', '~']).next()) {
                    assert!(family.has_label(label), "{name}: {word} has no {label}");
                }
            }
            metrics += 1;
        }
        assert!(metrics > 0, "{name} asks for nothing");
    }
}
