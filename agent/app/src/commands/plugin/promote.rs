//! `weir plugin promote`: a shadow in the place of the plugin that it was compared with, in the configuration. Only a reload
//! changes an agent.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use weir_config::{Artifact, Config, Edited, NewArtifact, Share};
use weir_manifest::MAX_ARTEFACT_BYTES;

use super::shadow;
use crate::admin::shadow::Answer;
use crate::admin::{client, place};
use crate::cli::Output;
use crate::output::{self, Format, Painter, Style, grouped};

mod patch;

const EXAMPLES: &str = "\
Examples:
  weir plugin promote sampler -c weir.yaml --dry-run   What was compared, and would it be promoted?
  weir plugin promote sampler -c weir.yaml             Print the changed file
  weir plugin promote sampler -c weir.yaml --print | git apply
  weir plugin promote sampler -c weir.yaml --write     Change it where it is, and reload the agent
  weir plugin promote sampler -c weir.yaml --write next.yaml --accept-differences 2%

The running agent is asked how the shadow compares. It is promoted only when enough events were
compared, no more of them differ than is accepted, and it may do nothing more than the plugin may.
Then `artifact` becomes the shadow, pinned by its digest where it comes from a registry; `shadow`
and `shadow_share` go, and so does `poll` where there is no tag any more. Comments and order stay.
Only a reload changes an agent.

Exit codes:
  0  promoted: printed, or written and, where it is the agent's own file, running
  1  not promoted, and why; what the running agent does not take is taken back
  2  wrong usage";

/// Put a shadow in the place of the plugin that it was compared with, in the configuration
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The plugin's name in the configuration
    #[arg(value_name = "NAME")]
    plugin: String,
    /// The configuration: a YAML file, or a folder of them
    #[arg(short, long, value_name = "FILE|DIR")]
    config: PathBuf,
    /// So many events must have been compared
    #[arg(long, value_name = "N", default_value_t = 1000)]
    min_events: u64,
    /// So many of the events may come out differently; without a share: any number
    #[arg(long, value_name = "SHARE", num_args = 0..=1, default_missing_value = "100%", value_parser = share)]
    accept_differences: Option<Share>,
    /// Accept that the shadow may see, change or do more than the plugin may
    #[arg(long)]
    allow_grown: bool,
    #[command(flatten)]
    way: Way,
    #[command(flatten)]
    output: Output,
}

/// What is done with the changed configuration.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Way {
    /// Change nothing, show what was compared and whether it would be promoted
    #[arg(long)]
    dry_run: bool,
    /// Print a patch for `git apply`, not the whole file
    #[arg(long)]
    print: bool,
    /// Write the changed file: here, or without FILE where it is
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    write: Option<Option<PathBuf>>,
}

/// What came of it, as `--output json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether nothing speaks against it.
    promotable: bool,
    /// What does.
    obstacles: Vec<String>,
    comparison: Answer,
    /// What `artifact` becomes.
    artifact: String,
    /// The file that changes.
    file: Option<String>,
    /// The keys that go.
    removed: Vec<String>,
    configuration: Option<String>,
    patch: Option<String>,
    written: Option<String>,
    /// What the agent answered to the reload.
    reload: Option<Value>,
}

/// Promotes.
pub fn run(arguments: &Arguments) -> ExitCode {
    match weir_config::load(&arguments.config) {
        Err(errors) => {
            output::complain_of_config(&errors.0);
            ExitCode::FAILURE
        }
        Ok((config, _)) => match promote(arguments, &config) {
            Ok(report) => tell(arguments, &report),
            Err(message) => {
                output::complain(&message);
                ExitCode::FAILURE
            }
        },
    }
}

fn share(text: &str) -> Result<Share, String> {
    text.parse()
}

/// That something speaks against it is a result; that nobody could look is none.
fn promote(arguments: &Arguments, config: &Config) -> Result<Report, String> {
    let name = &arguments.plugin;
    let plugin = config
        .plugins
        .get(name.as_str())
        .ok_or_else(|| format!("the configuration has no plugin `{name}`"))?;
    let wanted = plugin.shadow.as_ref().ok_or_else(|| format!("plugins.{name} has no shadow"))?;
    let comparison = shadow::ask(&config.data_dir, name)?;
    check_is_same(&wanted.artifact, &comparison)?;
    let digest = comparison.shadow.as_ref().and_then(|shadow| shadow.digest.as_deref());
    let pinned = match (&wanted.artifact, digest) {
        (Artifact::Oci(reference), Some(digest)) if reference.digest().is_none() => {
            Some(format!("{reference}@{digest}"))
        }
        _ => None,
    };
    let obstacles = obstacles(arguments, &comparison);
    let artifact = pinned.clone().unwrap_or_else(|| comparison.reference.clone());
    let mut report = Report {
        promotable: obstacles.is_empty(),
        obstacles,
        comparison,
        artifact,
        file: None,
        removed: Vec::new(),
        configuration: None,
        patch: None,
        written: None,
        reload: None,
    };
    if !report.promotable {
        return Ok(report);
    }
    let new = pinned.as_deref().map_or(NewArtifact::Shadow, NewArtifact::Reference);
    let edited = weir_config::promote(&arguments.config, name, new).map_err(|error| error.to_string())?;
    weir_config::load_edited(&arguments.config, &edited).map_err(|errors| {
        let all: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        format!("the changed configuration would not be valid:\n{}", all.join("\n"))
    })?;
    report.patch = Some(patch::unified(&label(&edited), &edited.before, &edited.after));
    (report.file, report.removed) = (Some(edited.name.clone()), edited.removed.clone());
    if let Some(target) = &arguments.way.write {
        let (written, is_own) = write(&edited, target.as_deref())?;
        report.written = Some(written);
        if is_own {
            report.reload = Some(reload(arguments, config, &edited)?);
        }
    }
    report.configuration = Some(edited.after);
    Ok(report)
}

/// The agent may run another configuration than the one at hand, or another file than lies there now.
fn check_is_same(wanted: &Artifact, comparison: &Answer) -> Result<(), String> {
    let here = match wanted {
        Artifact::File(path) => format!("file:{}", path.display()),
        Artifact::Oci(reference) => reference.to_string(),
    };
    if here != comparison.reference {
        return Err(format!(
            "the configuration's shadow is {here}, and the agent compares {}; reload the agent first",
            comparison.reference
        ));
    }
    let (Artifact::File(path), Some(shadow)) = (wanted, &comparison.shadow) else { return Ok(()) };
    let mut bytes = Vec::new();
    let read = fs::File::open(path)
        .and_then(|file| file.take(MAX_ARTEFACT_BYTES as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if format!("sha256:{}", weir_host::digest(&bytes)) != shadow.component {
        return Err(format!(
            "{} is not what the agent compares; reload the agent, and wait until enough is compared",
            path.display()
        ));
    }
    Ok(())
}

/// What speaks against it, each with what would make it right.
fn obstacles(arguments: &Arguments, comparison: &Answer) -> Vec<String> {
    let mut obstacles = Vec::new();
    match comparison.state.as_str() {
        "running" => {}
        "off" => obstacles.push("the shadow kept failing and is asked no more".to_owned()),
        _ => obstacles.push(format!(
            "the shadow could not be loaded: {}",
            comparison.error.as_deref().unwrap_or_default()
        )),
    }
    let Answer { compared, different, .. } = *comparison;
    if compared < arguments.min_events {
        let least = arguments.min_events;
        obstacles.push(format!(
            "{} events were compared, {} are wanted; wait, raise shadow_share, or give --min-events",
            grouped(compared),
            grouped(least)
        ));
    }
    let accepted = arguments.accept_differences.map_or(0, Share::millionths);
    if u128::from(different) * 1_000_000 > u128::from(compared) * u128::from(accepted) {
        let percent = 100.0 * different as f64 / compared.max(1) as f64;
        obstacles.push(format!(
            "{} of {} events come out differently ({percent:.4}%); see `weir plugin shadow {}`, and give --accept-differences with a share if that is meant",
            grouped(different),
            grouped(compared),
            arguments.plugin
        ));
    }
    if !comparison.grown.is_empty() && !arguments.allow_grown {
        obstacles.push(format!(
            "the shadow may do more: it {}; give --allow-grown if that is meant",
            comparison.grown.join(", ")
        ));
    }
    obstacles
}

/// As a patch names it: as it was given, where that is below the folder that one works in.
fn label(edited: &Edited) -> String {
    let path = Path::new(&edited.name);
    let name = match path.is_absolute() {
        true => path.file_name().map(|name| name.to_string_lossy().into_owned()),
        false => None,
    };
    name.unwrap_or_else(|| edited.name.trim_start_matches("./").to_owned())
}

// === writing ===

/// Where it was written, and whether that is the configuration itself.
fn write(edited: &Edited, target: Option<&Path>) -> Result<(String, bool), String> {
    let is_own = target.is_none_or(|target| target.canonicalize().is_ok_and(|target| target == edited.file));
    if !is_own {
        let target = target.unwrap_or(&edited.file);
        fs::write(target, &edited.after)
            .map_err(|error| format!("cannot write {}: {error}", target.display()))?;
        return Ok((target.display().to_string(), false));
    }
    if edited.is_mounted {
        return Err(format!(
            "{} is mounted from a ConfigMap, which changes where it is made: take the patch of --print there",
            edited.name
        ));
    }
    replace(&edited.file, &edited.before, &edited.after)
        .map_err(|error| format!("cannot write {}: {error}", edited.name))?;
    Ok((edited.name.clone(), true))
}

/// Another text in a file, as a whole, so that no agent reads half of it.
fn replace(file: &Path, before: &str, after: &str) -> std::io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".new");
    let temporary = file.with_file_name(name);
    let written = (|| {
        fs::write(&temporary, after)?;
        fs::set_permissions(&temporary, fs::metadata(file)?.permissions())?;
        fs::File::open(&temporary)?.sync_all()?;
        if fs::read(file)? != before.as_bytes() {
            return Err(std::io::Error::other("somebody changed it meanwhile; try again"));
        }
        fs::rename(&temporary, file)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// What the agent makes of what was written. What it does not take is taken back.
fn reload(arguments: &Arguments, config: &Config, edited: &Edited) -> Result<Value, String> {
    let written = "the configuration is written, and takes effect with the next reload";
    let address = place::read(&config.data_dir).ok_or_else(|| format!("no agent runs; {written}"))?;
    let (is_taken, body) = client::reload(&address)
        .map_err(|error| format!("the agent at {address} cannot be asked to reload: {error}; {written}"))?;
    let answer: Value = serde_json::from_slice(&body)
        .map_err(|error| format!("the answer of {address} is not understood: {error}; {written}"))?;
    if !is_taken && answer["outcome"] == "rejected" {
        let back = match replace(&edited.file, &edited.after, &edited.before) {
            Ok(()) => format!("{} is as it was", edited.name),
            Err(error) => format!("{} could not be set back: {error}", edited.name),
        };
        return Err(format!(
            "the agent at {address} does not take it, and runs on as before; {back}\n{}",
            told_errors(&answer)
        ));
    }
    if !is_taken {
        let reason = answer["reason"].as_str().unwrap_or("it does not say why");
        return Err(format!("the agent at {address} did not reload: {reason}; {written}"));
    }
    if answer["config_hash"].as_str() != weir_config::hash_of(&arguments.config).as_deref() {
        return Err(format!("the agent at {address} reads another configuration; {written}"));
    }
    Ok(answer)
}

/// Why the agent does not take a configuration, one problem a line.
fn told_errors(answer: &Value) -> String {
    let errors = answer["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |error: &Value, key: &str| error[key].as_str().unwrap_or_default().to_owned();
    let line = |error: &Value| format!("  {}: {}", text(error, "path"), text(error, "message"));
    errors.iter().map(line).collect::<Vec<_>>().join("\n")
}

// === telling ===

fn tell(arguments: &Arguments, report: &Report) -> ExitCode {
    let code = if report.promotable { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if arguments.output.output == Format::Json {
        return output::print(&output::json(report), code);
    }
    let Way { dry_run, print, write } = &arguments.way;
    if *dry_run || write.is_some() {
        let mut text = shadow::describe(&report.comparison, Painter::stdout());
        if report.promotable {
            text += &outcome(report, Painter::stdout());
        }
        output::print(&text, code);
    } else {
        // Standard output belongs to what is printed.
        output::tell(shadow::describe(&report.comparison, Painter::stderr()).trim_end());
    }
    for obstacle in &report.obstacles {
        output::complain(obstacle);
    }
    let printed = if *print { &report.patch } else { &report.configuration };
    match printed {
        Some(text) if !*dry_run && write.is_none() => output::print(text, code),
        _ => code,
    }
}

fn outcome(report: &Report, painter: Painter) -> String {
    let file = report.file.as_deref().unwrap_or_default();
    let head = match (&report.written, &report.reload) {
        (None, _) => format!("{} {file} would change:", painter.paint(Style::Green, "promotable")),
        (Some(written), _) => format!("{} {written}:", painter.paint(Style::Green, "written")),
    };
    let removed = report.removed.join(", ");
    let mut text = format!("{head} artifact becomes {}, without {removed}\n", report.artifact);
    if let Some(reload) = &report.reload {
        text += &format!("generation {} runs with it\n", reload["generation"]);
    } else if report.written.is_some() {
        text += "only a reload changes an agent\n";
    }
    text
}
