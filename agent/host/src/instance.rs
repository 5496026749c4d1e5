//! A plugin as a stage: the instance of one worker, replaced when it fails, grows old or grows large.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_event::transform::{Call, Context, Handled, Outcome, Plan, Transform};

use crate::check::check;
use crate::deadline::{Budget, Deadline, Moment};
use crate::fault::{Cause, Fault};
use crate::live::Live;
use crate::load::Plugin;
use crate::quarantine::Report;
use crate::search;
use crate::spec::Isolation;

/// Linear memory never shrinks and leaks are slow: a store that has handled so many calls is replaced.
const CALLS_PER_STORE: u64 = 10_000;

/// A store is also replaced when it has more than three quarters of its memory limit, but not at every call
/// of a plugin that needs so much from the start.
const CALLS_BEFORE_SIZE_COUNTS: u64 = 16;

/// The instance of one worker, whose thread needs a stack of 2 MiB, Rust's default: guests have 512 KiB of
/// it. The store behind it is made at the first call.
pub struct Instance {
    plugin: Arc<Plugin>,
    on_trial: bool,
    live: Option<Live>,
    /// CPU time that a row takes at most in a healthy call, lately.
    usual: Option<Duration>,
}

// === impl Instance ===

impl Transform for Instance {
    fn plan(&self) -> &Plan {
        self.plugin.plan()
    }

    fn transform(&mut self, call: &Call, context: &Context) -> Handled {
        if call.rows == 0 {
            return Handled::default();
        }
        let begun = Moment::now();
        if !self.on_trial && !self.plugin.is_asked(begun.wall) {
            self.live = None;
            return self.refuse(call);
        }
        let (handled, is_healthy) = self.handle(call, context, begun);
        let cpu = self.plugin.metrics().called(call.rows, begun);
        if is_healthy {
            self.remember_usual(cpu / call.rows);
        }
        if self.on_trial {
            return handled;
        }
        let report = Report { faulty: !is_healthy, rows: call.rows, suspects: handled.suspects.len() as u32 };
        self.plugin.note(report, Instant::now());
        handled
    }
}

impl Instance {
    pub(crate) fn new(plugin: Arc<Plugin>) -> Instance {
        Instance { plugin, on_trial: false, live: None, usual: None }
    }

    pub(crate) fn on_trial(plugin: Arc<Plugin>) -> Instance {
        Instance { on_trial: true, ..Instance::new(plugin) }
    }

    /// The plugin that it belongs to.
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Every row meets `on_error`.
    fn refuse(&self, call: &Call) -> Handled {
        self.plugin.metrics().suspected(u64::from(call.rows));
        Handled { outcome: Outcome::default(), suspects: (0..call.rows).collect() }
    }

    fn handle(&mut self, call: &Call, context: &Context, begun: Moment) -> (Handled, bool) {
        let deadline = self.plugin.deadline();
        // Reading the clocks is a system call; the first deadline begins when the batch did.
        let mut first = Some(begun);
        let allow = || Some(Deadline::after(first.take().unwrap_or_else(Moment::now), deadline));
        match self.attempt(call, context, allow) {
            Ok(outcome) => (Handled { outcome, suspects: Vec::new() }, true),
            Err(fault) => {
                self.plugin.tell(&fault);
                (search::recover(self, call, context, Budget::new(begun, deadline)), false)
            }
        }
    }

    /// The largest of late: it decays by one part in 64 with each call.
    fn remember_usual(&mut self, cpu_per_row: Duration) {
        let before = self.usual.unwrap_or_default();
        self.usual = Some(cpu_per_row.max(before - before / 64));
    }

    /// What so many rows take when all is well, if that is known.
    pub(crate) fn usual(&self, rows: u32) -> Option<Duration> {
        self.usual.map(|cpu_per_row| cpu_per_row.saturating_mul(rows))
    }

    /// One try. `allow` is asked for a deadline before a store is made, and before the call; `None` ends the
    /// try.
    ///
    /// A fault is counted, and drops the store, whatever it was: no instance that trapped may be entered
    /// again.
    pub(crate) fn attempt(
        &mut self,
        call: &Call,
        context: &Context,
        allow: impl FnMut() -> Option<Deadline>,
    ) -> Result<Outcome, Fault> {
        let result = self.try_once(call, context, allow);
        match &result {
            Ok(_) => self.recycle(),
            Err(fault) => {
                self.live = None;
                self.plugin.metrics().fault(fault.cause, 1);
            }
        }
        result
    }

    fn try_once(
        &mut self,
        call: &Call,
        context: &Context,
        mut allow: impl FnMut() -> Option<Deadline>,
    ) -> Result<Outcome, Fault> {
        let used_up = || Fault::new(Cause::Deadline, "the batch used up the deadlines of all its tries");
        let live = match &mut self.live {
            Some(live) => live,
            None => self.live.insert(start(&self.plugin, allow().ok_or_else(used_up)?)?),
        };
        let deadline = allow().ok_or_else(used_up)?;
        let mut outcome = live.call(self.plugin.program(), call, context, deadline)?;
        let undeclared = check(&mut outcome, call.rows, self.plugin.plan())
            .map_err(|problem| Fault::new(Cause::BadOutput, problem))?;
        if undeclared > 0 {
            self.plugin.refused_writes(undeclared);
        }
        Ok(outcome)
    }

    fn recycle(&mut self) {
        let Some(live) = &self.live else { return };
        if self.plugin.isolation() == Isolation::Fresh {
            self.live = None;
            return;
        }
        let is_large = live.memory() > self.plugin.program().memory / 4 * 3;
        if live.calls() >= CALLS_PER_STORE || (is_large && live.calls() >= CALLS_BEFORE_SIZE_COUNTS) {
            self.live = None;
            self.plugin.metrics().recycled();
        }
    }
}

fn start(plugin: &Plugin, deadline: Deadline) -> Result<Live, Fault> {
    let (live, plan) = Live::start(plugin.program(), deadline).map_err(|error| error.into_fault())?;
    if plan != *plugin.plan() {
        return Err(Fault::new(Cause::Instantiate, "configure answered with another plan than at load"));
    }
    Ok(live)
}
