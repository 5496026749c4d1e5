//! The bench's figures: JSON for programs on stdout, a table for people on stderr.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    metrics,
    workload::{PLUGIN_COST_LIMIT, Workload},
};
use crate::{
    process::Usage,
    ui::{self, Stream, Style},
};

const MIB: f64 = 1024.0 * 1024.0;

/// What one run used.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Seconds from start to end.
    pub wall: f64,
    /// CPU seconds in user mode.
    pub user: f64,
    /// CPU seconds in the kernel.
    pub system: f64,
    /// Peak resident memory.
    pub peak_rss_mib: f64,
}

impl From<&Usage> for Run {
    fn from(usage: &Usage) -> Self {
        Run {
            wall: usage.wall.as_secs_f64(),
            user: usage.user.as_secs_f64(),
            system: usage.system.as_secs_f64(),
            peak_rss_mib: usage.peak_rss_bytes as f64 / MIB,
        }
    }
}

impl Run {
    /// User and system.
    pub fn cpu(&self) -> f64 {
        self.user + self.system
    }

    /// The run in one line.
    pub fn line(&self, lines: u64) -> String {
        let rate = per_cpu_second(lines, self.cpu());
        format!("{:.3} CPU s, {} lines per CPU-second", self.cpu(), ui::grouped(rate as u64))
    }
}

/// What following many files costs.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    /// Files followed.
    pub files: u64,
    /// Length of the measured window.
    pub window: Duration,
    /// CPU time in the window, in percent of one core.
    pub cpu_percent: f64,
    /// Resident memory at the end of the window.
    pub rss_mib: f64,
}

/// One workload's figures.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub workload: Workload,
    /// Raw lines of the input.
    pub lines: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Events delivered in the last run.
    pub events: u64,
    /// Events that the oracle expects.
    pub expected_events: u64,
    /// Each run.
    pub runs: Vec<Run>,
    /// Of each run, delivering what lay in the disk buffer; only for W3-away.
    pub replays: Vec<Run>,
    /// Only for W4.
    pub steady: Option<Steady>,
    /// User-mode instructions of one further run, where asked for and counted by the machine.
    pub instructions: Option<u64>,
    /// What was wrong; empty for a good result.
    pub problems: Vec<String>,
}

impl Row {
    fn median(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(figure).collect())
    }

    /// The median CPU time of a run.
    pub fn cpu(&self) -> f64 {
        self.median(Run::cpu)
    }

    fn rate(&self) -> f64 {
        per_cpu_second(self.lines, self.cpu())
    }

    /// Bytes of input per CPU-second.
    fn byte_rate(&self) -> f64 {
        per_cpu_second(self.bytes, self.cpu())
    }

    /// Events delivered from the disk buffer per second of wall time; `None` where none lay there.
    fn replay_rate(&self) -> Option<f64> {
        let wall = median(self.replays.iter().map(|run| run.wall).collect());
        (wall > 0.0).then(|| self.events as f64 / wall)
    }

    /// The highest of all runs.
    pub fn peak_rss_mib(&self) -> f64 {
        self.runs.iter().map(|run| run.peak_rss_mib).fold(0.0, f64::max)
    }

    /// What of the workload's floor was missed.
    pub fn missed(&self) -> Vec<String> {
        let floor = self.workload.floor();
        let name = self.workload.name();
        let mut missed = Vec::new();
        if let Some(least) = floor.lines_per_cpu_second
            && self.rate() < least
        {
            missed
                .push(format!("{name}: {:.0} lines per CPU-second, at least {least:.0} wanted", self.rate()));
        }
        if let Some(least) = floor.bytes_per_cpu_second
            && self.byte_rate() < least
        {
            let (rate, least) = (self.byte_rate() / 1e6, least / 1e6);
            missed.push(format!("{name}: {rate:.0} MB of input per CPU-second, at least {least:.0} wanted"));
        }
        if let Some(most) = floor.peak_rss_mib
            && self.peak_rss_mib() > most
        {
            missed.push(format!("{name}: peak of {:.1} MiB, at most {most:.1} wanted", self.peak_rss_mib()));
        }
        if let Some(most) = floor.cpu_percent
            && let Some(steady) = self.steady
            && steady.cpu_percent > most
        {
            missed.push(format!("{name}: {:.2} % of a core, at most {most:.2} wanted", steady.cpu_percent));
        }
        missed
    }

    fn to_json(&self) -> Value {
        let mut row = json!({
            "workload": self.workload.name(),
            "lines": self.lines,
            "bytes": self.bytes,
            "events": self.events,
            "expected_events": self.expected_events,
            "counts": if self.problems.is_empty() { "ok" } else { "wrong" },
            "problems": self.problems,
            "wall_seconds": rounded(self.median(|run| run.wall)),
            "cpu_seconds": rounded(self.cpu()),
            "lines_per_cpu_second": self.rate().round(),
            "bytes_per_cpu_second": self.byte_rate().round(),
            "peak_rss_mib": rounded(self.peak_rss_mib()),
            "runs": self.runs.iter().map(|run| json!({
                "wall_seconds": rounded(run.wall),
                "user_seconds": rounded(run.user),
                "system_seconds": rounded(run.system),
                "peak_rss_mib": rounded(run.peak_rss_mib),
            })).collect::<Vec<_>>(),
        });
        if let Some(rate) = self.replay_rate() {
            row["replay_events_per_second"] = json!(rate.round());
            row["replay_cpu_seconds"] = json!(rounded(median(self.replays.iter().map(Run::cpu).collect())));
        }
        if let Some(steady) = self.steady {
            row["files"] = json!(steady.files);
            row["window_seconds"] = json!(rounded(steady.window.as_secs_f64()));
            row["cpu_percent"] = json!(rounded(steady.cpu_percent));
            row["rss_mib"] = json!(rounded(steady.rss_mib));
        }
        if let Some(instructions) = self.instructions {
            row["instructions"] = json!(instructions);
            row["instructions_per_line"] = json!((instructions as f64 / self.lines as f64).round());
        }
        row
    }
}

/// The CPU of W1 with its plugin by that of W1 built in; `None` unless both were measured.
pub fn plugin_cost(rows: &[Row]) -> Option<f64> {
    let cpu = |workload| rows.iter().find(|row| row.workload == workload).map(Row::cpu);
    let (plugin, native) = (cpu(Workload::W1)?, cpu(Workload::W1Native)?);
    (native > 0.0).then_some(plugin / native)
}

/// The CPU of W3 with nobody to send to by that of W3; `None` unless both were measured.
pub fn away_cost(rows: &[Row]) -> Option<f64> {
    let cpu = |workload| rows.iter().find(|row| row.workload == workload).map(Row::cpu);
    let (away, here) = (cpu(Workload::W3Away)?, cpu(Workload::W3)?);
    (here > 0.0).then_some(away / here)
}

/// Every floor that was missed, of the rows and of their ratio.
pub fn missed_floors(rows: &[Row]) -> Vec<String> {
    let mut missed: Vec<String> = rows.iter().flat_map(Row::missed).collect();
    if let Some(cost) = plugin_cost(rows)
        && cost > PLUGIN_COST_LIMIT
    {
        missed.push(format!("W1 costs {cost:.3} times W1-native, at most {PLUGIN_COST_LIMIT:.2} wanted"));
    }
    missed
}

/// The whole result.
pub fn to_json(rows: &[Row], metrics: &[metrics::report::Row], seed: u64, runs: u64) -> Value {
    let of_logs = rows.iter().map(Row::to_json);
    let mut missed = missed_floors(rows);
    missed.extend(metrics::report::missed_floors(metrics));
    json!({
        "seed": seed,
        "runs": runs,
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "workloads": of_logs.chain(metrics.iter().map(metrics::report::Row::to_json)).collect::<Vec<_>>(),
        "w1_cpu_by_w1_native_cpu": plugin_cost(rows).map(rounded),
        "w3_away_cpu_by_w3_cpu": away_cost(rows).map(rounded),
        "weir_by_others": metrics::report::ratios(metrics),
        "missed_floors": missed,
    })
}

/// Prints the table.
pub fn print_table(rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    let heading = format!(
        "{:<10} {:>11} {:>11} {:>9} {:>9} {:>14} {:>9} {:>8}  {}",
        "workload", "lines", "events", "wall s", "CPU s", "lines/CPU-s", "RSS MiB", "% core", "counts"
    );
    eprintln!("\n{}", ui::paint(Stream::Stderr, Style::Bold, heading));
    for row in rows {
        let core = row.steady.map(|steady| format!("{:.2}", steady.cpu_percent)).unwrap_or_default();
        let counts = match row.problems.as_slice() {
            [] => ui::paint(Stream::Stderr, Style::Green, "ok"),
            problems => ui::paint(Stream::Stderr, Style::Red, problems.join("; ")),
        };
        eprintln!(
            "{:<10} {:>11} {:>11} {:>9.3} {:>9.3} {:>14} {:>9.1} {core:>8}  {counts}",
            row.workload.name(),
            ui::grouped(row.lines),
            ui::grouped(row.events),
            row.median(|run| run.wall),
            row.cpu(),
            ui::grouped(row.rate() as u64),
            row.peak_rss_mib(),
        );
    }
    if let Some(cost) = plugin_cost(rows) {
        eprintln!("\nW1 as a plugin costs {cost:.3} times the CPU of W1 built in.");
    }
    if let Some(cost) = away_cost(rows) {
        eprintln!("\nW3 with nobody to send to costs {cost:.3} times the CPU of W3.");
    }
    for (row, rate) in rows.iter().filter_map(|row| Some((row, row.replay_rate()?))) {
        let (name, bytes) = (row.workload.name(), row.byte_rate() / 1e6);
        let rate = ui::grouped(rate as u64);
        eprintln!("{name}: {bytes:.0} MB of input per CPU-second; replay: {rate} events/s");
    }
    for missed in missed_floors(rows) {
        eprintln!("{} {missed}", ui::paint(Stream::Stderr, Style::Yellow, "floor missed:"));
    }
}

fn per_cpu_second(lines: u64, cpu: f64) -> f64 {
    if cpu > 0.0 { lines as f64 / cpu } else { 0.0 }
}

/// The middle of them, or of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2, middle.checked_sub(1).and_then(|index| values.get(index))) {
        (Some(high), 0, Some(low)) => f64::midpoint(*low, *high),
        (Some(value), _, _) => *value,
        (None, _, _) => 0.0,
    }
}

/// To a thousandth.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(workload: Workload, cpus: &[f64]) -> Row {
        let run = |cpu: &f64| Run { wall: *cpu, user: *cpu, system: 0.0, peak_rss_mib: 40.0 };
        Row {
            workload,
            lines: 3_000_000,
            bytes: 1,
            events: 1,
            expected_events: 1,
            runs: cpus.iter().map(run).collect(),
            replays: Vec::new(),
            steady: None,
            instructions: None,
            problems: Vec::new(),
        }
    }

    #[test]
    fn the_median_is_the_middle() {
        for (values, middle) in
            [(vec![], 0.0), (vec![2.0], 2.0), (vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 2.0], 3.0)]
        {
            assert_eq!(median(values), middle);
        }
    }

    #[test]
    fn missed_floors_are_named() {
        let good = [row(Workload::W1, &[0.9, 5.0, 0.8]), row(Workload::W1Native, &[0.85])];
        assert_eq!(missed_floors(&good), Vec::<String>::new());
        let bad = [row(Workload::W1, &[1.5]), row(Workload::W1Native, &[1.0])];
        assert_eq!(missed_floors(&bad).len(), 2);
    }

    #[test]
    fn json_has_what_programs_read() {
        let mut wrong = row(Workload::W2, &[1.5]);
        wrong.problems.push("1 events delivered, 2 expected".to_owned());
        let json = to_json(&[row(Workload::W1, &[1.0, 2.0, 3.0]), wrong], &[], 42, 3);
        assert_eq!(json["workloads"][0]["cpu_seconds"], 2.0);
        assert_eq!(json["workloads"][0]["lines_per_cpu_second"], 1_500_000.0);
        assert_eq!(json["workloads"][0]["counts"], "ok");
        assert_eq!(json["workloads"][1]["counts"], "wrong");
        assert_eq!(json["w1_cpu_by_w1_native_cpu"], Value::Null);
    }
}
