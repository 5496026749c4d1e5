//! The log's way out, which cannot stop the agent: whoever logs waits for its line to be taken, but not for long.
//!
//! 1. A thread of its own writes. While what reads the log keeps up, a line is out when the call that logs it returns.
//! 2. When a line was not taken in time nobody waits any more, until lines are taken again.
//! 3. What waits is bounded. Lines beyond that are dropped and counted, and the count is told when lines are taken again.
//!
//! Without this a log that nobody reads would stop every worker at its next warning, and a plugin that prints would
//! stop its pipeline.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a line is waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// What may wait.
const MAX_WAITING_BYTES: usize = 256 << 10;

/// Takes whole lines. Clones share the way out.
#[derive(Clone, Debug)]
pub(super) struct LogWriter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    taken: u64,
    written: u64,
    is_stalled: bool,
    dropped: u64,
}

// === impl LogWriter ===

impl LogWriter {
    /// Starts the thread. `tell` words a line about so many dropped ones.
    pub(super) fn start(out: impl Write + Send + 'static, tell: fn(u64) -> String) -> io::Result<LogWriter> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let writer = LogWriter(Arc::clone(&shared));
        thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_all(out, tell))?;
        Ok(writer)
    }

    /// Waits for what was logged, but not for long: for the end of the process.
    pub(super) fn finish(&self) {
        let queue = self.0.lock();
        let end = queue.taken;
        self.0.wait_for(queue, end);
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut queue = self.0.lock();
        if queue.bytes + line.len() > MAX_WAITING_BYTES {
            queue.dropped += 1;
            return Ok(line.len());
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.to_vec());
        queue.taken += 1;
        let own = queue.taken;
        self.0.changed.notify_all();
        if !queue.is_stalled {
            self.0.wait_for(queue, own);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when line `own` is written, or when it is clear that nobody reads.
    fn wait_for(&self, queue: MutexGuard<'_, Queue>, own: u64) {
        let waits = |queue: &mut Queue| queue.written < own && !queue.is_stalled;
        let waited = self.changed.wait_timeout_while(queue, PATIENCE, waits);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if queue.written < own && !queue.is_stalled {
            queue.is_stalled = true;
            self.changed.notify_all();
        }
    }

    /// The thread's work, for the life of the process.
    fn write_all(&self, mut out: impl Write, tell: fn(u64) -> String) {
        loop {
            let line = self.next();
            // Where standard error is gone there is nobody to tell it to.
            let _ = out.write_all(&line);
            let dropped = self.wrote(line.len());
            if dropped > 0 {
                let _ = out.write_all(tell(dropped).as_bytes());
            }
        }
    }

    /// A line stays counted until it is written.
    fn next(&self) -> Vec<u8> {
        let is_empty = |queue: &mut Queue| queue.lines.is_empty();
        let mut queue =
            self.changed.wait_while(self.lock(), is_empty).unwrap_or_else(PoisonError::into_inner);
        queue.lines.pop_front().unwrap_or_default()
    }

    /// How many lines were dropped until now.
    fn wrote(&self, bytes: usize) -> u64 {
        let mut queue = self.lock();
        queue.bytes -= bytes.min(queue.bytes);
        queue.written += 1;
        queue.is_stalled = queue.is_stalled && !queue.lines.is_empty();
        self.changed.notify_all();
        std::mem::take(&mut queue.dropped)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Instant;

    use super::*;

    /// Takes a write when the test does.
    struct Pipe(SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (LogWriter, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(0);
        let tell = |lines| format!("{lines} dropped");
        (LogWriter::start(Pipe(sender), tell).unwrap(), receiver)
    }

    #[test]
    fn a_line_that_is_read_is_out_when_the_call_returns() {
        let (mut writer, pipe) = start();
        let reader = thread::spawn(move || pipe.iter().take(3).collect::<Vec<_>>());
        for line in ["one", "two", "three"] {
            writer.write_all(line.as_bytes()).unwrap();
            let queue = writer.0.lock();
            assert!(queue.written == queue.taken || queue.is_stalled);
        }
        assert_eq!(reader.join().unwrap(), [&b"one"[..], b"two", b"three"]);
    }

    #[test]
    fn a_log_that_nobody_reads_stops_nobody_and_what_is_dropped_is_told() {
        let (mut writer, pipe) = start();
        let lines = 2 * MAX_WAITING_BYTES as u64 / 1024;
        let begun = Instant::now();
        for _ in 0..lines {
            writer.write_all(&[b'x'; 1024]).unwrap();
        }
        // The first waits; that none of the others does is what the time shows, on the slowest machine too.
        assert!(begun.elapsed() < PATIENCE * (lines as u32 / 4), "{:?}", begun.elapsed());
        let (waiting, dropped) = {
            let queue = writer.0.lock();
            assert!(queue.is_stalled && queue.bytes <= MAX_WAITING_BYTES);
            (queue.taken, queue.dropped)
        };
        assert!(dropped > 0 && waiting + dropped == lines, "{waiting} wait, {dropped} are dropped");

        let mut read: Vec<Vec<u8>> = pipe.iter().take(waiting as usize + 1).collect();
        assert_eq!(read.remove(1), format!("{dropped} dropped").into_bytes());
        assert!(read.iter().all(|line| line.len() == 1024));
        let reader = thread::spawn(move || pipe.iter().next());
        writer.write_all(b"again").unwrap();
        writer.finish();
        assert_eq!(reader.join().unwrap().as_deref(), Some(&b"again"[..]));
    }
}
