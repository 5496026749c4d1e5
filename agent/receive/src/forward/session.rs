//! One connection, from its first byte to its last.
//!
//! Reading and answering run side by side in one task: a client that sends and does not read its answers is still read, and
//! a message is answered while the next one comes. When either ends, the other has its last word and the connection closes.
//!
//! 1. A message is answered when it is safe; in the order in which messages become safe.
//! 2. A connection has [`Settings::max_pending`] messages that are not safe; then it is not read.
//! 3. A connection uses [`FREE_BYTES`] to read. For a larger message, and for each that is decoded, it holds room.
//! 4. To let go of the future at any place gives all room back: what is decoded on another thread holds its own.
//! 5. When a message cannot be made safe the connection closes without an answer to it: the client sends it again.

mod answers;
mod incoming;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::handshake::{Challenge, Denied, MAX_PING_BYTES, NoRandomness};
use super::message::{self, Envelope};
use super::msgpack::Fault;
use super::settings::Settings;
use crate::intake::{Intake, Message, NotSafe, Refusal};

use answers::{Pending, answer};
use incoming::{Incoming, Received};

pub use incoming::FREE_BYTES;

/// How long messages may still become safe behind one that is refused, and how long a client may take to see the end.
const LAST_WORD: Duration = Duration::from_secs(1);
/// From so many bytes on, a message is decoded on a thread for work: it takes longer than a reactor should wait.
const LARGE_BYTES: usize = 256 * 1024;

/// Why a connection ended, if not by its client or because it should stop.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection broke, or its client went within a message.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// What came is no message that can be taken.
    #[error(transparent)]
    Message(#[from] message::Error),
    /// The client took too long.
    #[error("the client took more than {limit:?} to {what}")]
    TimedOut {
        /// What it should have done.
        what: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// The client is not one that may send.
    #[error("the client is refused: {0}")]
    Denied(#[from] Denied),
    /// A message could not be made safe.
    #[error(transparent)]
    NotSafe(#[from] NotSafe),
    /// Nobody can be authenticated.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

// === impl SessionError ===

impl SessionError {
    /// What is counted of it; `None` where the client did nothing wrong.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            SessionError::Message(error) => Some(match error {
                message::Error::Fault(Fault::TooLarge { .. }) | message::Error::TooLarge { .. } => {
                    Refusal::TooLarge
                }
                message::Error::Unsupported(_) => Refusal::Unsupported,
                _ => Refusal::Malformed,
            }),
            SessionError::TimedOut { .. } => Some(Refusal::TimedOut),
            SessionError::Denied(_) => Some(Refusal::Unauthorized),
            SessionError::Io(_) | SessionError::NotSafe(_) | SessionError::NoRandomness(_) => None,
        }
    }
}

impl From<Fault> for SessionError {
    fn from(fault: Fault) -> SessionError {
        SessionError::Message(fault.into())
    }
}

/// Serves a connection until its client ends it, it fails, or `stop` becomes true: then no further message is read, and
/// those that were are waited for and answered. How long that may take is the caller's business.
///
/// What is refused is counted once, as one event: how many a refused message holds is not known.
///
/// Cancelling is harmless: messages that were handed on go on, and their clients get no answer.
pub async fn serve<S, I>(
    stream: S,
    settings: Arc<Settings>,
    intake: I,
    mut stop: watch::Receiver<bool>,
) -> Result<(), SessionError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    I: Intake,
{
    let (read, write) = tokio::io::split(stream);
    let mut session = Session { incoming: Incoming::new(read), write, settings: &settings, intake: &intake };
    let served = session.run(&mut stop).await;
    if let Err(error) = &served
        && let Some(refusal) = error.refusal()
    {
        intake.count(refusal, 1);
    }
    if !matches!(served, Err(SessionError::Io(_))) {
        session.close().await;
    }
    served
}

struct Session<'a, S, I> {
    incoming: Incoming<ReadHalf<S>>,
    write: WriteHalf<S>,
    settings: &'a Settings,
    intake: &'a I,
}

/// Why reading ended, if all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client sends no more.
    Client,
    /// It was told to.
    Stop,
}

// === impl Session ===

impl<S: AsyncRead + AsyncWrite + Unpin + Send, I: Intake> Session<'_, S, I> {
    async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), SessionError> {
        if self.settings.wants_handshake() {
            let limit = self.settings.handshake_timeout;
            let handshake = async {
                let shaken = timeout(limit, self.shake_hands()).await;
                shaken.unwrap_or(Err(SessionError::TimedOut { what: "authenticate itself", limit }))
            };
            // Where the client went, or the server goes, nothing is pending.
            let shaken = unless_stopped(stop, handshake).await.unwrap_or(Ok(false))?;
            if !shaken {
                return Ok(());
            }
        }
        self.take_messages(stop).await
    }

    /// False where the client goes instead.
    async fn shake_hands(&mut self) -> Result<bool, SessionError> {
        let challenge = Challenge::new(self.settings)?;
        self.write.write_all(&challenge.hello()).await?;
        self.write.flush().await?;
        let Some(ping) = self.incoming.small_message(MAX_PING_BYTES).await? else { return Ok(false) };
        let verdict = challenge.judge(&ping)?;
        self.write.write_all(&verdict.pong).await?;
        self.write.flush().await?;
        verdict.client?;
        Ok(true)
    }

    async fn take_messages(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), SessionError> {
        let Session { incoming, write, settings, intake } = self;
        let (pending, arrivals) = mpsc::channel(settings.max_pending.max(1));
        let mut answering = std::pin::pin!(answer(write, arrivals, settings.write_timeout));
        let reading = read_messages(incoming, settings, *intake, stop, pending);
        let ended = tokio::select! {
            // It ends by itself only where it fails: no more can be promised to the client.
            answered = &mut answering => return answered,
            ended = reading => ended,
        };
        match ended {
            Ok(End::Stop) => answering.await,
            // Its answers are for nobody, unless only its half of the connection is closed.
            Ok(End::Client) => timeout(settings.write_timeout, answering).await.unwrap_or(Ok(())),
            Err(SessionError::Io(error)) => Err(error.into()),
            Err(error) => {
                let _ = timeout(LAST_WORD, answering).await;
                Err(error)
            }
        }
    }

    /// Ends the connection so that the last answers arrive: a socket that is closed while it has bytes to read makes the
    /// system throw away what its peer has not read.
    async fn close(&mut self) {
        let _ = timeout(LAST_WORD, async {
            self.write.shutdown().await?;
            let mut bytes = [0; 1024];
            while self.incoming.source().read(&mut bytes).await? > 0 {}
            io::Result::Ok(())
        })
        .await;
    }
}

/// Reads, decodes and hands on, until there is nothing more to read.
async fn read_messages<R: AsyncRead + Unpin, I: Intake>(
    incoming: &mut Incoming<R>,
    settings: &Settings,
    intake: &I,
    stop: &mut watch::Receiver<bool>,
    pending: mpsc::Sender<Pending>,
) -> Result<End, SessionError> {
    let permits = Arc::new(Semaphore::new(settings.max_pending.max(1)));
    incoming.set_limit(settings.max_message);
    loop {
        let next = async {
            // The semaphore is not closed.
            let permit = Arc::clone(&permits).acquire_owned().await.map_err(|_| NotSafe)?;
            let is_idle = || permits.available_permits() + 1 >= settings.max_pending;
            let received = incoming.message(settings, intake, is_idle).await?;
            Ok::<_, SessionError>(received.map(|received| (received, permit)))
        };
        let Some(next) = unless_stopped(stop, next).await else { return Ok(End::Stop) };
        let Some((received, permit)) = next? else { return Ok(End::Client) };
        let Some((message, ack, room)) = decode(received, settings.max_message, intake).await? else {
            continue;
        };
        let safe = intake.push(message.into(), room);
        // There is a permit, so there is a place; who answers is gone only with this future.
        let _ = pending.send(Pending::new(ack, safe, permit)).await;
    }
}

/// The documents of a message, its answer and the room for it; nothing for a bare `nil`.
async fn decode<I: Intake>(
    received: Received<I::Room>,
    limit: usize,
    intake: &I,
) -> Result<Option<(Message, Option<Vec<u8>>, I::Room)>, SessionError> {
    let Received { bytes, frame, mut room } = received;
    let Some(envelope) = Envelope::read(&bytes, &frame)? else { return Ok(None) };
    let entry_bytes = envelope.entry_bytes().min(limit);
    if entry_bytes > bytes.len() {
        // The smaller room goes first: who waits for more while holding some can wait for one that does the same.
        drop(room);
        room = intake.room(entry_bytes).await?;
    }
    if bytes.len().max(entry_bytes) <= LARGE_BYTES {
        return Ok(Some((envelope.decode(limit)?, envelope.ack(), room)));
    }
    let work = move || {
        let decoded = Envelope::read(&bytes, &frame)?
            .map(|envelope| Ok((envelope.decode(limit)?, envelope.ack())))
            .transpose();
        decoded.map(|decoded: Option<(Message, Option<Vec<u8>>)>| {
            decoded.map(|(message, ack)| (message, ack, room))
        })
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(decoded) => decoded.map_err(SessionError::Message),
        // The runtime ends.
        Err(_) => Err(NotSafe.into()),
    }
}

/// What `work` makes, or nothing once `stop` is true. An owner that is gone does not say stop.
async fn unless_stopped<T>(stop: &mut watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    let stopped = async {
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = stopped => None,
        done = work => Some(done),
    }
}

#[cfg(test)]
mod tests;
