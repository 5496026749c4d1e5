//! `weir buffer drop`: gives up what waits for a sink.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use weir_buffer::ledger::Amount;

use super::offline::Offline;
use super::{files, refuse};
use crate::admin::buffers::Changed;
use crate::admin::{client, place};
use crate::cli::{DataPlace, Output};
use crate::output::{self, Format, grouped};

const EXAMPLES: &str = "\
Examples:
  weir buffer export -c weir.yaml --sink search -o search.ndjson    Keep a copy first
  weir buffer drop -c weir.yaml --sink search --yes

All that waits for the sink is given up, in memory and on disk, but for what is being sent.
The ledger counts it as dropped (given_up). A running agent does it itself, and must have an
admin address; without one the data folder is changed. Without --yes nothing is done.

Exit codes:
  0  dropped
  1  it could not be dropped
  2  wrong usage, or --yes is missing";

/// Give up everything that waits for a sink; the ledger counts it as dropped
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    place: DataPlace,
    /// The sink
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// Yes, these events are to be lost
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

/// Drops.
pub fn run(arguments: &Arguments) -> ExitCode {
    if !arguments.yes {
        output::complain(&format!(
            "this loses all that waits for {:?}; give --yes if that is meant",
            arguments.sink
        ));
        return ExitCode::from(2);
    }
    let data_dir = match arguments.place.folder() {
        Ok(data_dir) => data_dir,
        Err(code) => return code,
    };
    match drop_all(&data_dir, &arguments.sink) {
        Err(message) => refuse(&message),
        Ok(amount) if arguments.output.output == Format::Json => {
            output::print(&output::json(&Changed { amount }), ExitCode::SUCCESS)
        }
        Ok(Amount { events, bytes }) => {
            let (events, bytes) = (grouped(events), grouped(bytes));
            output::print(&format!("{events} events ({bytes} bytes) are dropped\n"), ExitCode::SUCCESS)
        }
    }
}

fn drop_all(data_dir: &Path, sink: &str) -> Result<Amount, String> {
    if let Some(place) = place::find(data_dir)
        && client::get(&place.address, "/healthz").is_ok()
    {
        let answer = client::post(&place, &format!("/api/buffers/{sink}/drop"), Vec::new())?;
        let changed: Changed = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        return Ok(changed.amount);
    }
    // Says so where there is nothing of the sink.
    files::find(data_dir, &[sink.to_owned()])?;
    let offline = Offline::open(data_dir, sink, None)?;
    let amount = offline.buffer.give_up_all();
    offline.close(amount)
}
