//! `weir check`: validates a configuration, its plugins included, and shows what its pipelines do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use weir_config::{Config, Error, Warning};
use weir_event::edit::Compiled;

use crate::output::{self, Format, Painter, Style};
use crate::plugins::{self, Plugins};

mod picture;
mod view;

use view::PipelineView;

/// What a check found, as `--output json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether the agent would take the configuration.
    valid: bool,
    errors: Vec<Error>,
    warnings: Vec<Warning>,
    /// Empty where the configuration is not valid.
    pipelines: Vec<PipelineView>,
}

/// Checks the configuration and prints what was found.
pub fn check(path: &Path, format: Format) -> ExitCode {
    let report = examine(path);
    let code = if report.valid { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match format {
        Format::Json => output::print(&output::json(&report), code),
        Format::Text => tell(path, &report, code),
    }
}

fn examine(path: &Path) -> Report {
    match weir_config::load(path) {
        Err(errors) => Report::bad(errors.0, Vec::new()),
        Ok((config, warnings)) => match load_plugins(&config) {
            Err(errors) => Report::bad(errors, warnings),
            Ok(plugins) => {
                let pipelines = view::pipelines(&config, &plugins);
                Report { valid: true, errors: Vec::new(), warnings, pipelines }
            }
        },
    }
}

/// Loads all plugins as the agent would, and lets them meet in their pipelines.
fn load_plugins(config: &Config) -> Result<Plugins, Vec<Error>> {
    let plugins = plugins::load(config, cache_folder(config).as_deref()).map_err(|errors| errors.0)?;
    let mut errors = check_pipelines(config, &plugins);
    errors.extend(check_shadows(config, &plugins));
    if errors.is_empty() { Ok(plugins) } else { Err(errors) }
}

/// What the stages of a pipeline do together must be possible.
fn check_pipelines(config: &Config, plugins: &Plugins) -> Vec<Error> {
    let mut errors = Vec::new();
    for (name, pipeline) in &config.pipelines {
        let plugins = pipeline.stages.iter().filter_map(|stage| view::plugin_of(stage, plugins));
        let plans: Vec<_> = plugins.map(|(_, plugin)| plugin.plan()).collect();
        if let Err(error) = Compiled::new(&plans) {
            errors.push(config.error_at(&["pipelines", name, "stages"], error.to_string(), None));
        }
    }
    errors
}

/// An agent runs without a shadow that cannot be loaded. Whoever checks a configuration wants to know of it.
fn check_shadows(config: &Config, plugins: &Plugins) -> Vec<Error> {
    let problem = |(name, loaded): (&weir_config::Name, &plugins::Loaded)| {
        let error = loaded.candidate.as_ref()?.error()?;
        let help = "the agent takes the configuration without the shadow; give another one, or remove it";
        Some(config.error_at(&["plugins", name, "shadow"], error, Some(help.to_owned())))
    };
    plugins.iter().filter_map(problem).collect()
}

/// The agent's own cache of compiled plugins, where there is one that this user may use. A check leaves nothing behind
/// in a folder that is not there yet.
fn cache_folder(config: &Config) -> Option<PathBuf> {
    let folder = plugins::cache_folder(&config.data_dir);
    let is_there = config.data_dir.is_dir();
    (is_there && weir_host::Cache::open(&folder).is_ok()).then_some(folder)
}

fn tell(path: &Path, report: &Report, code: ExitCode) -> ExitCode {
    output::warn_of_config(&report.warnings);
    if !report.valid {
        output::complain_of_config(&report.errors);
        return code;
    }
    let painter = Painter::stdout();
    let mut text = picture::draw(&report.pipelines, painter);
    let verdict = painter.paint(Style::Green, "valid");
    text += &format!("{} is {verdict}\n", path.display());
    output::print(&text, code)
}

// === impl Report ===

impl Report {
    fn bad(errors: Vec<Error>, warnings: Vec<Warning>) -> Report {
        Report { valid: false, errors, warnings, pipelines: Vec::new() }
    }
}
