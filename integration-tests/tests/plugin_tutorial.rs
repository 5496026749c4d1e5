//! `docs/PLUGINS.md`, command by command, in an empty folder: whoever follows the page sees what it shows.
//!
//! In its blocks of `console`, a line with `$ ` is a command, `> ` goes on with it, and what follows is what it prints;
//! `...` stands for what differs from run to run, and `[exit 1]` for an exit code that is not 0. Of what goes to standard
//! error only the lines that begin with `error:` are shown.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::{checkout, weir};

/// The first build compiles the SDK and what it needs; on a busy machine that takes minutes.
const LIMIT_SECONDS: &str = "1200";

/// A command of the page and what it prints.
#[derive(Debug, Default)]
struct Shown {
    line: usize,
    command: String,
    output: Vec<String>,
    code: i32,
}

fn read(page: &str) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    let mut is_console = false;
    for (index, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            is_console = line == "```console";
            continue;
        }
        if !is_console {
            continue;
        }
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push(Shown { line: index + 1, command: command.to_owned(), ..Shown::default() });
            continue;
        }
        let shown = commands.last_mut().expect("a command before its output");
        if let Some(more) = line.strip_prefix("> ") {
            shown.command = format!("{}\n{more}", shown.command);
        } else if let Some(code) = line.strip_prefix("[exit ").and_then(|rest| rest.strip_suffix(']')) {
            shown.code = code.parse().expect("an exit code");
        } else {
            shown.output.push(line.to_owned());
        }
    }
    commands
}

/// A folder of its own for what is built, kept from one run to the next: what the SDK needs is compiled once.
fn target() -> PathBuf {
    let test = env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().join("tmp/tutorial")
}

struct Shell {
    folder: tempfile::TempDir,
    path: String,
}

impl Shell {
    fn new() -> Shell {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        std::os::unix::fs::symlink(weir(), folder.path().join("bin/weir")).unwrap();
        let path = format!("{}:{}", folder.path().join("bin").display(), env::var("PATH").unwrap());
        Shell { folder, path }
    }

    /// Where the last command left the shell.
    fn here(&self) -> PathBuf {
        fs::read_to_string(self.folder.path().join("here"))
            .map_or_else(|_| self.folder.path().join("work"), |text| PathBuf::from(text.trim_end()))
    }

    fn run(&self, command: &str) -> (i32, Vec<String>) {
        let here = self.folder.path().join("here");
        let script = format!("{command}\ncode=$?\npwd > '{}'\nexit $code", here.display());
        let output = Command::new("timeout")
            .args([LIMIT_SECONDS, "bash", "-c", &script])
            .current_dir(self.here())
            .env("PATH", &self.path)
            .env("CARGO_TARGET_DIR", target())
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"))
            .env("LC_ALL", "C.UTF-8")
            .env_remove("WEIR_LOG")
            .output()
            .unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let code = output.status.code().unwrap_or(-1);
        eprintln!("$ {command}\n{stdout}{stderr}[exit {code}]");
        let errors = stderr.lines().filter(|line| line.starts_with("error:"));
        (code, stdout.lines().chain(errors).map(str::to_owned).collect())
    }
}

/// Whether a line is as shown; `...` is any text.
fn is_as_shown(shown: &str, line: &str) -> bool {
    let mut parts = shown.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some(part) => part.is_empty() || line.ends_with(part),
    }
}

#[test]
fn the_page_shows_what_happens() {
    let page = fs::read_to_string(checkout().join("docs/PLUGINS.md")).unwrap();
    let commands = read(&page);
    assert!(commands.len() > 20, "{}", commands.len());
    let shell = Shell::new();
    for shown in &commands {
        let (code, output) = shell.run(&shown.command);
        let place = format!("docs/PLUGINS.md:{}: {}", shown.line, shown.command);
        assert_eq!(code, shown.code, "{place}\n{output:#?}");
        let same = output.len() == shown.output.len()
            && shown.output.iter().zip(&output).all(|(shown, line)| is_as_shown(shown, line));
        assert!(same, "{place}\nshown {:#?}\ngot {output:#?}", shown.output);
    }
    assert!(Path::new(&shell.here()).join("geo-tags.wasm").is_file());
}

#[test]
fn dots_stand_for_any_text() {
    for (shown, line, expected) in [
        ("a b", "a b", true),
        ("a b", "a b c", false),
        (".../a: ... bytes", "/tmp/a: 12 bytes", true),
        (".../a: ... bytes", "/tmp/a: 12 byte", false),
        ("size ...", "size   1 KiB", true),
        ("size ...", "memory 1", false),
    ] {
        assert_eq!(is_as_shown(shown, line), expected, "{shown} of {line}");
    }
}
