//! Messages as they come: their bytes, within time limits, and in memory that was asked for.
//!
//! 1. The buffer has [`FREE_BYTES`] while there is no room for more.
//! 2. Of what lies behind a message, less than [`FREE_BYTES`] are read with it: they stay when its room goes on with it.
//! 3. Room grows by giving the smaller one back first. What was read by then stays, at most a quarter of what is waited for
//!    beyond [`TRUSTED_BYTES`]: connections that all wait for more while they hold some would wait for ever.

use std::io;
use std::time::Duration;

use bytes::BufMut as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::SessionError;
use crate::forward::message::check_first;
use crate::forward::msgpack::{Frame, Scan, Scanner};
use crate::forward::settings::Settings;
use crate::intake::{Intake, NotSafe};

/// What a connection reads into without asking for memory, in bytes.
pub const FREE_BYTES: usize = 16 * 1024;
/// Memory that is asked for because a client says so, in bytes. For more, a quarter must have come.
const TRUSTED_BYTES: usize = 1024 * 1024;
/// Behind the entries come options: what is declared is not yet all.
const OPTIONS_BYTES: usize = 1024;

/// What comes from a client.
pub(super) struct Incoming<R> {
    source: R,
    /// What was read and not taken.
    buffer: Vec<u8>,
    /// Where the next message begins in the buffer.
    start: usize,
    scanner: Scanner,
    limit: usize,
}

/// A whole message, and the room for it.
pub(super) struct Received<Room> {
    pub(super) bytes: Vec<u8>,
    pub(super) frame: Frame,
    pub(super) room: Room,
}

/// Room for a message that is being read.
struct Held<Room> {
    room: Option<Room>,
    bytes: usize,
}

// === impl Incoming ===

impl<R: AsyncRead + Unpin> Incoming<R> {
    pub(super) fn new(source: R) -> Incoming<R> {
        Incoming { source, buffer: Vec::new(), start: 0, scanner: Scanner::new(0), limit: 0 }
    }

    /// Where bytes come from, to read on without looking at them.
    pub(super) fn source(&mut self) -> &mut R {
        &mut self.source
    }

    /// Messages from here on may have so many bytes.
    pub(super) fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
        self.scanner = Scanner::new(bytes);
    }

    /// The next message where it has at most `limit` bytes and those are few. Its time limit is the caller's business.
    pub(super) async fn small_message(&mut self, limit: usize) -> Result<Option<Vec<u8>>, SessionError> {
        self.set_limit(limit.min(FREE_BYTES));
        loop {
            let unread = self.unread();
            if let Some(first) = unread.first() {
                check_first(*first)?;
            }
            if let Scan::Whole(frame) =
                self.scanner.scan(self.buffer.get(self.start..).unwrap_or_default())?
            {
                return Ok(Some(self.take(frame)));
            }
            if self.read(FREE_BYTES).await? == 0 {
                return self.end();
            }
        }
    }

    /// The next message, or nothing where the client ends between two. While `is_idle` does not hold, a client may be silent
    /// as long as it likes.
    pub(super) async fn message<I: Intake>(
        &mut self,
        settings: &Settings,
        intake: &I,
        is_idle: impl Fn() -> bool,
    ) -> Result<Option<Received<I::Room>>, SessionError> {
        if self.unread().is_empty() && !self.wait_for_first(settings.idle_timeout, is_idle).await? {
            return Ok(None);
        }
        if let Some(first) = self.unread().first() {
            check_first(*first)?;
        }
        let mut deadline = Instant::now() + settings.message_timeout;
        let mut held = Held { room: None, bytes: FREE_BYTES };
        loop {
            let unread = self.buffer.get(self.start..).unwrap_or_default();
            let least = match self.scanner.scan(unread)? {
                Scan::Whole(frame) => {
                    let bytes = self.take(frame);
                    let room = match held.room {
                        Some(room) => room,
                        None => intake.room(bytes.len()).await?,
                    };
                    return Ok(Some(Received { bytes, frame, room }));
                }
                Scan::More(least) => least,
            };
            let len = unread.len();
            if len >= held.bytes {
                let waiting = Instant::now();
                held.grow(intake, next_bytes(len, least, self.limit)).await?;
                deadline += waiting.elapsed();
            }
            let target = held.bytes.min(least.max(len) + FREE_BYTES);
            self.reserve(held.bytes);
            let limit = settings.read_timeout;
            let progress = Instant::now() + limit;
            match timeout_at(progress.min(deadline), self.read(target)).await {
                Ok(Ok(0)) => return self.end(),
                Ok(read) => read?,
                Err(_) if deadline < progress => {
                    let limit = settings.message_timeout;
                    return Err(SessionError::TimedOut { what: "send one message", limit });
                }
                Err(_) => return Err(SessionError::TimedOut { what: "go on within a message", limit }),
            };
        }
    }

    /// False where the client ends.
    async fn wait_for_first(
        &mut self,
        limit: Duration,
        is_idle: impl Fn() -> bool,
    ) -> Result<bool, SessionError> {
        loop {
            // The limit counts from where nothing is waited for any more, at the latest from the next look.
            let was_idle = is_idle();
            match timeout(limit, self.read(FREE_BYTES)).await {
                Ok(read) => return Ok(read? > 0),
                Err(_) if was_idle && is_idle() => {
                    return Err(SessionError::TimedOut { what: "send a message", limit });
                }
                Err(_) => {}
            }
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Makes place for so many bytes of one message.
    fn reserve(&mut self, bytes: usize) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.reserve_exact(bytes.saturating_sub(self.buffer.len()));
    }

    /// Reads what comes, until there are at most `target` bytes of the message. Returns how many came. Cancelling loses
    /// nothing.
    async fn read(&mut self, target: usize) -> io::Result<usize> {
        if self.start > 0 || self.buffer.capacity() < FREE_BYTES {
            self.reserve(FREE_BYTES);
        }
        let place = target.saturating_sub(self.buffer.len());
        let mut buffer = (&mut self.buffer).limit(place);
        self.source.read_buf(&mut buffer).await
    }

    /// The bytes of a message that is whole. A buffer that was made for it goes with it.
    fn take(&mut self, frame: Frame) -> Vec<u8> {
        let end = self.start + frame.bytes();
        if self.buffer.capacity() <= FREE_BYTES {
            let message = self.buffer.get(self.start..end).unwrap_or_default().to_vec();
            self.start = end;
            return message;
        }
        let mut rest = Vec::with_capacity(FREE_BYTES);
        rest.extend_from_slice(self.buffer.get(end..).unwrap_or_default());
        let mut message = std::mem::replace(&mut self.buffer, rest);
        message.truncate(end);
        message.drain(..std::mem::take(&mut self.start));
        message
    }

    /// The client ends: well between two messages, and not within one.
    fn end<T>(&self) -> Result<Option<T>, SessionError> {
        if self.unread().is_empty() {
            return Ok(None);
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client ended within a message").into())
    }
}

// === impl Held ===

impl<Room> Held<Room> {
    async fn grow<I: Intake<Room = Room>>(&mut self, intake: &I, bytes: usize) -> Result<(), NotSafe> {
        self.room = None;
        self.room = Some(intake.room(bytes).await?);
        self.bytes = bytes;
        Ok(())
    }
}

/// For how many bytes to ask, when so many came of a message that has `least` at the least and `limit` at the most.
fn next_bytes(came: usize, least: usize, limit: usize) -> usize {
    let grown = came.saturating_mul(4);
    // Entries in one piece declare their length. Those in an array do not: it is hardly more than what came.
    let declares = least > came.saturating_mul(2);
    let wanted = match declares {
        true => (least + OPTIONS_BYTES).min(grown.max(TRUSTED_BYTES)),
        false => grown,
    };
    wanted.min(limit).max(came + 1)
}
