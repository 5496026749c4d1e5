//! The figures of M1 and M2.

use serde_json::{Value, json};

use super::{Workload, agents::Agent};
use crate::{
    bench::report::{median, rounded},
    ui::{self, Stream, Style},
};

const MIB: f64 = 1024.0 * 1024.0;
/// What the issue that brought M1 asked for.
const LEAST_SAMPLES_PER_CPU_SECOND: f64 = 2_000_000.0;
const MOST_BYTES_PER_SERIES: f64 = 300.0;

/// What one run used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// Length of the measured window in seconds.
    pub window: f64,
    /// Samples that were received in it.
    pub samples: u64,
    /// CPU seconds in user mode.
    pub user: f64,
    /// CPU seconds in the kernel.
    pub system: f64,
    /// Resident memory of an agent that has nothing to scrape.
    pub base_rss_mib: f64,
    /// The highest that was seen in the window.
    pub max_rss_mib: f64,
    /// At its end.
    pub end_rss_mib: f64,
    /// Since the start.
    pub peak_rss_mib: f64,
    /// Compressed bytes for each sample.
    pub wire_bytes_per_sample: f64,
}

/// One agent at one workload.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which workload.
    pub workload: Workload,
    /// Whose figures.
    pub agent: Agent,
    /// Each run.
    pub runs: Vec<Run>,
    /// What was wrong; empty for a good result.
    pub problems: Vec<String>,
}

impl Run {
    /// User and system.
    pub fn cpu(&self) -> f64 {
        self.user + self.system
    }

    /// Samples that a second of CPU time is enough for.
    pub fn rate(&self) -> f64 {
        if self.cpu() > 0.0 { self.samples as f64 / self.cpu() } else { 0.0 }
    }

    /// The run in one line.
    pub fn line(&self) -> String {
        let rate = ui::grouped(self.rate() as u64);
        format!("{:.2} CPU s, {rate} samples per CPU-second, {:.1} MiB", self.cpu(), self.max_rss_mib)
    }

    fn to_json(self) -> Value {
        json!({
            "window_seconds": rounded(self.window),
            "samples": self.samples,
            "user_seconds": rounded(self.user),
            "system_seconds": rounded(self.system),
            "base_rss_mib": rounded(self.base_rss_mib),
            "max_rss_mib": rounded(self.max_rss_mib),
            "end_rss_mib": rounded(self.end_rss_mib),
            "peak_rss_mib": rounded(self.peak_rss_mib),
            "wire_bytes_per_sample": rounded(self.wire_bytes_per_sample),
        })
    }
}

impl Row {
    fn median(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(figure).collect())
    }

    fn rate(&self) -> f64 {
        self.median(Run::rate)
    }

    /// Of the highest in the window, over the base.
    fn bytes_per_series(&self) -> f64 {
        let series = self.workload.series() as f64;
        self.median(|run| (run.max_rss_mib - run.base_rss_mib) * MIB / series)
    }

    fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        if self.agent != Agent::Weir || self.workload != Workload::M1 {
            return missed;
        }
        let (rate, bytes) = (self.rate(), self.bytes_per_series());
        if rate < LEAST_SAMPLES_PER_CPU_SECOND {
            missed.push(format!(
                "M1: {rate:.0} samples per CPU-second, at least {LEAST_SAMPLES_PER_CPU_SECOND:.0} wanted"
            ));
        }
        if bytes > MOST_BYTES_PER_SERIES {
            missed
                .push(format!("M1: {bytes:.0} bytes per series, at most {MOST_BYTES_PER_SERIES:.0} wanted"));
        }
        missed
    }

    /// As one of the workloads.
    pub fn to_json(&self) -> Value {
        json!({
            "workload": self.workload.name(),
            "agent": self.agent.name(),
            "targets": self.workload.targets(),
            "series": self.workload.series(),
            "samples": self.runs.last().map_or(0, |run| run.samples),
            "counts": if self.problems.is_empty() { "ok" } else { "wrong" },
            "problems": self.problems,
            "cpu_seconds": rounded(self.median(Run::cpu)),
            "cpu_percent": rounded(self.median(|run| 100.0 * run.cpu() / run.window)),
            "samples_per_cpu_second": self.rate().round(),
            "base_rss_mib": rounded(self.median(|run| run.base_rss_mib)),
            "max_rss_mib": rounded(self.median(|run| run.max_rss_mib)),
            "end_rss_mib": rounded(self.median(|run| run.end_rss_mib)),
            "rss_bytes_per_series": self.bytes_per_series().round(),
            "runs": self.runs.iter().map(|run| run.to_json()).collect::<Vec<_>>(),
        })
    }
}

/// Our figures by those of each other agent, where both were measured.
pub fn ratios(rows: &[Row]) -> Value {
    let mut ratios = json!({});
    for ours in rows.iter().filter(|row| row.agent == Agent::Weir) {
        for other in rows.iter().filter(|row| row.agent != Agent::Weir && row.workload == ours.workload) {
            let ratio = |figure: fn(&Row) -> f64| {
                let other = figure(other);
                (other > 0.0).then(|| rounded(figure(ours) / other))
            };
            ratios[ours.workload.name()][other.agent.name()] = json!({
                "samples_per_cpu_second": ratio(Row::rate),
                "max_rss": ratio(|row| row.median(|run| run.max_rss_mib)),
                "rss_per_series": ratio(Row::bytes_per_series),
            });
        }
    }
    ratios
}

/// Every floor that was missed.
pub fn missed_floors(rows: &[Row]) -> Vec<String> {
    rows.iter().flat_map(Row::missed).collect()
}

/// Prints the table.
pub fn print_table(rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    let heading = format!(
        "{:<4} {:<11} {:>11} {:>9} {:>8} {:>14} {:>9} {:>9} {:>9} {:>9}  {}",
        "",
        "agent",
        "samples",
        "CPU s",
        "% core",
        "samples/CPU-s",
        "base MiB",
        "max MiB",
        "end MiB",
        "B/series",
        "counts"
    );
    eprintln!("\n{}", ui::paint(Stream::Stderr, Style::Bold, heading));
    for row in rows {
        let counts = match row.problems.as_slice() {
            [] => ui::paint(Stream::Stderr, Style::Green, "ok"),
            problems => ui::paint(Stream::Stderr, Style::Red, problems.join("; ")),
        };
        eprintln!(
            "{:<4} {:<11} {:>11} {:>9.3} {:>8.2} {:>14} {:>9.1} {:>9.1} {:>9.1} {:>9.0}  {counts}",
            row.workload.name(),
            row.agent.name(),
            ui::grouped(row.runs.last().map_or(0, |run| run.samples)),
            row.median(Run::cpu),
            row.median(|run| 100.0 * run.cpu() / run.window),
            ui::grouped(row.rate() as u64),
            row.median(|run| run.base_rss_mib),
            row.median(|run| run.max_rss_mib),
            row.median(|run| run.end_rss_mib),
            row.bytes_per_series(),
        );
    }
    for (workload, others) in ratios(rows).as_object().into_iter().flatten() {
        for (other, ratio) in others.as_object().into_iter().flatten() {
            eprintln!(
                "{workload}: weir by {other}: {} samples per CPU-second, {} RSS",
                ratio["samples_per_cpu_second"], ratio["max_rss"]
            );
        }
    }
    for missed in missed_floors(rows) {
        eprintln!("{} {missed}", ui::paint(Stream::Stderr, Style::Yellow, "floor missed:"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(agent: Agent, cpu: f64, max_rss_mib: f64) -> Row {
        let run = Run {
            window: 40.0,
            samples: 2_000_000,
            user: cpu,
            max_rss_mib,
            base_rss_mib: 20.0,
            ..Run::default()
        };
        Row { workload: Workload::M1, agent, runs: vec![run], problems: Vec::new() }
    }

    #[test]
    fn floors_hold_for_ours_and_ratios_are_ours_by_theirs() {
        let good = [row(Agent::Weir, 0.5, 40.0), row(Agent::Prometheus, 4.0, 320.0)];
        assert_eq!(missed_floors(&good), Vec::<String>::new());
        let ratio = &ratios(&good)["M1"]["prometheus"];
        assert_eq!((&ratio["samples_per_cpu_second"], &ratio["max_rss"]), (&json!(8.0), &json!(0.125)));
        assert_eq!(missed_floors(&[row(Agent::Weir, 2.0, 60.0)]).len(), 2);
        assert_eq!(good[0].to_json()["rss_bytes_per_series"], 210.0);
    }
}
