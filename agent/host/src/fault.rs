//! What can go wrong in a call, and how it is named, counted and told.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::deadline::DeadlineExceeded;
use crate::limiter::MemoryExceeded;
use crate::wasi::NotGranted;

/// A guest writes what it likes into its messages.
const MAX_DETAIL_BYTES: usize = 2048;

/// A plugin that faults at every batch says so this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How wasmtime says that an answer is larger than the fuel for it. The error's type is private; a wasmtime
/// that says it otherwise makes a test fail, and until then the fault is counted as [`Cause::BadOutput`].
const OUTPUT_FUEL_MESSAGE: &str = "fuel allocated for hostcalls has been exhausted";

/// The causes by which faults are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The guest trapped: a panic, a division by zero, too deep a recursion.
    Trap,
    /// It ran longer than its deadline.
    Deadline,
    /// It wanted more memory than its limit.
    Memory,
    /// It answered with more bytes than its limit.
    Output,
    /// Its answer was malformed.
    BadOutput,
    /// It wrote to a path that its plan does not declare. Only that write is refused; the rest of the answer
    /// holds.
    UndeclaredWrite,
    /// No fresh instance could be made, or its `configure` failed or answered otherwise than when it was
    /// loaded.
    Instantiate,
}

/// The last fault of a plugin, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultReport {
    /// Its cause.
    pub cause: Cause,
    /// What happened, in at most 2 KiB; names of the plugin's functions where it has them.
    pub detail: String,
}

/// One fault. Text is made only for the one that is told.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) cause: Cause,
    detail: Detail,
}

#[derive(Debug)]
enum Detail {
    Error(wasmtime::Error),
    Text(String),
}

/// Remembers the last fault and logs now and then.
#[derive(Debug, Default)]
pub(crate) struct FaultLog(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    last: Option<FaultReport>,
    logged: Option<Instant>,
    untold: u64,
}

// === impl Cause ===

impl Cause {
    /// All of them, in the order of their declaration.
    pub const ALL: [Cause; 7] = [
        Cause::Trap,
        Cause::Deadline,
        Cause::Memory,
        Cause::Output,
        Cause::BadOutput,
        Cause::UndeclaredWrite,
        Cause::Instantiate,
    ];

    /// The label of the metric.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Trap => "trap",
            Cause::Deadline => "deadline",
            Cause::Memory => "memory",
            Cause::Output => "output",
            Cause::BadOutput => "bad_output",
            Cause::UndeclaredWrite => "undeclared_write",
            Cause::Instantiate => "instantiate",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

// === impl Fault ===

impl Fault {
    pub(crate) fn new(cause: Cause, detail: impl Into<String>) -> Fault {
        Fault { cause, detail: Detail::Text(detail.into()) }
    }

    /// A fault of guest code, by what wasmtime says of it.
    pub(crate) fn of_call(error: wasmtime::Error) -> Fault {
        let cause = if error.is::<DeadlineExceeded>() {
            Cause::Deadline
        } else if error.is::<MemoryExceeded>() {
            Cause::Memory
        } else if error.is::<wasmtime::Trap>() || error.is::<NotGranted>() {
            Cause::Trap
        } else if error.root_cause().to_string().contains(OUTPUT_FUEL_MESSAGE) {
            Cause::Output
        } else {
            Cause::BadOutput
        };
        Fault { cause, detail: Detail::Error(error) }
    }

    /// The same fault, booked on making the instance.
    pub(crate) fn while_instantiating(self) -> Fault {
        Fault { cause: Cause::Instantiate, ..self }
    }

    pub(crate) fn detail(&self) -> String {
        match &self.detail {
            Detail::Error(error) => capped(&describe(error)),
            Detail::Text(text) => capped(text),
        }
    }
}

/// The chain of causes, the innermost first: wasmtime puts the backtrace before what happened.
fn describe(error: &wasmtime::Error) -> String {
    let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.reverse();
    causes.join("; ")
}

/// Text of a guest, made fit for a log: short, and without control characters that move a terminal's cursor.
pub(crate) fn capped(text: &str) -> String {
    let mut out = String::new();
    for character in text.trim().chars() {
        if out.len() + character.len_utf8() > MAX_DETAIL_BYTES {
            out.push('…');
            break;
        }
        out.push(if character.is_control() { ' ' } else { character });
    }
    out
}

// === impl FaultLog ===

impl FaultLog {
    /// Keeps `fault` as the last one, and logs it unless another was logged just before.
    pub(crate) fn tell(&self, plugin: &str, fault: &Fault) {
        let report = FaultReport { cause: fault.cause, detail: fault.detail() };
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.logged.is_some_and(|logged| now.duration_since(logged) < LOG_INTERVAL) {
            told.untold += 1;
        } else {
            let (cause, detail, untold) = (report.cause, &report.detail, told.untold);
            tracing::warn!(plugin, %cause, detail, untold, "plugin failed");
            (told.logged, told.untold) = (Some(now), 0);
        }
        told.last = Some(report);
    }

    pub(crate) fn last(&self) -> Option<FaultReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_guest_is_cut_and_made_harmless() {
        assert_eq!(capped(" a\x1b[2Jb\nc "), "a [2Jb c");
        let long = capped(&"ä".repeat(MAX_DETAIL_BYTES));
        assert!(long.len() <= MAX_DETAIL_BYTES + '…'.len_utf8() && long.ends_with('…'));
    }

    #[test]
    fn the_last_fault_is_kept() {
        let log = FaultLog::default();
        assert_eq!(log.last(), None);
        log.tell("p", &Fault::new(Cause::Trap, "one"));
        log.tell("p", &Fault::new(Cause::BadOutput, "two"));
        assert_eq!(log.last(), Some(FaultReport { cause: Cause::BadOutput, detail: "two".to_owned() }));
    }
}
