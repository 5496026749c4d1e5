//! Deadlines of guest code, counted in the worker's CPU time so that throttling does not kill the healthy,
//! with a cap in wall time for what does not compute either.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::UpdateDeadline;

use crate::ticker::TICK;

/// Wall time allowed for each unit of CPU time.
const WALL_FACTOR: u32 = 10;

/// Deadlines that all the tries of one batch may use together.
const BATCH_DEADLINES: u32 = 5;

/// A part of a batch that takes so many times what it usually takes is taken for one that spins.
const USUAL_FACTOR: u32 = 8;

/// A moment, in both times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// CPU time of this thread.
    pub(crate) cpu: Duration,
    pub(crate) wall: Instant,
}

/// Until when guest code may run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    cpu: Duration,
    wall: Instant,
}

/// Guest code ran for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeadlineExceeded {
    #[error("it used up its CPU time")]
    Cpu,
    #[error("it took {WALL_FACTOR} times its deadline by the clock")]
    Wall,
}

/// What is left for the tries of one batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    call: Duration,
    end: Deadline,
}

// === impl Moment ===

impl Moment {
    pub(crate) fn now() -> Moment {
        Moment { cpu: thread_cpu_time(), wall: Instant::now() }
    }
}

/// CPU time that this thread has used.
pub fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

// === impl Deadline ===

impl Deadline {
    pub(crate) fn after(start: Moment, cpu: Duration) -> Deadline {
        Deadline {
            cpu: start.cpu.saturating_add(cpu),
            wall: later(start.wall, cpu.saturating_mul(WALL_FACTOR)),
        }
    }

    /// What the epoch callback does at each tick.
    pub(crate) fn look(&self) -> Result<UpdateDeadline, DeadlineExceeded> {
        if thread_cpu_time() >= self.cpu {
            return Err(DeadlineExceeded::Cpu);
        }
        if Instant::now() >= self.wall {
            return Err(DeadlineExceeded::Wall);
        }
        Ok(UpdateDeadline::Continue(1))
    }

    fn earlier(self, other: Deadline) -> Deadline {
        Deadline { cpu: self.cpu.min(other.cpu), wall: self.wall.min(other.wall) }
    }
}

/// `Instant + Duration` panics beyond the end of time; a year is as good.
fn later(instant: Instant, duration: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    instant + duration.min(YEAR)
}

// === impl Budget ===

impl Budget {
    /// The budget of a batch whose first try began at `start`, where one call may take `call`.
    pub(crate) fn new(start: Moment, call: Duration) -> Budget {
        Budget { call, end: Deadline::after(start, call.saturating_mul(BATCH_DEADLINES)) }
    }

    /// The deadline of a try that begins now and may take a whole call's time; `None` when nothing is left.
    pub(crate) fn whole_call(&self) -> Option<Deadline> {
        self.deadline(self.call)
    }

    /// The deadline of a try over a part of the batch that may have to be halved `halvings` times more. It
    /// gets an equal share of what is left, and one share stays for the rows that are not at fault, so that
    /// one row that spins is found before all is used up. `usual` is what such a part takes when it is
    /// healthy, where that is known: far more than that is not waited for.
    pub(crate) fn part(&self, halvings: u32, usual: Option<Duration>) -> Option<Deadline> {
        let left = self.end.cpu.saturating_sub(thread_cpu_time());
        let share = left / halvings.saturating_add(2);
        let patience = usual.map_or(Duration::MAX, |usual| usual.saturating_mul(USUAL_FACTOR));
        self.deadline(share.min(patience).max(TICK).min(self.call))
    }

    /// Whether no further try is possible.
    pub(crate) fn is_used_up(&self) -> bool {
        self.end.look().is_err()
    }

    fn deadline(&self, cpu: Duration) -> Option<Deadline> {
        if self.is_used_up() {
            return None;
        }
        // Being throttled takes as long for a part as for a whole batch.
        let whole = Deadline::after(Moment::now(), self.call);
        let part = Deadline { cpu: thread_cpu_time().saturating_add(cpu), ..whole };
        Some(part.earlier(self.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Duration = Duration::from_secs(100);

    #[test]
    fn a_deadline_is_over_by_either_clock() {
        let now = Moment::now();
        assert!(Deadline::after(now, CALL).look().is_ok());
        assert!(Deadline::after(now, Duration::MAX).look().is_ok());
        let no_cpu = Deadline { cpu: Duration::ZERO, ..Deadline::after(now, CALL) };
        assert_eq!(no_cpu.look().err(), Some(DeadlineExceeded::Cpu));
        let no_time = Deadline { wall: now.wall, ..Deadline::after(now, CALL) };
        assert_eq!(no_time.look().err(), Some(DeadlineExceeded::Wall));
    }

    #[test]
    fn no_try_goes_beyond_the_budget() {
        let start = Moment::now();
        let budget = Budget::new(start, CALL);
        let whole = budget.whole_call().unwrap();
        assert!(whole.cpu >= start.cpu + CALL && whole.cpu <= thread_cpu_time() + CALL);
        for (halvings, usual) in [(0, None), (4, Some(CALL)), (9, Some(Duration::ZERO)), (u32::MAX, None)] {
            let part = budget.part(halvings, usual).unwrap();
            assert!(part.cpu <= thread_cpu_time() + CALL && part.wall <= budget.end.wall);
        }
        let usual = budget.part(0, Some(TICK)).unwrap();
        assert!(usual.cpu <= thread_cpu_time() + USUAL_FACTOR * TICK && usual.wall > start.wall + CALL);
        let nearly_over =
            Budget { end: Deadline { cpu: thread_cpu_time() + CALL / 100, ..budget.end }, ..budget };
        assert_eq!(nearly_over.whole_call().unwrap().cpu, nearly_over.end.cpu);
        let over = Budget { end: Deadline { cpu: Duration::ZERO, ..budget.end }, ..budget };
        assert!(over.is_used_up() && over.whole_call().is_none() && over.part(3, None).is_none());
    }
}
