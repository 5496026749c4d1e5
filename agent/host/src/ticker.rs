//! The heartbeat of deadlines: a thread that advances wasmtime's epoch while calls run, and sleeps without
//! waking while none does, so that an idle agent costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often a running call is looked at: it ends at most this much past its deadline.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The thread; dropping it ends it.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    engine: wasmtime::Engine,
    /// Calls that run now.
    active: AtomicUsize,
    /// Whether any call began since the last tick. Under load the thread must not park between calls: waking
    /// it for each would cost more than the call.
    used: AtomicBool,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// While this lives the epoch advances.
pub(crate) struct ActiveCall<'a>(&'a Shared);

// === impl Ticker ===

impl Ticker {
    pub(crate) fn start(engine: wasmtime::Engine) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared {
            engine,
            active: AtomicUsize::new(0),
            used: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("weir-epoch".to_owned()).spawn(move || of_thread.run())?;
        Ok(Ticker { shared, thread: Some(thread) })
    }

    pub(crate) fn enter(&self) -> ActiveCall<'_> {
        let shared = &*self.shared;
        if !shared.used.load(Ordering::Relaxed) {
            shared.used.store(true, Ordering::Relaxed);
        }
        // Both sides write their own flag, then read the other's, in one total order: either the thread sees
        // this call, or this call sees the thread parked.
        shared.active.fetch_add(1, Ordering::SeqCst);
        if shared.parked.load(Ordering::SeqCst) {
            self.wake();
        }
        ActiveCall(shared)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for ActiveCall<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

// === impl Shared ===

impl Shared {
    fn run(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            if self.used.swap(false, Ordering::Relaxed) || self.active.load(Ordering::SeqCst) > 0 {
                // A left-over wake-up makes one tick shorter, which does no harm.
                thread::park_timeout(TICK);
                self.engine.increment_epoch();
            } else {
                self.park();
            }
        }
    }

    fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        if self.active.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
            thread::park();
        }
        self.parked.store(false, Ordering::SeqCst);
    }

    #[cfg(test)]
    fn is_parked(&self) -> bool {
        self.parked.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn wait_until(what: &str, condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(10), "never: {what}");
            thread::yield_now();
        }
    }

    #[test]
    fn it_parks_when_idle_and_ticks_when_a_call_runs() {
        let ticker = Ticker::start(wasmtime::Engine::default()).unwrap();
        wait_until("parked at start", || ticker.shared.is_parked());
        for _ in 0..3 {
            let call = ticker.enter();
            wait_until("awake in a call", || !ticker.shared.is_parked());
            drop(call);
            wait_until("parked after the call", || ticker.shared.is_parked());
        }
    }

    #[test]
    fn it_ends_when_dropped() {
        let ticker = Ticker::start(wasmtime::Engine::default()).unwrap();
        let shared = Arc::clone(&ticker.shared);
        drop(ticker);
        assert_eq!(Arc::strong_count(&shared), 1);
    }
}
