//! The workloads that read one input to its end: run in turns, so that what disturbs the machine disturbs all of
//! them alike, and held to the oracle's exact counts.

use std::{fs, path::Path};

use super::{
    agent::{Bench, NullSink},
    input::Input,
    oracle::{Documents, Expected},
    report::{Row, Run},
    workload::Workload,
};
use crate::{
    error::Result,
    ui::{self, Step},
};

/// A workload with its agent and what came of its runs so far.
#[derive(Debug)]
pub struct Series<'a> {
    workload: Workload,
    bench: Bench<'a>,
    runs: Vec<Run>,
    replays: Vec<Run>,
    delivered: u64,
    problems: Vec<String>,
    checksum: Option<u64>,
}

impl<'a> Series<'a> {
    /// A workload that has not run yet.
    pub fn new(workload: Workload, bench: Bench<'a>) -> Self {
        let (runs, replays, problems) = Default::default();
        Series { workload, bench, runs, replays, delivered: 0, problems, checksum: None }
    }

    fn run(&mut self, input: &Input, expected: &Expected) -> Result<()> {
        let ran = self.bench.run(&input.path)?;
        self.runs.push(Run::from(&ran.usage));
        self.replays.extend(ran.replay.as_ref().map(Run::from));
        let first = self.runs.len() == 1;
        if self.workload == Workload::W1File {
            // Reading half a million documents takes longer than writing them: once is enough for their
            // content, and every run is held to its count.
            let path = self.bench.output();
            let documents =
                if first { Documents::of_file(&path)? } else { Documents::counted_in_file(&path)? };
            self.take(documents.lines, expected);
            if first {
                self.checksum = Some(documents.checksum);
                if documents.content != expected.content_of_w1 {
                    self.problems
                        .push("the documents' own members are not what the oracle made of them".to_owned());
                }
            }
            return Ok(());
        }
        match NullSink::find(&ran.report) {
            None => self.problems.push("the sink has no report".to_owned()),
            Some(report) => {
                self.take(report.events, expected);
                if *self.checksum.get_or_insert(report.checksum) != report.checksum {
                    self.problems.push("two runs delivered different bytes".to_owned());
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, delivered: u64, expected: &Expected) {
        self.delivered = delivered;
        let wanted = self.workload.expected_events(expected);
        if delivered != wanted {
            self.problems.push(format!("{delivered} events delivered, {wanted} expected"));
        }
    }
}

/// Runs every series `times` times, in turns, and returns their rows.
pub fn measure(
    mut series: Vec<Series<'_>>,
    times: u64,
    input: &Input,
    expected: &Expected,
    count_instructions: bool,
) -> Result<Vec<Row>> {
    warm_page_cache(&input.path);
    for round in 1..=times {
        for one in &mut series {
            let step = Step::start(one.workload.name(), format!("round {round} of {times}"));
            one.run(input, expected)?;
            step.done(one.runs.last().map(|run| run.line(input.lines)).unwrap_or_default());
        }
    }
    compare_checksums(&mut series);
    let mut rows = Vec::new();
    for one in series {
        let instructions = if count_instructions { one.bench.instructions(&input.path)? } else { None };
        rows.push(Row { instructions, ..one.into_row(input, expected) });
    }
    if count_instructions && rows.iter().all(|row| row.instructions.is_none()) {
        ui::warning("no instructions counted: perf is not there, or this machine gives it no counters");
    }
    Ok(rows)
}

/// A null sink takes the same finished bytes that a file or a server gets, else some encoding was skipped.
fn compare_checksums(series: &mut [Series<'_>]) {
    for (model, same) in [
        (Workload::W1File, &[Workload::W1, Workload::W1Native][..]),
        (Workload::W2, &[Workload::W3, Workload::W3Gzip, Workload::W3Away]),
        (Workload::W3, &[Workload::W3Gzip, Workload::W3Away]),
    ] {
        let checksum = series.iter().find(|one| one.workload == model).and_then(|one| one.checksum);
        let Some(checksum) = checksum else { continue };
        for one in series.iter_mut().filter(|one| same.contains(&one.workload)) {
            if one.checksum.is_some_and(|other| other != checksum) {
                one.problems.push(format!("its documents are other bytes than those of {}", model.name()));
            }
        }
    }
}

impl Series<'_> {
    fn into_row(mut self, input: &Input, expected: &Expected) -> Row {
        self.problems.dedup();
        Row {
            workload: self.workload,
            lines: input.lines,
            bytes: input.bytes,
            events: self.delivered,
            expected_events: self.workload.expected_events(expected),
            runs: self.runs,
            replays: self.replays,
            steady: None,
            instructions: None,
            problems: self.problems,
        }
    }
}

/// The measured runs read from memory: the disk is not what is compared.
fn warm_page_cache(path: &Path) {
    if let Ok(mut file) = fs::File::open(path) {
        let _best_effort = std::io::copy(&mut file, &mut std::io::sink());
    }
}
