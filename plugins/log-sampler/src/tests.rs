//! Fixtures, refused configurations, and what sampling promises.

use std::collections::BTreeMap;

use weir_sdk::testing::{Agent, Error, Event, Fate, Run, check_fixtures};
use weir_sdk::{Json, json};

use crate::LogSampler;

fn sampled(config: Json, pressure: f32, events: impl IntoIterator<Item = Event>) -> Run {
    let mut agent = Agent::<LogSampler>::configure(config).unwrap();
    agent.pressure = pressure;
    agent.run(events).unwrap()
}

fn kept(run: &Run) -> usize {
    run.rows.iter().filter(|fate| matches!(fate, Fate::Kept(_))).count()
}

fn dropped(run: &Run, reason: &str) -> usize {
    run.rows.iter().filter(|fate| matches!(fate, Fate::Dropped(name) if name == reason)).count()
}

/// Events of this level, each of a trace of its own.
fn traces(level: &'static str, count: u64) -> impl Iterator<Item = Event> {
    // The numbers of an odd multiplier spread over all digits and never repeat.
    let id = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (1..=count)
        .map(move |number| Event::new(format!(r#"{{"level":"{level}","trace_id":"{:032x}"}}"#, id(number))))
}

fn assert_about(share: f64, count: usize, of: u64) {
    let got = count as f64 / of as f64;
    assert!((got - share).abs() < 0.02, "{got} is far from {share}");
}

#[test]
fn fixtures_come_out_as_expected() -> Result<(), Error> {
    check_fixtures::<LogSampler>(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_refused_configuration_names_the_key() {
    let cases = [
        (json!({"rate": {}}), "rate: unknown field"),
        (json!({"rates": {"info": "0.1"}}), "rates.info: invalid type"),
        (json!({"rates": {"info": 1.5}}), "rates.info: is 1.5, must be from 0 to 1"),
        (json!({"rates": {"info": -0.1}}), "rates.info: is -0.1, must be"),
        (json!({"rates": {"info": 0.1, "INFO": 0.2}}), "rates.info: stands there twice"),
        (json!({"default": 2}), "default: is 2, must be"),
        (json!({"method": "md5"}), "method: unknown variant `md5`, expected `hash` or `otel`"),
        (json!({"field": "a", "attribute": "namespace"}), "attribute: cannot stand beside field"),
        (json!({"attribute": "namspace"}), "attribute: is not one of source, cluster"),
        (json!({"protect": {"value": []}}), "protect.value: unknown field"),
        (json!({"pressure": {"from": 0.5}}), "pressure: missing field `min_factor`"),
        (json!({"pressure": {"from": 1, "min_factor": 0.5}}), "pressure.from: must be below 1"),
        (json!({"pressure": {"from": 0.5, "min_factor": 2}}), "pressure.min_factor: is 2, must be"),
    ];
    for (config, expected) in cases {
        let text = config.to_string();
        let refusal = Agent::<LogSampler>::configure(config).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{text}\n  expected {expected}\n  got {refusal}");
    }
}

#[test]
fn the_share_that_is_kept_is_the_rate() {
    for method in ["hash", "otel"] {
        for rate in [0.0, 0.01, 0.1, 0.5, 0.9, 1.0] {
            let config = json!({"rates": {"info": rate}, "key": "trace_id", "method": method});
            assert_about(rate, kept(&sampled(config, 0.0, traces("info", 10_000))), 10_000);
        }
    }
}

#[test]
fn without_a_key_time_and_stream_decide() {
    let events =
        |pod: &'static str| (0..10_000).map(move |time| Event::new("text").attribute("pod", pod).time(time));
    let config = json!({"default": 0.3, "key": "trace_id"});
    let one = sampled(config.clone(), 0.0, events("one"));
    assert_about(0.3, kept(&one), 10_000);
    assert_eq!(one, sampled(config.clone(), 0.0, events("one")));
    assert_ne!(one, sampled(config, 0.0, events("other")));
}

#[test]
fn lines_without_dates_are_not_one_draw() {
    let events = (0..10_000).map(|_| Event::new("text").attribute("path", "/var/log/app.log").time(7));
    assert_about(0.3, kept(&sampled(json!({"default": 0.3}), 0.0, events)), 10_000);
}

#[test]
fn a_higher_rate_keeps_what_a_lower_one_keeps() {
    for method in ["hash", "otel"] {
        let run = |rate: f64| {
            let config =
                json!({"default": rate, "key": "trace_id", "method": method, "protect": {"values": []}});
            sampled(config, 0.0, traces("info", 2_000)).rows
        };
        let (low, high) = (run(0.1), run(0.4));
        for (low, high) in low.iter().zip(high) {
            assert!(matches!(low, Fate::Dropped(_)) || matches!(high, Fate::Kept(_)));
        }
    }
}

#[test]
fn a_trace_is_kept_whole_whatever_the_level() {
    let config = json!({"rates": {"info": 0.2, "debug": 0.2}, "key": "trace_id"});
    let info = sampled(config.clone(), 0.0, traces("info", 1_000));
    let debug = sampled(config, 0.0, traces("debug", 1_000));
    for (info, debug) in info.rows.iter().zip(&debug.rows) {
        assert_eq!(matches!(info, Fate::Kept(_)), matches!(debug, Fate::Kept(_)));
    }
}

#[test]
fn pressure_lowers_rates_but_not_for_what_is_protected() {
    let config = json!({
        "rates": {"info": 0.5, "debug": 0, "error": 1}, "key": "trace_id",
        "pressure": {"from": 0.6, "min_factor": 0.2},
    });
    for (pressure, share) in [(0.0, 0.5), (0.6, 0.5), (0.8, 0.3), (1.0, 0.1), (7.0, 0.1), (f32::NAN, 0.5)] {
        let run = sampled(config.clone(), pressure, traces("info", 10_000));
        assert_about(share, kept(&run), 10_000);
        assert_about(0.5, dropped(&run, "level=info"), 10_000);
        assert_about(0.5 - share, dropped(&run, "pressure"), 10_000);
    }
    let all = |level| kept(&sampled(config.clone(), 1.0, traces(level, 1_000)));
    assert_eq!((all("ERROR"), all("warn"), all("debug")), (1_000, 1_000, 0));
    let other = sampled(config, 1.0, traces("trace", 10_000));
    assert_about(0.2, kept(&other), 10_000);
}

#[test]
fn pressure_that_is_over_is_forgotten() {
    let config = json!({"default": 0.5, "key": "trace_id", "pressure": {"from": 0.5, "min_factor": 0}});
    let mut agent = Agent::<LogSampler>::configure(config).unwrap();
    let before = agent.run(traces("info", 500)).unwrap();
    agent.pressure = 1.0;
    assert_eq!(kept(&agent.run(traces("info", 500)).unwrap()), 0);
    agent.pressure = 0.0;
    assert_eq!(agent.run(traces("info", 500)).unwrap(), before);
}

#[test]
fn a_kept_event_carries_how_many_it_stands_for() {
    let config = json!({
        "rates": {"info": 0.25}, "key": "trace_id", "rate_field": "sampling.weight",
        "pressure": {"from": 0.0, "min_factor": 0.5},
    });
    for (pressure, weight) in [(0.0, json!(4)), (1.0, json!(8))] {
        let run = sampled(config.clone(), pressure, traces("info", 200));
        let documents = run.rows.iter().filter_map(|fate| match fate {
            Fate::Kept(document) => Some(document),
            Fate::Dropped(_) => None,
        });
        let weights: Vec<&Json> = documents.map(|document| &document["sampling"]["weight"]).collect();
        assert!(!weights.is_empty() && weights.iter().all(|&got| *got == weight), "{weights:?}");
    }
}

#[test]
fn many_rates_are_counted_under_one_reason() {
    let rates: BTreeMap<String, f64> = (0..300).map(|number| (format!("value-{number}"), 0.0)).collect();
    let config = json!({"field": "name", "rates": rates});
    let run =
        sampled(config, 0.0, [Event::new(r#"{"name":"VALUE-299"}"#), Event::new(r#"{"name":"value-300"}"#)]);
    assert_eq!((dropped(&run, "sampled"), kept(&run)), (1, 1));
}

#[test]
fn a_reason_fits_a_label() {
    let config = json!({"field": "name", "rates": {"a\tb": 0, "ä".repeat(100): 0}});
    let agent = Agent::<LogSampler>::configure(config).unwrap();
    let names: Vec<&str> = agent.plan().reasons.iter().map(|reason| reason.name.as_str()).collect();
    assert_eq!(names, ["default", "name=a b", &format!("name={}", "ä".repeat(29))]);
}
