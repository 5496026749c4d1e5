//! What a person sees: steps with their reason and duration on stderr, colour only on a terminal.
//!
//! Results go to stdout, everything about the way there to stderr, so that `--output json` stays clean.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use weir_toolchain::Progress;

/// How a piece of text is set off where the stream is a terminal.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// Headings.
    Bold,
    /// What is there to be skipped over.
    Dim,
    /// Good outcomes and additions.
    Green,
    /// Warnings and numbers to notice.
    Yellow,
    /// Failures and removals.
    Red,
    /// Names and commands.
    Cyan,
}

/// Which of the two streams a text is meant for: each may or may not be a terminal.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// Results.
    Stdout,
    /// Progress.
    Stderr,
}

/// `text` in `style`, or as it is where `stream` takes no colour.
pub fn paint(stream: Stream, style: Style, text: impl Display) -> String {
    if !takes_colour(stream) {
        return text.to_string();
    }
    let code = match style {
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Green => "32",
        Style::Yellow => "33",
        Style::Red => "31",
        Style::Cyan => "36",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Honours NO_COLOR (any value that is not empty) and `TERM=dumb`.
pub fn takes_colour(stream: Stream) -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|value| value == "dumb");
    let terminal = match stream {
        Stream::Stdout => io::stdout().is_terminal(),
        Stream::Stderr => io::stderr().is_terminal(),
    };
    terminal && !refused
}

/// A step under way. It says what is done and why when it starts, and how long it took when it ends.
#[derive(Debug)]
pub struct Step {
    name: String,
    started: Instant,
}

impl Step {
    /// Announces the step. `why` completes the line, so that nobody waits for an unknown reason.
    pub fn start(name: &str, why: impl Display) -> Self {
        let arrow = paint(Stream::Stderr, Style::Cyan, "==>");
        let bold = paint(Stream::Stderr, Style::Bold, name);
        eprintln!("{arrow} {bold}: {why}");
        Step { name: name.to_owned(), started: Instant::now() }
    }

    /// Ends the step well.
    pub fn done(self, outcome: impl Display) -> Finished {
        self.end(Style::Green, "ok", outcome)
    }

    /// Ends the step badly; the caller decides whether to go on.
    pub fn failed(self, outcome: impl Display) -> Finished {
        self.end(Style::Red, "failed", outcome)
    }

    fn end(self, style: Style, word: &str, outcome: impl Display) -> Finished {
        let took = self.started.elapsed();
        let mark = paint(Stream::Stderr, style, word);
        eprintln!("    {mark} in {}: {outcome}", duration(took));
        Finished { name: self.name, took, outcome: outcome.to_string(), good: matches!(style, Style::Green) }
    }
}

/// Tells the steps of `weir-toolchain` as those of this tool.
#[derive(Clone, Copy, Debug)]
pub struct Steps;

impl Progress for Steps {
    fn step(
        &self,
        name: &str,
        why: &str,
        work: &mut dyn FnMut() -> Result<String, String>,
    ) -> Result<String, String> {
        let step = Step::start(name, why);
        let outcome = work();
        match &outcome {
            Ok(done) => step.done(done),
            Err(cause) => step.failed(cause),
        };
        outcome
    }

    fn note(&self, text: &str) {
        note(text);
    }
}

/// A step that has ended, for the closing summary.
#[derive(Debug)]
pub struct Finished {
    /// The step's name.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// What came of it, in one line.
    pub outcome: String,
    /// Whether that is what it should be.
    pub good: bool,
}

/// Prints all steps of a command under each other, and returns the names of those that failed.
pub fn summary(steps: &[Finished]) -> Vec<&str> {
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or_default();
    eprintln!();
    for step in steps {
        let (style, word) = if step.good { (Style::Green, "ok    ") } else { (Style::Red, "failed") };
        let mark = paint(Stream::Stderr, style, word);
        eprintln!("{mark} {:<width$} {:>8}  {}", step.name, duration(step.took), step.outcome);
    }
    steps.iter().filter(|step| !step.good).map(|step| step.name.as_str()).collect()
}

/// A remark within a step.
pub fn note(text: impl Display) {
    eprintln!("    {text}");
}

/// Something that a person should know, though the work goes on.
pub fn warning(text: impl Display) {
    eprintln!("    {} {text}", paint(Stream::Stderr, Style::Yellow, "warning:"));
}

/// Seconds below two minutes, else minutes and seconds.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 120.0 {
        return format!("{seconds:.1} s");
    }
    format!("{} min {:02} s", duration.as_secs() / 60, duration.as_secs() % 60)
}

/// 1234567 as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 file`, `2 files`.
pub fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (12345, "12,345"), (1234567, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn nouns_follow_their_number() {
        assert_eq!(counted(1, "file"), "1 file");
        assert_eq!(counted(1272, "line"), "1,272 lines");
    }

    #[test]
    fn durations_change_their_unit_at_two_minutes() {
        for (milliseconds, text) in [(0, "0.0 s"), (119_900, "119.9 s"), (121_000, "2 min 01 s")] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text);
        }
    }
}
