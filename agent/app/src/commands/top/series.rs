//! The picture of `weir top --metrics`: who exposes the most series, and what becomes of them.

use super::screen::{age, rate};
use super::table::{self, Align, Column, Row};
use crate::admin::series::{Group, Guarded, Metric, SeriesReport, Target, Written};
use crate::output::{Painter, Style, grouped, size};

const LEFT: Align = Align::Left;
const RIGHT: Align = Align::Right;

/// The picture in so many columns and lines; each line ends with a newline.
pub fn draw(report: &SeriesReport, width: usize, height: usize, painter: Painter) -> String {
    let (targets, series) = (report.targets_total, grouped(report.series_total));
    let head = match targets {
        1 => format!("1 target exposes {series} series"),
        _ => format!("{} targets expose {series} series", grouped(targets)),
    };
    let head = vec![painter.paint(Style::Bold, table::cut(&head, width))];
    let guards = report.guards.iter().map(|guard| groups(guard, width, painter));
    let tables = [sinks(&report.sinks, width, painter), targets_of(&report.targets, width, painter)];
    let tables = tables.into_iter().chain(guards).chain([metrics(&report.metrics, width, painter)]);
    table::picture(head, tables, height)
}

fn sinks(sinks: &[Written], width: usize, painter: Painter) -> Vec<String> {
    let columns =
        [Column("SINK", LEFT), Column("PROTOCOL", LEFT), Column("BEHIND", RIGHT), Column("PENDING", RIGHT)];
    let row = |sink: &Written| Row {
        cells: vec![
            sink.sink.clone(),
            sink.protocol.clone().unwrap_or_else(|| "-".to_owned()),
            age(sink.lag_seconds.unwrap_or_default()),
            grouped(sink.pending),
        ],
        style: None,
        notes: sink
            .dropped
            .iter()
            .map(|(why, count)| format!("dropped {why}: {}", grouped(*count)))
            .collect(),
    };
    table::draw(&columns, &sinks.iter().map(row).collect::<Vec<_>>(), width, painter)
}

fn targets_of(targets: &[Target], width: usize, painter: Painter) -> Vec<String> {
    let columns = [
        Column("TARGET", LEFT),
        Column("JOB", LEFT),
        Column("CLASS", LEFT),
        Column("EVERY", RIGHT),
        Column("SERIES", RIGHT),
        Column("SAMPLES/s", RIGHT),
        Column("BYTES", RIGHT),
        Column("TOOK", RIGHT),
        Column("STATE", LEFT),
    ];
    let row = |target: &Target| {
        let class = if target.class.is_empty() { "-" } else { &target.class };
        Row {
            cells: vec![
                target.instance.clone(),
                target.job.clone(),
                class.to_owned(),
                age(target.interval_seconds),
                grouped(target.series),
                rate(target.samples_per_second),
                size(target.bytes as f64),
                format!("{:.0} ms", target.scrape_seconds * 1000.0),
                target.health.clone(),
            ],
            style: (target.health == "down").then_some(Style::Red),
            notes: target.last_error.iter().cloned().collect(),
        }
    };
    table::draw(&columns, &targets.iter().map(row).collect::<Vec<_>>(), width, painter)
}

fn groups(guard: &Guarded, width: usize, painter: Painter) -> Vec<String> {
    let columns = [
        Column("GROUP", LEFT),
        Column("GUARD", LEFT),
        Column("SERIES", RIGHT),
        Column("LIMIT", RIGHT),
        Column("SAMPLES", RIGHT),
        Column("CUT", RIGHT),
    ];
    let row = |group: &Group| {
        let labels: Vec<String> =
            group.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let about = if group.exact { "" } else { "≥" };
        Row {
            cells: vec![
                if labels.is_empty() { "all others".to_owned() } else { labels.join(",") },
                format!("{}.{}", guard.pipeline, guard.guard),
                format!("{about}{}", grouped(group.series)),
                grouped(guard.limit),
                grouped(group.samples),
                grouped(group.cut),
            ],
            style: group.over.then_some(Style::Yellow),
            notes: Vec::new(),
        }
    };
    table::draw(&columns, &guard.groups.iter().map(row).collect::<Vec<_>>(), width, painter)
}

fn metrics(metrics: &[Metric], width: usize, painter: Painter) -> Vec<String> {
    let columns = [Column("METRIC", LEFT), Column("SERIES", RIGHT)];
    let row = |metric: &Metric| Row {
        cells: vec![metric.name.clone(), grouped(metric.series)],
        style: None,
        notes: Vec::new(),
    };
    table::draw(&columns, &metrics.iter().map(row).collect::<Vec<_>>(), width, painter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_names_who_has_the_most() {
        let target = Target {
            source: "nodes".into(),
            job: "node".into(),
            instance: "10.0.0.1:9100".into(),
            url: "http://10.0.0.1:9100/metrics".into(),
            class: String::new(),
            interval_seconds: 15.0,
            health: "down".into(),
            last_error: Some("no connection".into()),
            age_seconds: None,
            scrape_seconds: 0.012,
            series: 1234,
            samples: 1234,
            samples_per_second: 82.3,
            bytes: 4096,
        };
        let group = Group {
            labels: [("namespace".to_owned(), "shop".to_owned())].into(),
            series: 20_000,
            exact: false,
            samples: 7,
            cut: 3,
            over: true,
        };
        let report = SeriesReport {
            targets_total: 1,
            series_total: 1234,
            targets: vec![target],
            metrics: vec![Metric { name: "node_cpu_seconds_total".into(), series: 640 }],
            guards: vec![Guarded {
                pipeline: "metrics".into(),
                guard: "per-namespace".into(),
                limit: 10_000,
                series: 20_000,
                groups_total: 1,
                groups_over: 1,
                cut: 3,
                groups: vec![group],
                metrics: Vec::new(),
            }],
            sinks: vec![Written {
                sink: "thanos".into(),
                protocol: Some("1.0".into()),
                lag_seconds: Some(0.4),
                pending: 12,
                dropped: [("out_of_order".to_owned(), 5)].into(),
            }],
        };
        let picture = draw(&report, 160, usize::MAX, Painter::plain());
        for wanted in [
            "1 target exposes",
            "10.0.0.1:9100",
            "no connection",
            &format!("≥{}", grouped(20_000)),
            "node_cpu",
            "out_of_order: 5",
        ] {
            assert!(picture.contains(wanted), "{wanted}:\n{picture}");
        }
        assert!(draw(&report, 40, 5, Painter::plain()).ends_with("more lines\n"));
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<SeriesReport>(&json).unwrap(), report);
    }
}
