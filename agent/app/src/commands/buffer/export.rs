//! `weir buffer export`: what waits on disk, as lines of JSON.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use weir_buffer::disk::inspect::{InspectError, Inspected};
use weir_buffer::line;

use super::files::{self, OneFile};
use super::objects::{Buckets, Looked};
use super::refuse;
use crate::cli::{DataPlace, Output};
use crate::output::{self, Format, grouped};

const EXAMPLES: &str = "\
Examples:
  weir buffer export -c weir.yaml --sink search -o search.ndjson
  weir buffer export -c weir.yaml | jq -r '.document.message'
  weir buffer export -c weir.yaml --aside -o aside.ndjson    What can be read of files kept aside

Each line is one object: id, time, sink, pipeline, index, bytes, stream, and the document as
its last member, byte for byte. Nothing is changed: what is exported still waits. With -c
it is also read from object stores. Beside a running agent, what is delivered meanwhile is
left out, and what lies in memory only is not seen. Events are as sensitive here as in the
logs that they come from: the file is made with mode 0600.

`weir buffer replay` puts such lines back. With --output json, -o is needed, and a summary
is printed.

Exit codes:
  0  exported
  1  something could not be read, or not written
  2  wrong usage";

/// Write what waits on disk, and in object stores, as lines of JSON
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    place: DataPlace,
    /// Only this sink; may be given several times
    #[arg(long, value_name = "NAME")]
    sink: Vec<String>,
    /// Not what waits, but what can be read of the files that are kept aside
    #[arg(long)]
    aside: bool,
    /// Write to this file, which must not be there yet, and not to standard output
    #[arg(short = 'o', long = "to", value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// What `--output json` prints.
#[derive(Debug, Default, Serialize)]
struct Summary {
    events: u64,
    files: u64,
    /// What could not be read, in words.
    problems: Vec<String>,
}

/// Exports.
pub fn run(arguments: &Arguments) -> ExitCode {
    let is_json = arguments.output.output == Format::Json;
    if is_json && arguments.to.is_none() {
        output::complain("with --output json the events need a file of their own: give -o FILE");
        return ExitCode::from(2);
    }
    let data_dir = match arguments.place.folder() {
        Ok(data_dir) => data_dir,
        Err(code) => return code,
    };
    let exported = match &arguments.to {
        None => export(&data_dir, arguments, &mut io::stdout().lock()),
        Some(path) => create(path).and_then(|file| {
            let mut file = BufWriter::new(file);
            let summary = export(&data_dir, arguments, &mut file)?;
            file.flush().and_then(|()| file.get_ref().sync_all()).map_err(|error| unwritten(&error))?;
            Ok(summary)
        }),
    };
    match exported {
        Err(message) if message.is_empty() => ExitCode::SUCCESS,
        Err(message) => refuse(&message),
        Ok(summary) => {
            summary.problems.iter().for_each(|problem| output::complain(problem));
            let code = if summary.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            if is_json {
                return output::print(&output::json(&summary), code);
            }
            if let Some(path) = &arguments.to {
                let (events, files) = (grouped(summary.events), grouped(summary.files));
                output::note(&format!("{events} events of {files} files are in {}", path.display()));
            }
            code
        }
    }
}

fn create(path: &Path) -> Result<File, String> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).map_err(|error| format!("cannot make {}: {error}", path.display()))
}

/// An empty error is for a reader that has seen enough.
fn unwritten(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::BrokenPipe => String::new(),
        _ => format!("cannot write: {error}"),
    }
}

fn export(data_dir: &Path, arguments: &Arguments, out: &mut dyn io::Write) -> Result<Summary, String> {
    let buckets = Buckets::new(&arguments.place)?;
    let mut summary = Summary::default();
    for sink in files::find(data_dir, &arguments.sink)? {
        if arguments.aside {
            for file in &sink.aside {
                one(&sink.sink, file, u64::MAX, out, &mut summary)?;
            }
            continue;
        }
        for (number, stored) in &sink.named {
            match (sink.files.get(number), &stored.object) {
                (Some(file), _) => one(&sink.sink, file, stored.parts, out, &mut summary)?,
                (None, Some(place)) => match buckets.look(&sink.sink, place) {
                    Looked::Found(inspected) => {
                        parts(&sink.sink, &inspected, &place.key, stored.parts, out, &mut summary)?;
                    }
                    Looked::Damaged(reason) | Looked::Unknown(reason) => {
                        summary.problems.push(format!("{}: {reason}", place.key));
                    }
                    Looked::Missing => {}
                },
                // Delivered meanwhile.
                (None, None) => {}
            }
        }
    }
    Ok(summary)
}

/// The events in these parts of a file.
fn one(
    sink: &str,
    file: &OneFile,
    wanted: u64,
    out: &mut dyn io::Write,
    summary: &mut Summary,
) -> Result<(), String> {
    let inspected = match Inspected::open(&file.path) {
        Ok(inspected) => inspected,
        // Delivered meanwhile.
        Err(InspectError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            summary.problems.push(format!("{}: {error}", file.path.display()));
            return Ok(());
        }
    };
    parts(sink, &inspected, &file.path.display().to_string(), wanted, out, summary)
}

/// The events in these parts. `name` is the file's path or the object's key.
fn parts(
    sink: &str,
    inspected: &Inspected,
    name: &str,
    wanted: u64,
    out: &mut dyn io::Write,
    summary: &mut Summary,
) -> Result<(), String> {
    summary.files += 1;
    let mut lines = Vec::new();
    for (index, part) in (0_u8..).zip(&inspected.header.parts).filter(|(index, _)| wanted >> index & 1 == 1) {
        let content = match inspected.part(index) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                summary.problems.push(format!("{name}: {error}"));
                continue;
            }
        };
        if content.is_damaged {
            let missing = u64::from(part.records()) - content.places.len() as u64;
            summary.problems.push(format!("{name}: {missing} records of its part {index} cannot be read"));
        }
        lines.clear();
        line::write(sink, &part.pipeline, &content, &mut lines);
        out.write_all(&lines).map_err(|error| unwritten(&error))?;
        summary.events += content.places.len() as u64;
    }
    Ok(())
}
