//! The command line.
//!
//! The commands' doc comments are what `--help` shows.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::admin::explain::Question;
use crate::commands::archive::{self, ArchiveCommand};
use crate::commands::buffer::{self, BufferCommand};
use crate::commands::opensearch::Write;
use crate::commands::plugin::{self, PluginCommand};
use crate::commands::{check, explain, ledger, opensearch, run, schema, tap, top};
use crate::output::{self, Format};
use crate::telemetry;

const HELP_WIDTH: usize = 100;

const EXAMPLES: &str = "\
Examples:
  weir check -c weir.yaml          Is the configuration good? What does each pipeline do?
  weir run -c weir.yaml            Run the agent until SIGTERM
  weir run -c weir.yaml --once     Read what is there, deliver it, print the ledger, end
  weir ledger -c weir.yaml         What became of every event
  weir explain -c weir.yaml '{\"level\":\"debug\"}'   What becomes of this one
  weir buffer stat -c weir.yaml    What waits for the sinks, in memory and on disk
  weir archive search -c weir.yaml --from 2h --where trace_id=4bf92f35   Find it in the archive
  weir top -c weir.yaml            What it does right now, by pipeline, sink and plugin
  weir tap -c weir.yaml --limit 20     Events on their way, as it happens
  weir opensearch apply -c weir.yaml   Write the index templates
  weir plugin new geo-tags         The folder of a new plugin
  weir plugin push sampler.wasm oci://registry.example/team-a/sampler:1.0.0
  weir plugin promote sampler -c weir.yaml   Put a shadow in the place of what runs
  weir config schema > weir.schema.json

Exit codes:
  0  good
  1  the thing checked is bad: the configuration, the ledger; a run that lost something
  2  wrong usage";

const RUN_EXAMPLES: &str = "\
Examples:
  weir run -c /etc/weir                     All *.yaml of a folder, as a mounted ConfigMap has them
  weir run -c configs/quickstart.yaml --once
  WEIR_LOG=debug weir run -c weir.yaml      More of the agent's own log
  WEIR_LOG_FORMAT=json weir run -c weir.yaml

SIGTERM and SIGINT end it within 20 s. What it has read is delivered; what is left is read again
at the next start.

Exit codes:
  0  ended as it was told to; with --once: everything read is delivered or accounted for
  1  the configuration is bad or the agent cannot start;
     with --once: something was lost or not delivered
  2  wrong usage";

const CHECK_EXAMPLES: &str = "\
Examples:
  weir check -c weir.yaml
  weir check -c /etc/weir --output json | jq .errors

Exit codes:
  0  valid
  1  not valid; every error is shown, with its place and what to do
  2  wrong usage";

const LEDGER_EXAMPLES: &str = "\
Examples:
  weir ledger -c weir.yaml
  weir ledger --data-dir /srv/weir --output json | jq '.accounts[] | .lost'

Exit codes:
  0  every account balances
  1  an account does not balance, or there is no ledger to be read
  2  wrong usage";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  weir explain -c weir.yaml '{\"level\":\"debug\",\"message\":\"tick\"}'
  weir explain -c weir.yaml --pipeline audit --source audit-log - < event.json
  weir explain -c weir.yaml --output json 'plain text' | jq '.stages[] | {stage, fate, reason}'

The event goes through the stages of the running generation, in instances of its own, and nowhere
else: it reaches no sink and no ledger. An event as `weir plugin test` takes it, with a time and
attributes such as namespace, is taken as well.

Exit codes:
  0  explained, whatever becomes of the event
  1  no agent runs, or it cannot explain it
  2  wrong usage";

const OPENSEARCH_PLAN_EXAMPLES: &str = "\
Examples:
  weir opensearch plan -c weir.yaml
  weir opensearch plan -c weir.yaml --output json | jq '.templates[] | select(.state != \"same\")'

Exit codes:
  0  every template is there as it should be
  1  one is missing or different, or OpenSearch could not be asked
  2  wrong usage";

const OPENSEARCH_APPLY_EXAMPLES: &str = "\
Examples:
  weir opensearch apply -c weir.yaml
  weir opensearch apply -c weir.yaml --dry-run

Templates are for indices that are made from now on; those that are there stay as they are.

Exit codes:
  0  every template is there as it should be; with --dry-run: OpenSearch could be asked
  1  one could not be written, or OpenSearch could not be asked
  2  wrong usage";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  weir config schema > weir.schema.json

With this line on top of a configuration, editors that know YAML complete its keys:
  # yaml-language-server: $schema=weir.schema.json";

/// An observability agent for Kubernetes, with sandboxed WebAssembly plugins and a ledger of every event.
#[derive(Debug, Parser)]
#[command(name = "weir", version, after_help = EXAMPLES, term_width = HELP_WIDTH, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        #[command(flatten)]
        config: ConfigPath,
        /// Read what is there, also an unfinished last line, deliver it, print the ledger and end
        #[arg(long)]
        once: bool,
    },
    /// Validate a configuration, plugins included, and show what its pipelines do
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        #[command(flatten)]
        config: ConfigPath,
        #[command(flatten)]
        output: Output,
    },
    /// What a configuration may say
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The index templates that the documents fit into
    #[command(subcommand)]
    Opensearch(OpenSearchCommand),
    /// Make, build, test, measure, compare, push, pull, verify and promote plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Show what becomes of one event in the running agent: every stage, what it does, and where it ends
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain {
        #[command(flatten)]
        place: DataPlace,
        /// The pipeline; may be left out where only one is meant
        #[arg(long, value_name = "NAME")]
        pipeline: Option<String>,
        /// The source that the event comes from; may be left out where the pipeline reads only one
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        /// The event's text; - reads it from standard input
        event: String,
        #[command(flatten)]
        output: Output,
    },
    Tap(tap::Arguments),
    Top(top::Arguments),
    /// What waits for the sinks: show, verify, export, put back or drop it
    #[command(subcommand)]
    Buffer(BufferCommand),
    /// What sinks of the type s3 archived: list, search or bring it back
    #[command(subcommand)]
    Archive(ArchiveCommand),
    /// Show what became of every event: from the running agent, else from its last checkpoint
    #[command(after_help = LEDGER_EXAMPLES)]
    Ledger {
        #[command(flatten)]
        place: DataPlace,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the JSON Schema of the configuration
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema,
}

#[derive(Debug, Subcommand)]
enum OpenSearchCommand {
    /// Show which templates are there, and which are missing or different
    #[command(after_help = OPENSEARCH_PLAN_EXAMPLES)]
    Plan {
        #[command(flatten)]
        config: ConfigPath,
        #[command(flatten)]
        output: Output,
    },
    /// Write the templates that are missing or different
    #[command(after_help = OPENSEARCH_APPLY_EXAMPLES)]
    Apply {
        #[command(flatten)]
        config: ConfigPath,
        /// Write nothing, only show what would be written
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        output: Output,
    },
}

/// Which configuration.
#[derive(Debug, Args)]
pub struct ConfigPath {
    /// The configuration: a YAML file, or a folder of them
    #[arg(short, long, value_name = "FILE|DIR")]
    pub config: PathBuf,
}

/// Where a running agent is to be found.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct DataPlace {
    /// The agent's configuration, for its data_dir
    #[arg(short, long, value_name = "FILE|DIR")]
    config: Option<PathBuf>,
    /// The agent's data_dir
    #[arg(long, value_name = "DIR", default_value = "/var/lib/weir")]
    data_dir: PathBuf,
}

impl DataPlace {
    /// The data folder; says what is wrong with the configuration that should name it.
    pub fn folder(&self) -> Result<PathBuf, ExitCode> {
        let Some(config) = &self.config else { return Ok(self.data_dir.clone()) };
        weir_config::load(config).map(|(config, _)| config.data_dir).map_err(|errors| {
            output::complain_of_config(&errors.0);
            ExitCode::FAILURE
        })
    }

    /// The configuration, where one is given.
    pub fn config(&self) -> Result<Option<weir_config::Config>, String> {
        let Some(config) = &self.config else { return Ok(None) };
        weir_config::load(config).map(|(config, _)| Some(config)).map_err(|errors| errors.to_string())
    }

    /// What the buffer of a sink may have on disk, where a configuration is given.
    pub fn buffer_bound(&self, sink: &str) -> Result<Option<u64>, String> {
        let Some(config) = self.config()? else { return Ok(None) };
        let Some(configured) = config.sinks.get(sink) else {
            return Err(format!("the configuration has no sink called {sink:?}"));
        };
        let buffer = configured.buffer.as_ref().and_then(|buffer| config.buffers.get(buffer));
        match buffer {
            Some(buffer) => Ok(Some(buffer.disk.bytes())),
            None => Err(format!("the sink {sink:?} has no buffer; give it buffer: NAME")),
        }
    }
}

/// How a command prints what it found.
#[derive(Debug, Args)]
pub struct Output {
    /// How to print it: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub output: Format,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            // Where standard output or error is closed, nobody is there to be told.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match command {
        Command::Run { config, once } => {
            telemetry::start();
            run::run(&config.config, once)
        }
        Command::Check { config, output } => check::check(&config.config, output.output),
        Command::Config(ConfigCommand::Schema) => schema::schema(),
        Command::Opensearch(OpenSearchCommand::Plan { config, output }) => {
            opensearch::templates(&config.config, Write::Nothing { must_be_same: true }, output.output)
        }
        Command::Opensearch(OpenSearchCommand::Apply { config, dry_run, output }) => {
            let write = if dry_run { Write::Nothing { must_be_same: false } } else { Write::Changes };
            opensearch::templates(&config.config, write, output.output)
        }
        Command::Plugin(command) => plugin::run(command),
        Command::Explain { place, pipeline, source, event, output } => {
            let question = Question { pipeline, source, event };
            match place.folder() {
                Ok(data_dir) => explain::explain(&data_dir, question, output.output),
                Err(code) => code,
            }
        }
        Command::Buffer(command) => buffer::run(command),
        Command::Archive(command) => archive::run(command),
        Command::Tap(arguments) => tap::run(arguments),
        Command::Top(arguments) => top::run(arguments),
        Command::Ledger { place: DataPlace { config: Some(config), .. }, output } => {
            ledger::of_config(&config, output.output)
        }
        Command::Ledger { place: DataPlace { data_dir, .. }, output } => {
            ledger::of_data_dir(&data_dir, output.output)
        }
    }
}

#[cfg(test)]
mod tests;
