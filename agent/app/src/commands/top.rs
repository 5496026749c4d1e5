//! `weir top`: what the running agent does right now. Counters are asked for twice, and what is shown is what lies between.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::series::SeriesReport;
use crate::admin::status::Status;
use crate::admin::{client, place};
use crate::cli::{DataPlace, Output};
use crate::output::{self, Format, Painter};

mod rates;
mod screen;
mod series;
mod table;

use rates::Snapshot;

/// Two looks must differ.
const SHORTEST: Duration = Duration::from_millis(100);
/// Where no terminal says how wide it is.
const WIDTH: usize = 160;
/// On a terminal: the other screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

const EXAMPLES: &str = "\
Examples:
  weir top -c weir.yaml                        Drawn anew every 2 s, until Ctrl-C
  weir top -c weir.yaml --sort cpu --interval 5s
  weir top -c weir.yaml --once                 One look, for a ticket
  weir top -c weir.yaml --metrics              The targets and metrics with the most series
  weir top -c weir.yaml --once --output json | jq '.plugins[] | {plugin, nanoseconds_per_event}'

All rates are those of the interval. CPU is that of one core: 100 % is one core in full. A pipeline's
DROPPED are events that its stages dropped or sampled, dead letters and what was lost; the reasons
stand below it. OLDEST is the age of what waits longest for the sink: how far it is behind.

With --metrics: who exposes the most series, and how far behind the sinks of metrics are. GROUP is what
a stage `cardinality` counts by; ≥ is a number that is known to be at least that.

Where standard output is no terminal, one picture follows the other; with --output json, one object a
line.

Exit codes:
  0  shown, until --once or an interrupt
  1  no agent runs, or it ended
  2  wrong usage";

/// Show what the running agent does right now: rates of pipelines, sources, sinks and plugins
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    place: DataPlace,
    /// Time between two looks
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = weir_config::parse_duration)]
    interval: Duration,
    /// Look once and end
    #[arg(long)]
    once: bool,
    /// Show who exposes the most series instead
    #[arg(long, conflicts_with = "sort")]
    metrics: bool,
    /// Lines of each list with --metrics
    #[arg(long, value_name = "N", default_value_t = 20, requires = "metrics")]
    top: usize,
    /// What comes first: name, rate, waiting or cpu
    #[arg(long, value_name = "ORDER", default_value = "name", hide_possible_values = true)]
    sort: Sort,
    #[command(flatten)]
    output: Output,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// By name.
    Name,
    /// Most events or documents a second.
    Rate,
    /// Most that waits.
    Waiting,
    /// Most CPU time.
    Cpu,
}

/// How pictures are put out.
enum Screen {
    /// Each in the place of the one before.
    Terminal,
    /// One behind the other.
    Plain,
    /// As JSON.
    Json { pretty: bool },
}

/// Looks until it is over.
pub fn run(arguments: Arguments) -> ExitCode {
    let data_dir = match arguments.place.folder() {
        Ok(data_dir) => data_dir,
        Err(code) => return code,
    };
    let interval = arguments.interval.max(SHORTEST);
    let screen = match arguments.output.output {
        Format::Json => Screen::Json { pretty: arguments.once },
        Format::Text if std::io::stdout().is_terminal() && !arguments.once => Screen::Terminal,
        Format::Text => Screen::Plain,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let looked = match runtime {
        Ok(runtime) if arguments.metrics => {
            look_at_series(&data_dir, (interval, arguments.once), arguments.top, &screen, &runtime)
        }
        Ok(runtime) => look(&data_dir, interval, arguments.once, arguments.sort, &screen, &runtime),
        Err(error) => Err(format!("cannot start a runtime: {error}")),
    };
    if matches!(screen, Screen::Terminal) {
        let _ = output::print_on(LEAVE);
    }
    match looked {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads any more.
        Err(message) if message.is_empty() => ExitCode::SUCCESS,
        Err(message) => {
            output::complain(&message);
            ExitCode::FAILURE
        }
    }
}

fn look(
    data_dir: &Path,
    interval: Duration,
    once: bool,
    sort: Sort,
    screen: &Screen,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), String> {
    let mut before = ask(data_dir)?;
    if matches!(screen, Screen::Terminal) {
        output::print_on(ENTER)?;
    }
    loop {
        if !runtime.block_on(wait(interval))? {
            return Ok(());
        }
        let now = ask(data_dir)?;
        let snapshot = Snapshot::between(&before, &now, sort);
        show(&snapshot, |width, height, painter| screen::draw(&snapshot, width, height, painter), screen)?;
        if once {
            return Ok(());
        }
        before = now;
    }
}

fn look_at_series(
    data_dir: &Path,
    (interval, once): (Duration, bool),
    top: usize,
    screen: &Screen,
    runtime: &tokio::runtime::Runtime,
) -> Result<(), String> {
    let ask = || -> Result<SeriesReport, String> { ask_for(data_dir, &format!("/api/series?top={top}")) };
    let mut report = ask()?;
    if matches!(screen, Screen::Terminal) {
        output::print_on(ENTER)?;
    }
    loop {
        show(&report, |width, height, painter| series::draw(&report, width, height, painter), screen)?;
        if once || !runtime.block_on(wait(interval))? {
            return Ok(());
        }
        report = ask()?;
    }
}

/// Whether the time went by; else somebody ended it.
async fn wait(interval: Duration) -> Result<bool, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    tokio::select! {
        () = tokio::time::sleep(interval) => Ok(true),
        _ = tokio::signal::ctrl_c() => Ok(false),
        _ = terminate.recv() => Ok(false),
    }
}

fn ask(data_dir: &Path) -> Result<Status, String> {
    ask_for(data_dir, "/api/status")
}

fn ask_for<T: DeserializeOwned>(data_dir: &Path, path: &str) -> Result<T, String> {
    let place = place::find(data_dir).ok_or_else(|| place::nobody(data_dir))?;
    let body = client::get(&place.address, path)
        .map_err(|error| format!("the agent at {} does not answer: {error}", place.address))?;
    serde_json::from_slice(&body)
        .map_err(|error| format!("the answer of {} is not understood: {error}", place.address))
}

/// Puts out what was seen, in the way that is wanted.
fn show(
    seen: &impl Serialize,
    draw: impl Fn(usize, usize, Painter) -> String,
    screen: &Screen,
) -> Result<(), String> {
    let painter = Painter::stdout();
    match screen {
        Screen::Json { pretty: true } => output::print_on(&output::json(seen)),
        Screen::Json { pretty: false } => {
            output::print_on(&(serde_json::to_string(seen).unwrap_or_default() + "\n"))
        }
        Screen::Plain => output::print_on(&(draw(WIDTH, usize::MAX, painter) + "\n")),
        Screen::Terminal => {
            let (width, height) = size();
            // Line by line over what stood there, so that nothing flickers.
            let picture = draw(width, height, painter).replace('\n', "\x1b[K\n");
            let picture = picture.strip_suffix('\n').unwrap_or(&picture);
            output::print_on(&format!("\x1b[H{picture}\x1b[J"))?;
            std::io::stdout().flush().map_err(|error| error.to_string())
        }
    }
}

/// Columns and lines of the terminal.
fn size() -> (usize, usize) {
    match terminal_size::terminal_size() {
        Some((terminal_size::Width(width), terminal_size::Height(height))) => {
            (usize::from(width).max(40), usize::from(height).max(5))
        }
        None => (80, 24),
    }
}
