//! The end of a child: whether another one comes, when, and where it begins.

use std::io;
use std::time::Duration;

use weir_pipeline::source::Mode;

use super::{Ended, Engine, MAX_FAILURES_ONCE, Next};
use crate::child::Child;
use crate::command::Start;

/// A child whose output has ended is given so long to end.
const END_PATIENCE: Duration = Duration::from_millis(500);

impl Engine {
    /// What is to be done after a child.
    pub(super) fn after_child(&mut self, child: Child, ended: Ended) -> Next {
        let status = match ended {
            Ended::StartOver => {
                drop(child);
                return self.start_over();
            }
            Ended::Failed(error) => {
                tracing::warn!(source = &*self.source, %error, "cannot read from journalctl");
                drop(child);
                None
            }
            Ended::Output => child.end(END_PATIENCE, &mut self.complaints),
        };
        let is_success = status.is_some_and(|status| status.success());
        let said = self.complaints.said();
        if said.merge && self.merges && !self.reader.has_entry && !is_success {
            self.count_error();
            self.merges = false;
            tracing::warn!(
                source = &*self.source,
                "this journalctl cannot follow a journal over boots, only the current one is read; install systemd 254 \
                 or later"
            );
            return Next::After(Duration::ZERO);
        }
        let is_cursor_unknown = match is_success {
            // It would have written at least the entry of the cursor.
            true => self.mode == Mode::Once,
            false => said.cursor,
        };
        if self.reader.waits_for_cursor() && is_cursor_unknown {
            return self.start_over();
        }
        if is_success && self.mode == Mode::Once {
            return Next::Done;
        }
        self.count_error();
        let pause = self.pause.after_failure();
        let status = status.map_or_else(|| "killed".to_owned(), |status| status.to_string());
        if self.mode == Mode::Once && self.pause.failures() >= MAX_FAILURES_ONCE {
            tracing::error!(
                source = &*self.source,
                status,
                "journalctl failed again and again; what the journal has left is not read"
            );
            return Next::Done;
        }
        tracing::warn!(source = &*self.source, status, ?pause, "journalctl ended, will start it again");
        Next::After(pause)
    }

    /// The journal does not know the cursor: the next child begins with the oldest entry there is.
    pub(super) fn start_over(&mut self) -> Next {
        tracing::warn!(
            source = &*self.source,
            "the journal does not know the entry that was read last; beginning with the oldest that there is, entries \
             may be missing before it"
        );
        self.start = Start::Oldest;
        self.reader.outgoing.forget_cursor();
        self.reader.note_gap();
        // The first time at once; a journal in which no cursor is ever found is not read without pause.
        match (self.pause.failures(), self.pause.after_failure()) {
            (0, _) => Next::After(Duration::ZERO),
            (_, pause) => Next::After(pause),
        }
    }

    /// What is to be done after a child that could not be started.
    pub(super) fn cannot_start(&mut self, error: &io::Error) -> Next {
        self.count_error();
        let command = self.settings.command.display();
        let is_missing = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
        if !is_missing {
            let pause = self.pause.after_failure();
            tracing::warn!(source = &*self.source, %command, %error, ?pause, "cannot start journalctl, will try again");
            return match self.mode == Mode::Once && self.pause.failures() >= MAX_FAILURES_ONCE {
                true => Next::Done,
                false => Next::After(pause),
            };
        }
        if !std::mem::replace(&mut self.said_missing, true) {
            tracing::error!(
                source = &*self.source, %command, %error,
                "cannot start journalctl, so the journal is not read; use an image that has systemd's journalctl, or \
                 set `command` to where it is mounted from the host"
            );
        }
        match self.mode {
            Mode::Follow => Next::After(self.pause.while_missing()),
            Mode::Once => Next::Done,
        }
    }
}
