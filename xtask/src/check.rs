//! `cargo xtask check`: what is looked at before every commit, the quick things first.

use std::process::{Command, Stdio};

use crate::{
    arguments::Arguments,
    cargo,
    error::{Error, Result},
    repository::Repository,
    ui::{self, Finished, Step},
};

mod direction;
mod links;
mod tidy;
mod wit;

/// Shown by `cargo xtask check --help`.
pub const HELP: &str = "\
Check the repository: everything that needs no running agent.

Usage: cargo xtask check [OPTIONS]

In this order, going on after a failure:
  tidy       First line of each source file, forbidden files and words, links between documents
  direction  Which crate may depend on which; only the host crate names wasmtime
  wit        What was released of the plugin boundary is still there as it was
  format     cargo fmt --check
  lints      cargo clippy with every warning an error
  unit       Unit tests of the crates without IO, and of xtask
  deny       Licences, advisories and doubled dependencies, if cargo-deny is installed

Options:
      --quick  Only tidy, direction, wit and format: a second or two, nothing is compiled
  -h, --help   Print this help

Exit codes: 0 clean, 1 something is not, 2 wrong usage";

/// Crates whose unit tests need neither a network, a server nor the WebAssembly engine.
const PURE_CRATES: [&str; 5] = ["weir-event", "weir-manifest", "weir-config", "weir-toolchain", "xtask"];

/// Something that a check found, in one line for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File, and line where there is one.
    pub place: String,
    /// What is wrong and what to do.
    pub text: String,
}

/// The command.
pub fn main(repository: &Repository, mut arguments: Arguments) -> Result<()> {
    let mut quick = false;
    while let Some(argument) = arguments.next()? {
        match argument.as_str() {
            "--quick" => quick = true,
            _ => return Err(argument.unexpected()),
        }
    }
    let mut steps = vec![
        inspect("tidy", "what the house style asks of every file", tidy::problems(repository)),
        inspect("direction", "dependencies point one way", direction::problems(repository)),
        inspect("wit", "released versions of the plugin boundary stay", wit::problems(repository)),
    ];
    steps.extend(format(repository)?);
    if !quick {
        let _hold = repository.hold()?;
        steps.extend(lints(repository)?);
        steps.push(unit_tests(repository));
        steps.extend(deny(repository));
    }
    let failed = ui::summary(&steps);
    if failed.is_empty() { Ok(()) } else { Err(Error::failed(format!("not clean: {}", failed.join(", ")))) }
}

fn inspect(name: &str, why: &str, problems: Result<Vec<Problem>>) -> Finished {
    let step = Step::start(name, why);
    match problems {
        Err(error) => step.failed(error),
        Ok(problems) if problems.is_empty() => step.done("clean"),
        Ok(problems) => {
            for problem in &problems {
                ui::note(format!("{}: {}", problem.place, problem.text));
            }
            step.failed(ui::counted(problems.len() as u64, "problem"))
        }
    }
}

fn run(name: &str, why: &str, command: &mut Command) -> Finished {
    let step = Step::start(name, why);
    match cargo::run(command, name) {
        Ok(()) => step.done("clean"),
        Err(error) => step.failed(error),
    }
}

/// The root workspace and each guest workspace, as the name of a step and a manifest.
fn workspaces(repository: &Repository) -> Result<Vec<(String, std::path::PathBuf)>> {
    let mut workspaces = vec![("workspace".to_owned(), repository.root().join("Cargo.toml"))];
    for manifest in cargo::guest_workspaces(repository)? {
        workspaces.push((repository.show(manifest.parent().unwrap_or(&manifest)), manifest));
    }
    Ok(workspaces)
}

fn format(repository: &Repository) -> Result<Vec<Finished>> {
    let mut steps = Vec::new();
    for (name, manifest) in workspaces(repository)? {
        let mut command = Command::new(cargo::program());
        command.current_dir(repository.root());
        command.args(["fmt", "--all", "--check", "--manifest-path"]).arg(manifest);
        // The names of the files are enough: nobody mends this by hand.
        command.args(["--", "-l"]);
        steps.push(run(&format!("format {name}"), "cargo fmt mends it", &mut command));
    }
    Ok(steps)
}

fn lints(repository: &Repository) -> Result<Vec<Finished>> {
    let mut steps = Vec::new();
    for (name, manifest) in workspaces(repository)? {
        let agent = name == "workspace";
        let target = if agent { repository.target().to_owned() } else { repository.guest_target() };
        let mut command = cargo::build_command(repository, "clippy", &target);
        command.args(["--workspace", "--all-targets", "--manifest-path"]).arg(manifest);
        command.args(["--", "-D", "warnings"]);
        steps.push(run(&format!("lints {name}"), "clippy, warnings are errors", &mut command));
    }
    Ok(steps)
}

fn unit_tests(repository: &Repository) -> Finished {
    let mut command = cargo::build_command(repository, "test", repository.target());
    for name in PURE_CRATES {
        command.args(["--package", name]);
    }
    run("unit", &format!("tests of {}", PURE_CRATES.join(", ")), command.arg("--quiet"))
}

/// cargo-deny takes minutes to build, so it is used where it is and never installed. What it knows of advisories
/// has to be fetched, which not every network allows.
fn deny(repository: &Repository) -> Vec<Finished> {
    let quietly = |arguments: &[&str]| {
        let mut command = Command::new(cargo::program());
        command.current_dir(repository.root()).arg("deny").args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !quietly(&["--version"]) {
        ui::note("deny: skipped, cargo-deny is not installed (cargo install --locked cargo-deny)");
        return Vec::new();
    }
    let check = |name: &str, why: &str, what: &[&str]| {
        let mut command = Command::new(cargo::program());
        command.current_dir(repository.root());
        command.args(["deny", "--workspace", "check", "--hide-inclusion-graph"]).args(what);
        run(name, why, &mut command)
    };
    let mut steps =
        vec![check("deny", "licences, doubled and banned crates", &["bans", "licenses", "sources"])];
    if quietly(&["fetch", "db"]) {
        steps.push(check("advisories", "known vulnerabilities of dependencies", &["advisories"]));
    } else {
        ui::note("advisories: skipped, their database cannot be fetched");
    }
    steps
}
