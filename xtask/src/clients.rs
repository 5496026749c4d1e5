//! `cargo xtask clients`: other people's clients of the sources `forward` and `otlp`, from their registries, for the tests.
//!
//! What is installed is pinned by files of `integration-tests/clients`, and known by them: when they change it is installed
//! anew, beside what was there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use weir_toolchain::apt;

use crate::{
    arguments::{Arguments, Output},
    error::{Error, IoContext, Result},
    process::run_within,
    repository::Repository,
    servers::{
        builds::{self, Build},
        go::{self, Program},
    },
    ui,
};

/// Shown by `cargo xtask clients --help`.
pub const HELP: &str = "\
Install the clients that the tests send events with, from their registries, in pinned versions, once.

Usage: cargo xtask clients [OPTIONS]

Clients:
  python        A virtual environment with fluent-logger and the OpenTelemetry SDK and its exporters of OTLP
                over HTTP and gRPC
  node_modules  @fluent-org/logger, and the OpenTelemetry SDK and its exporters of OTLP over HTTP and gRPC
  fluent_go     A program with fluent-logger-golang, built by Go

integration-tests/clients has the programs that send with them, and the versions. Python, Node and npm are
installed from Debian where they are missing; Go has to be installed.

Options:
      --output FORMAT    text, or json: JSON alone on stdout [default: text]
  -h, --help             Print this help

Exit codes: 0 they are there, 1 one could not be installed, 2 wrong usage";

/// Scripts, a Go module, and what pins the versions.
const FOLDER: &str = "integration-tests/clients";
const REQUIREMENTS: &str = "requirements.txt";
const NODE_FILES: [&str; 2] = ["package.json", "package-lock.json"];
const GO_MODULE: &str = "integration-tests/clients/fluent-go";
const GO_PROGRAMS: [Program; 1] = [Program { name: "fluent", package: ".", tags: "" }];
/// Some 30 MB each, over a network that may be slow.
const FETCH_LIMIT: Duration = Duration::from_secs(900);
const PROBE_LIMIT: Duration = Duration::from_secs(60);

/// A program of the system that something is installed with.
struct Tool {
    /// How it is run to see whether it is there.
    probe: &'static [&'static str],
    /// Debian's packages with it.
    packages: &'static [&'static str],
}

/// Debian's Python comes without the part that makes environments with pip.
const PYTHON: Tool =
    Tool { probe: &["python3", "-c", "import venv, ensurepip"], packages: &["python3", "python3-venv"] };
const NODE: Tool = Tool { probe: &["node", "--version"], packages: &["nodejs"] };
const NPM: Tool = Tool { probe: &["npm", "--version"], packages: &["npm"] };

/// The command.
pub fn main(repository: &Repository, mut arguments: Arguments) -> Result<()> {
    let mut output = Output::Text;
    while let Some(argument) = arguments.next()? {
        match argument.as_str() {
            "--output" => output = arguments.output()?,
            _ => return Err(argument.unexpected()),
        }
    }
    let fluent_go = go::build(repository, GO_MODULE, &GO_PROGRAMS, "fluent-logger-golang")?;
    print(
        &json!({
            "python": python(repository)?.join("bin/python"),
            "node_modules": node(repository)?.join("node_modules"),
            "fluent_go": fluent_go.join("fluent"),
        }),
        output,
    );
    Ok(())
}

/// The folder with the virtual environment. It is renamed after it was made, so its scripts are not to be run: modules are
/// (`python -m`).
fn python(repository: &Repository) -> Result<PathBuf> {
    let requirements = repository.root().join(FOLDER).join(REQUIREMENTS);
    let build = Build {
        name: "clients-python",
        made_of: std::slice::from_ref(&requirements),
        step: "pip install",
        why: "fluent-logger and the OpenTelemetry SDK for Python",
    };
    builds::once(&build, |folder| {
        PYTHON.ensure()?;
        fetch(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]);
        fetch(pip.arg(&requirements))
    })
}

/// The folder with `node_modules` in it.
fn node(repository: &Repository) -> Result<PathBuf> {
    let made_of = NODE_FILES.map(|file| repository.root().join(FOLDER).join(file));
    let build = Build {
        name: "clients-node",
        made_of: &made_of,
        step: "npm ci",
        why: "@fluent-org/logger and the OpenTelemetry SDK for Node",
    };
    builds::once(&build, |folder| {
        NODE.ensure()?;
        NPM.ensure()?;
        for (file, from) in NODE_FILES.iter().zip(&made_of) {
            fs::copy(from, folder.join(file)).while_doing("copy", from)?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--silent", "--no-fund", "--no-audit", "--ignore-scripts"]);
        fetch(npm.current_dir(folder))
    })
}

/// Runs a fetching program, whose own messages go to standard error.
fn fetch(command: &mut Command) -> Result<()> {
    run_within(command.stdout(Stdio::null()), FETCH_LIMIT).map_err(Error::failed)
}

fn print(clients: &Value, output: Output) {
    if output == Output::Json {
        println!("{clients:#}");
        return;
    }
    for (name, path) in clients.as_object().into_iter().flatten() {
        println!("{name:<14}{}", path.as_str().map(Path::new).unwrap_or(Path::new("")).display());
    }
}

// === impl Tool ===

impl Tool {
    /// Makes sure that it can be run, by Debian's packages where that is possible.
    fn ensure(&self) -> Result<()> {
        if self.runs() {
            return Ok(());
        }
        let packages = self.packages.join(" ");
        let missing = |cause: String| {
            let probe = self.probe.join(" ");
            Error::failed(format!(
                "`{probe}` fails: {cause}. On Debian and as root: apt-get install {packages}. Elsewhere install \
                 it by hand"
            ))
        };
        apt::install(self.packages, "run clients, and are not here", &ui::Steps).map_err(missing)?;
        if self.runs() { Ok(()) } else { Err(missing("it was installed and is not found".to_owned())) }
    }

    fn runs(&self) -> bool {
        let Some((program, arguments)) = self.probe.split_first() else { return false };
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        run_within(&mut command, PROBE_LIMIT).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> String {
        let folder = Repository::find().unwrap().root().join(FOLDER);
        fs::read_to_string(folder.join(file)).unwrap()
    }

    #[test]
    fn every_version_is_pinned() {
        let requirements = read(REQUIREMENTS);
        for line in requirements.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.contains("=="), "{REQUIREMENTS}: {line}");
        }
        let package: Value = serde_json::from_str(&read("package.json")).unwrap();
        for (name, version) in package["dependencies"].as_object().unwrap() {
            let is_exact = version.as_str().unwrap().chars().all(|c| c.is_ascii_digit() || c == '.');
            assert!(is_exact, "{name} {version}");
        }
        let lock: Value = serde_json::from_str(&read("package-lock.json")).unwrap();
        assert_eq!(lock["packages"][""]["dependencies"], package["dependencies"]);
        for (name, locked) in
            lock["packages"].as_object().unwrap().iter().filter(|(name, _)| !name.is_empty())
        {
            assert!(locked["integrity"].is_string(), "{name}");
        }
    }

    /// Which registry is asked is the business of who installs.
    #[test]
    fn no_file_names_a_registry() {
        let lock: Value = serde_json::from_str(&read("package-lock.json")).unwrap();
        let resolved = |locked: &Value| locked.get("resolved").is_some();
        assert!(!lock["packages"].as_object().unwrap().values().any(resolved));
        assert!(!read(REQUIREMENTS).contains("://"));
    }

    #[test]
    fn a_tool_that_is_there_is_not_installed() {
        Tool { probe: &["true"], packages: &["weir-no-such-package"] }.ensure().unwrap();
        assert!(!Tool { probe: &["weir-no-such-program"], packages: &[] }.runs());
    }

    #[test]
    fn wrong_arguments_are_wrong_usage() {
        for wrong in [&["python"][..], &["--all"], &["--output", "yaml"]] {
            let arguments = Arguments::new(wrong.iter().map(ToString::to_string));
            let error = main(&Repository::find().unwrap(), arguments).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong:?}");
        }
    }
}
