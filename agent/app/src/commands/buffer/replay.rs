//! `weir buffer replay`: puts events back into a sink's buffer, from an export or from files that were kept aside.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use weir_buffer::disk::inspect::Inspected;
use weir_buffer::ledger::Amount;
use weir_buffer::line;

use super::offline::Offline;
use super::refuse;
use crate::admin::buffers::{self, Changed};
use crate::admin::{client, place};
use crate::cli::{DataPlace, Output};
use crate::output::{self, Format, grouped};

/// Put back at once; a single line may be longer.
const CHUNK_BYTES: usize = 512 * 1024;
/// A longer line is none of ours.
const MAX_LINE_BYTES: u64 = buffers::MAX_BODY_BYTES as u64 - 1;

const EXAMPLES: &str = "\
Examples:
  weir buffer replay -c weir.yaml --sink search search.ndjson
  weir buffer replay -c weir.yaml --sink search /var/lib/weir/buffer/search/aside/000000000000001a.seg
  weir buffer export -c old.yaml --sink search | weir buffer replay -c weir.yaml --sink search -

The events wait behind what waits already, and are on disk when this ends. They keep their
ids, times and indices: into OpenSearch, one that was delivered before is not doubled. The
ledger counts them as created, in the account of the pipeline that they come from. Of files
that were kept aside, what can be read is put back, also what was delivered from them
before. A running agent does it itself, and must have an admin address; without an agent the
data folder is changed.

Exit codes:
  0  put back
  1  a file cannot be read, or the buffer has no room; what was put back until then is told
  2  wrong usage";

/// Put exported events, or files that were kept aside, back into a sink's buffer
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    place: DataPlace,
    /// The sink
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// Exports (NDJSON) or segment files (NAME.seg); - reads an export from standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// Where the events go.
enum Target {
    Agent(place::Place, String),
    Folder(Offline),
}

/// Puts back.
pub fn run(arguments: &Arguments) -> ExitCode {
    let data_dir = match arguments.place.folder() {
        Ok(data_dir) => data_dir,
        Err(code) => return code,
    };
    let target = match target(&data_dir, arguments) {
        Ok(target) => target,
        Err(message) => return refuse(&message),
    };
    let mut sum = Amount::default();
    let mut done = Ok(());
    for file in &arguments.files {
        done = each_chunk(&arguments.sink, file, &mut |lines| {
            sum += target.put_back(lines)?;
            Ok(())
        });
        if let Err(reason) = &mut done {
            *reason = format!("{}: {reason}", file.display());
            break;
        }
    }
    let closed = match target {
        Target::Agent(..) => Ok(sum),
        Target::Folder(offline) => offline.close(sum),
    };
    if let Err(message) = done.and(closed.map(drop)) {
        return refuse(&format!("{message}; {} events were put back before", grouped(sum.events)));
    }
    match arguments.output.output {
        Format::Json => output::print(&output::json(&Changed { amount: sum }), ExitCode::SUCCESS),
        Format::Text => {
            let text = format!("{} events wait for {} again\n", grouped(sum.events), arguments.sink);
            output::print(&text, ExitCode::SUCCESS)
        }
    }
}

fn target(data_dir: &Path, arguments: &Arguments) -> Result<Target, String> {
    if let Some(place) = place::find(data_dir)
        && client::get(&place.address, "/healthz").is_ok()
    {
        return Ok(Target::Agent(place, format!("/api/buffers/{}/replay", arguments.sink)));
    }
    let bound = arguments.place.buffer_bound(&arguments.sink)?;
    Offline::open(data_dir, &arguments.sink, bound).map(Target::Folder)
}

// === impl Target ===

impl Target {
    fn put_back(&self, lines: Vec<u8>) -> Result<Amount, String> {
        match self {
            Target::Folder(offline) => buffers::put_back(&offline.buffer, &lines),
            Target::Agent(place, path) => {
                let answer = client::post(place, path, lines)?;
                let changed: Changed = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
                Ok(changed.amount)
            }
        }
    }
}

/// The events of a file as lines, in chunks.
fn each_chunk(
    sink: &str,
    path: &Path,
    put_back: &mut dyn FnMut(Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    if path.extension().is_some_and(|extension| extension == "seg") {
        let inspected = Inspected::open(path).map_err(|error| error.to_string())?;
        for (index, part) in (0_u8..).zip(&inspected.header.parts) {
            let content = inspected.part(index).map_err(|error| error.to_string())?;
            let mut lines = Vec::new();
            line::write(sink, &part.pipeline, &content, &mut lines);
            chunks(&mut lines.as_slice(), put_back)?;
        }
        return Ok(());
    }
    if path.as_os_str() == "-" {
        return chunks(&mut io::stdin().lock(), put_back);
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    chunks(&mut BufReader::new(file), put_back)
}

fn chunks(
    from: &mut dyn io::BufRead,
    put_back: &mut dyn FnMut(Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    let mut chunk = Vec::new();
    loop {
        let mut line = Vec::new();
        let count =
            from.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        if count as u64 == MAX_LINE_BYTES && !line.ends_with(b"\n") {
            return Err(format!("a line has more than {MAX_LINE_BYTES} bytes"));
        }
        if !chunk.is_empty() && (count == 0 || chunk.len() + line.len() > CHUNK_BYTES) {
            put_back(std::mem::take(&mut chunk))?;
        }
        if count == 0 {
            return Ok(());
        }
        chunk.extend_from_slice(&line);
    }
}
