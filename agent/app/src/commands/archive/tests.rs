//! Which archive is meant, and what is printed of one.

use clap::Parser;
use weir_archive::{HourSummary, Survey};
use weir_event::identity::EventId;

use super::*;
use crate::output::Painter;

/// A command line with these commands alone.
#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: ArchiveCommand,
}

fn config(sinks: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.yaml");
    std::fs::write(&path, format!("version: 1\ncluster: dev\nnode: n\nsinks: {{{sinks}}}\n")).unwrap();
    weir_config::load(&path).unwrap_or_else(|errors| panic!("{errors}")).0
}

#[test]
fn the_archive_is_the_one_that_is_meant() {
    let one = "a: {type: s3, endpoint: 'https://m:9000', bucket: logs}, c: {type: console}";
    let two =
        format!("{one}, b: {{type: s3, endpoint: 'https://m:9000', bucket: other, prefix: 'x/{{cluster}}'}}");
    let find = |sinks: &str, wanted: Option<&str>| {
        Archive::of(config(sinks), wanted).map(|archive| archive.name.to_string())
    };
    assert_eq!(find(one, None), Ok("a".to_owned()));
    assert_eq!(find(one, Some("a")), Ok("a".to_owned()));
    assert_eq!(find(&two, Some("b")), Ok("b".to_owned()));
    let cases = [
        (find(&two, None), "choose one with --sink: a, b"),
        (find(one, Some("c")), "no sink of the type s3 called \"c\""),
        (find("c: {type: console}", None), "no sink of the type s3"),
    ];
    for (found, expected) in cases {
        let error = found.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let archive = Archive::of(config(&two), Some("b")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(archive.sink.prefix_in(&archive.config.cluster), "x/dev");
    assert!(archive.reader().is_ok(), "nothing is asked yet");
}

#[test]
fn wrong_usage_is_told() {
    let cases: [(&[&str], &str); 8] = [
        (&["list", "-c", "a"], "--from <TIME>"),
        (&["list", "-c", "a", "--from", "yesterday"], "expected a time such as"),
        (&["search", "-c", "a", "--from", "1h", "--where", "level"], "expected PATH=VALUE"),
        (&["search", "-c", "a", "--from", "1h", "--where", "a..b=1"], "is not a path"),
        (&["search", "-c", "a", "--from", "1h", "--limit", "0"], "'--limit <N>'"),
        (&["lifecycle", "-c", "a"], "--days <N>"),
        (&["replay", "-c", "a", "--from", "1h"], "--to-sink <NAME>"),
        (
            &["replay", "-c", "a", "--from", "1h", "--to-sink", "s", "--dry-run", "--cursor", "f"],
            "cannot be used with",
        ),
    ];
    for (arguments, expected) in cases {
        let error = Line::try_parse_from([&["archive"], arguments].concat()).unwrap_err();
        assert!(error.to_string().contains(expected), "{arguments:?}: {error}");
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
    }
    let good = ["archive", "search", "-c", "a", "--from", "2h", "--namespace", "", "--where", "a=b=c"];
    let Ok(Line { command: ArchiveCommand::Search(_) }) = Line::try_parse_from(good) else { panic!() };
}

#[test]
fn a_listing_has_a_line_for_each_hour() {
    let hour = |namespace: &str, hour: &str, events| HourSummary {
        namespace: namespace.into(),
        hour: hour.into(),
        objects: 2,
        events,
        bytes: 1_500,
        raw_bytes: 10 << 20,
        nodes: ["node-1".to_owned(), "node-2".to_owned()].into(),
        ..HourSummary::default()
    };
    let hours = vec![hour("", "2023-11-14T22", 7), hour("shop", "2023-11-14T23", 12_345)];
    let survey = Survey { hours, ..Survey::default() };
    let expected = "\
NAMESPACE  HOUR (UTC)            EVENTS  OBJECTS     STORED        RAW  NODES
(none)     2023-11-14T22              7        2    1.5 KiB   10.0 MiB  node-1, node-2
shop       2023-11-14T23         12 345        2    1.5 KiB   10.0 MiB  node-1, node-2
all                              12 352        4    2.9 KiB   20.0 MiB
";
    assert_eq!(list::text(&survey, Painter::plain()), expected);
    assert_eq!(list::text(&Survey::default(), Painter::plain()), "the archive holds nothing there\n");
}

#[test]
fn an_event_is_a_line_of_json_with_its_document_as_it_was() {
    let event = weir_archive::Event { id: EventId([7; 20]), time: 0, document: b"{ \"a\":1.0}".to_vec() };
    let mut out = Vec::new();
    search::write_json(&mut out, "sh\"op", &event).unwrap();
    let expected = "{\"id\":\"BwcHBwcHBwcHBwcHBwcHBwcHBwc\",\"time\":\"1970-01-01T00:00:00.000000000Z\",\"namespace\":\"sh\\\"op\",\"document\":{ \"a\":1.0}}\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn a_summary_says_what_it_cost() {
    let outcome = Outcome {
        hours: 2,
        objects: 5,
        objects_skipped: 3,
        frames: 400,
        frames_read: 12,
        bytes_read: 1 << 21,
        events: 9,
        duplicates: 4,
        ..Outcome::default()
    };
    assert_eq!(
        Summary::of(&outcome).text(),
        "9 events; 12 of 400 frames read, in 5 objects (3 passed over by their index) of 2 hours; 2.0 MiB; 4 copies left out"
    );
}
