//! `weir opensearch plan|apply`: the index templates of the sinks of a configuration.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use weir_config::{Config, SinkKind};
use weir_opensearch::{Change, Client, State, TemplateSettings, apply, changes};

use crate::output::{self, Format, Painter, Style};
use crate::sinks::opensearch_settings;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing; it may be bad that something would have to be.
    Nothing {
        /// Whether it is.
        must_be_same: bool,
    },
    /// What is missing or different.
    Changes,
}

/// What was found and done, as `--output json` prints it.
#[derive(Debug, Default, Serialize)]
struct Report {
    templates: Vec<TemplateView>,
    /// What could not be asked or written.
    errors: Vec<String>,
}

/// One template of one sink.
#[derive(Debug, Serialize)]
struct TemplateView {
    sink: String,
    /// Where it is.
    path: String,
    /// `same`, `missing` or `different`, as it was found.
    state: &'static str,
    /// Whether it was written.
    written: bool,
}

/// Compares the templates of all sinks of the kind, and writes them if that is wanted.
pub fn templates(path: &Path, write: Write, format: Format) -> ExitCode {
    let config = match weir_config::load(path) {
        Ok((config, warnings)) => {
            output::warn_of_config(&warnings);
            config
        }
        Err(errors) => {
            output::complain_of_config(&errors.0);
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = match runtime {
        Ok(runtime) => runtime.block_on(work(&config, write)),
        Err(error) => {
            Report { errors: vec![format!("cannot start the runtime: {error}")], ..Report::default() }
        }
    };
    tell(&report, write, format)
}

async fn work(config: &Config, write: Write) -> Report {
    let mut report = Report::default();
    let mut any = false;
    for (name, sink) in &config.sinks {
        let SinkKind::OpenSearch(sink) = &sink.kind else { continue };
        any = true;
        let settings = opensearch_settings(name, sink, &config.data_dir);
        let templates = TemplateSettings::of(name, &settings);
        let found = match Client::new(&settings) {
            Ok(client) => changes(&client, &templates).await.map(|found| (client, found)),
            Err(error) => Err(error.into()),
        };
        match found {
            Ok((client, found)) => work_on_sink(&mut report, name, &client, &found, write).await,
            Err(error) => report.errors.push(format!("sink {name}: {error}")),
        }
    }
    if !any {
        report.errors.push("the configuration has no sink of the type opensearch".to_owned());
    }
    report
}

async fn work_on_sink(report: &mut Report, name: &str, client: &Client, found: &[Change], write: Write) {
    let written = match write {
        Write::Nothing { .. } => false,
        Write::Changes => match apply(client, found).await {
            Ok(()) => true,
            Err(error) => {
                report.errors.push(format!("sink {name}: {error}"));
                false
            }
        },
    };
    report.templates.extend(found.iter().map(|change| TemplateView {
        sink: name.to_owned(),
        path: change.path.clone(),
        state: match change.state {
            State::Same => "same",
            State::Missing => "missing",
            State::Different => "different",
        },
        written: written && change.state != State::Same,
    }));
}

fn tell(report: &Report, write: Write, format: Format) -> ExitCode {
    let all_same = report.templates.iter().all(|template| template.state == "same" || template.written);
    let is_good = report.errors.is_empty() && (all_same || write == Write::Nothing { must_be_same: false });
    let code = if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if format == Format::Json {
        return output::print(&output::json(report), code);
    }
    for error in &report.errors {
        output::complain(error);
    }
    let painter = Painter::stdout();
    let mut text = String::new();
    for TemplateView { sink, path, state, written } in &report.templates {
        let style = if *state == "same" { Style::Green } else { Style::Yellow };
        let done = if *written { ", written" } else { "" };
        text += &format!("{sink}: {path} is {}{done}\n", painter.paint(style, state));
    }
    output::print(&text, code)
}
