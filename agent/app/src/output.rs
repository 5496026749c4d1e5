//! What commands print: results to standard output, everything else to standard error, colour only on a terminal.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use weir_config::{Error, Warning};

/// How a listing is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How a piece of text is set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Headings and names.
    Bold,
    /// What may be skipped over.
    Dim,
    /// Good news.
    Green,
    /// Warnings.
    Yellow,
    /// Errors.
    Red,
}

/// Sets text off where the stream takes colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Painter {
    colour: bool,
}

// === impl Painter ===

impl Painter {
    /// For standard output.
    pub fn stdout() -> Painter {
        Painter { colour: takes_colour(&io::stdout()) }
    }

    /// For standard error.
    pub fn stderr() -> Painter {
        Painter { colour: takes_colour(&io::stderr()) }
    }

    /// For text that is compared.
    #[cfg(test)]
    pub fn plain() -> Painter {
        Painter { colour: false }
    }

    /// `text` in a style, or as it is.
    pub fn paint(self, style: Style, text: impl Display) -> String {
        if !self.colour {
            return text.to_string();
        }
        let code = match style {
            Style::Bold => 1,
            Style::Dim => 2,
            Style::Green => 32,
            Style::Yellow => 33,
            Style::Red => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Whether a stream takes colour. `NO_COLOR` (any value that is not empty) and `TERM=dumb` refuse it.
pub fn takes_colour(stream: &impl IsTerminal) -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|value| value == "dumb");
    stream.is_terminal() && !refused
}

/// Prints a command's result and passes its exit code on. A reader that has seen enough, as in `weir ledger | head`,
/// is no error; any other failure is, since the result did not arrive.
pub fn print(text: &str, code: ExitCode) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => code,
    }
}

/// Prints a part of a result that goes on. An empty error is for a reader that has seen enough.
pub fn print_on(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => String::new(),
        _ => format!("cannot write to standard output: {error}"),
    })
}

/// Tells an error on standard error.
pub fn complain(message: &str) {
    to_stderr(&format!("{} {message}", Painter::stderr().paint(Style::Red, "error:")));
}

/// Tells something that is worth knowing and stops nothing.
pub fn note(message: &str) {
    to_stderr(&format!("{} {message}", Painter::stderr().paint(Style::Yellow, "note:")));
}

/// Tells how far something is.
pub fn tell(line: &str) {
    to_stderr(line);
}

/// Tells all errors of a configuration, and how many there are.
pub fn complain_of_config(errors: &[Error]) {
    for error in errors {
        complain(&error.to_string());
    }
    let count = match errors.len() {
        1 => "1 error in the configuration".to_owned(),
        count => format!("{count} errors in the configuration"),
    };
    to_stderr(&count);
}

/// Tells warnings about a configuration.
pub fn warn_of_config(warnings: &[Warning]) {
    for warning in warnings {
        to_stderr(&format!("{} {warning}", Painter::stderr().paint(Style::Yellow, "warning:")));
    }
}

/// Nobody could be told that it failed.
fn to_stderr(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A number with its thousands set apart: `1 234 567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Bytes in the unit that makes them short: `1.5 MiB`.
pub fn size(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (bytes, 0);
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    let unit = units.get(unit).copied().unwrap_or_default();
    if unit == "B" || size >= 100.0 { format!("{size:.0} {unit}") } else { format!("{size:.1} {unit}") }
}

/// A path without the `..` and links on the way to it, where it can be followed.
pub fn shown(path: &Path) -> String {
    let followed = path.canonicalize().or_else(|error| match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => folder.canonicalize().map(|folder| folder.join(name)),
        _ => Err(error),
    });
    followed.as_deref().unwrap_or(path).display().to_string()
}

/// Pretty JSON with a newline behind it.
pub fn json(value: &impl serde::Serialize) -> String {
    // Maps with text for keys and no failing member: there is nothing that could go wrong.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let cases = [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn paths_are_shown_as_short_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        std::fs::create_dir(folder.join("a")).unwrap();
        let cases = [
            ("a/..", folder.clone()),
            ("a/../new", folder.join("new")),
            ("b/../new", folder.join("b/../new")),
        ];
        for (path, expected) in cases {
            assert_eq!(shown(&folder.join(path)), expected.display().to_string(), "{path}");
        }
    }

    #[test]
    fn colour_is_for_streams_that_take_it() {
        assert_eq!(Painter::plain().paint(Style::Red, "x"), "x");
        assert_eq!(Painter { colour: true }.paint(Style::Red, "x"), "\x1b[31mx\x1b[0m");
    }
}
