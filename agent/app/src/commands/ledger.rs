//! `weir ledger`: what became of every event. From the running agent, else from its last checkpoint.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use weir_buffer::ledger::{Amount, Counts, Statement};
use weir_pipeline::checkpoint::Checkpoints;

use crate::admin::{client, place};
use crate::output::{self, Format, Painter};

mod table;

/// Whether the accounts come from an agent or from what one left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Agent {
    Live,
    Stopped,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Report {
    agent: Agent,
    accounts: Vec<Statement>,
}

/// What the agent answers.
#[derive(Debug, Deserialize)]
struct Answer {
    accounts: Vec<Statement>,
}

/// Shows the ledger of the agent with this configuration.
pub fn of_config(path: &Path, format: Format) -> ExitCode {
    match weir_config::load(path) {
        Ok((config, _)) => of_data_dir(&config.data_dir, format),
        Err(errors) => {
            output::complain_of_config(&errors.0);
            output::note("`weir ledger --data-dir DIR` needs no configuration");
            ExitCode::FAILURE
        }
    }
}

/// Shows the ledger of the agent with this data folder.
pub fn of_data_dir(data_dir: &Path, format: Format) -> ExitCode {
    match find(data_dir) {
        Ok(report) => show(data_dir, &report, format),
        Err(message) => {
            output::complain(&message);
            ExitCode::FAILURE
        }
    }
}

/// Prints accounts as a table, on standard error: in a single run standard output belongs to the sinks.
pub fn print_statements(statements: &[Statement]) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(table::draw(statements, Painter::stderr()).as_bytes());
}

fn find(data_dir: &Path) -> Result<Report, String> {
    match std::fs::metadata(data_dir) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(format!("the data folder {} is not a folder", data_dir.display())),
        Err(error) => {
            let help =
                "run the agent first, or give its data_dir with --data-dir or its configuration with -c";
            return Err(format!("cannot look into the data folder {}: {error}; {help}", data_dir.display()));
        }
    }
    if let Some(address) = place::read(data_dir) {
        match client::get(&address, "/api/ledger").and_then(|body| parse(&body)) {
            Ok(accounts) => return Ok(Report { agent: Agent::Live, accounts }),
            Err(error) => output::note(&format!(
                "the agent of {} does not answer at {address} ({error}); what follows is its last checkpoint",
                output::shown(data_dir)
            )),
        }
    }
    let checkpoints = Checkpoints::open(data_dir).map_err(|error| error.to_string())?;
    let accounts = checkpoints.counts().into_iter().map(|(pipeline, sink, counts)| {
        let stored = checkpoints.stored_of(&pipeline, &sink);
        let in_objects = checkpoints.stored_in_objects_of(&pipeline, &sink);
        durable(pipeline, sink, counts, (stored, in_objects))
    });
    let accounts = accounts.collect();
    Ok(Report { agent: Agent::Stopped, accounts })
}

fn parse(body: &[u8]) -> Result<Vec<Statement>, String> {
    let answer: Result<Answer, _> = serde_json::from_slice(body);
    answer.map(|answer| answer.accounts).map_err(|error| format!("not a ledger: {error}"))
}

/// The account of an agent that does not run: what was in its memory then is not in these counts.
fn durable(
    pipeline: String,
    sink: String,
    counts: Counts,
    (stored, in_objects): (Amount, Amount),
) -> Statement {
    let mut right = counts.settled();
    right += stored;
    let mut buffered = BTreeMap::from([("memory".to_owned(), Amount::default())]);
    let mut on_disk = stored;
    on_disk -= in_objects;
    for (tier, amount) in [("disk", on_disk), ("object", in_objects)] {
        if !amount.is_nothing() {
            buffered.insert(tier.to_owned(), amount);
        }
    }
    Statement {
        pipeline,
        sink,
        balanced: counts.incoming() == right,
        counts,
        buffered,
        in_flight: Amount::default(),
    }
}

fn show(data_dir: &Path, report: &Report, format: Format) -> ExitCode {
    let is_balanced = report.accounts.iter().all(|account| account.balanced);
    let code = if is_balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if format == Format::Json {
        return output::print(&output::json(report), code);
    }
    let from = match report.agent {
        Agent::Live => "The ledger of the running agent".to_owned(),
        Agent::Stopped => {
            format!("No agent answers; the ledger of the last checkpoint in {}", output::shown(data_dir))
        }
    };
    if report.accounts.is_empty() {
        return output::print(&format!("{from}: no events yet\n"), code);
    }
    output::print(&format!("{from}\n\n{}", table::draw(&report.accounts, Painter::stdout())), code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durable_counts_balance_by_what_is_settled() {
        let ten = Amount { events: 10, bytes: 100 };
        let mut counts = Counts { read: ten, delivered: ten, ..Counts::default() };
        let durable = |counts: &Counts, stored| durable("p".into(), "s".into(), counts.clone(), stored);
        assert!(durable(&counts, Default::default()).balanced);
        counts.delivered = Amount { events: 9, bytes: 90 };
        assert!(!durable(&counts, Default::default()).balanced);
        let with_stored = durable(&counts, (Amount::one(10), Amount::default()));
        assert!(with_stored.balanced);
        assert_eq!(with_stored.buffered["disk"], Amount::one(10));
        counts.delivered = Amount { events: 7, bytes: 70 };
        let with_objects = durable(&counts, (Amount { events: 3, bytes: 30 }, Amount::one(10)));
        assert!(with_objects.balanced);
        assert_eq!(with_objects.buffered["disk"], Amount { events: 2, bytes: 20 });
        assert_eq!(with_objects.buffered["object"], Amount::one(10));
    }

    #[test]
    fn a_missing_folder_is_told_with_what_to_do() {
        let error = find(Path::new("/nonexistent/weir")).unwrap_err();
        assert!(error.contains("/nonexistent/weir") && error.contains("--data-dir"), "{error}");
    }

    #[test]
    fn an_agent_that_is_gone_leaves_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{"address":"http://127.0.0.1:1","pid":1}"#;
        std::fs::write(folder.path().join("admin.json"), text).unwrap();
        let report = find(folder.path()).unwrap();
        assert_eq!((report.agent, report.accounts), (Agent::Stopped, Vec::new()));
    }

    #[test]
    fn another_answer_is_no_ledger() {
        assert_eq!(parse(br#"{"accounts":[]}"#), Ok(Vec::new()));
        for body in ["", "[]", "hello", r#"{"accounts":[{}]}"#] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
