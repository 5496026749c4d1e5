//! `weir plugin new`: the folder of a new plugin.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;
use weir_plugin_kit::project::Language;
use weir_plugin_kit::template::{NewError, create};

use crate::cli::Output;
use crate::output::{self, Format, Painter, Style};

const EXAMPLES: &str = "\
Examples:
  weir plugin new geo-tags
  cd geo-tags && weir plugin build && weir plugin test

The folder holds all that the plugin is built of, the SDK's source too: it builds where there is no
checkout of Weir.

Exit codes:
  0  the folder is there
  1  it could not be written, or is there already and not empty
  2  wrong usage: a name that cannot be a plugin's";

/// Make the folder of a new plugin, which builds and passes its fixtures as it is
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The plugin's name: lower case letters, digits and dashes
    name: String,
    /// The folder to make [default: NAME]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The language: rust, javascript or python
    #[arg(long, value_name = "LANGUAGE", default_value = "rust", hide_possible_values = true)]
    lang: Lang,
    /// What it implements: transform
    #[arg(long, value_name = "WORLD", default_value = "transform", hide_possible_values = true)]
    world: World,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Lang {
    Rust,
    #[value(name = "javascript", alias = "js")]
    JavaScript,
    Python,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum World {
    Transform,
}

/// Makes the folder.
pub fn run(arguments: &Arguments) -> ExitCode {
    let World::Transform = arguments.world;
    let language = match arguments.lang {
        Lang::Rust => Language::Rust,
        Lang::JavaScript => Language::JavaScript,
        Lang::Python => Language::Python,
    };
    let folder = arguments.folder.as_deref().unwrap_or_else(|| Path::new(&arguments.name));
    let files = match create(folder, &arguments.name, language) {
        Ok(files) => files,
        Err(error) => {
            output::complain(&error.to_string());
            return ExitCode::from(if matches!(error, NewError::Name { .. }) { 2 } else { 1 });
        }
    };
    match arguments.output.output {
        Format::Json => {
            let report = json!({"name": arguments.name, "folder": folder, "files": files});
            output::print(&output::json(&report), ExitCode::SUCCESS)
        }
        Format::Text => tell(folder, &files),
    }
}

fn tell(folder: &Path, files: &[&str]) -> ExitCode {
    let painter = Painter::stdout();
    let shown = folder.display();
    let mut text = format!("{} is there. Its files:\n", painter.paint(Style::Bold, &shown));
    for file in files {
        text += &format!("  {file}\n");
    }
    text += &format!("Next:\n  cd {shown}\n  weir plugin build\n  weir plugin test\n");
    output::print(&text, ExitCode::SUCCESS)
}
