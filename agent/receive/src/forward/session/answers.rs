//! The answers of one connection: each when its message is safe, whichever is first.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::SessionError;
use crate::intake::{NotSafe, Safe};

/// A message that was handed on and is not known to be safe.
pub(super) struct Pending {
    ack: Option<Vec<u8>>,
    safe: Safe,
    /// Lets the next message be read once this one is safe.
    _permit: OwnedSemaphorePermit,
}

/// Messages that are not known to be safe, and answers to write.
struct Waiting {
    arrivals: mpsc::Receiver<Pending>,
    pending: Vec<Pending>,
    answers: Vec<u8>,
    /// Whether more messages may arrive.
    open: bool,
    lost: bool,
}

// === impl Pending ===

impl Pending {
    pub(super) fn new(ack: Option<Vec<u8>>, safe: Safe, permit: OwnedSemaphorePermit) -> Pending {
        Pending { ack, safe, _permit: permit }
    }
}

// === impl Waiting ===

impl Waiting {
    fn is_done(&self) -> bool {
        self.lost || (!self.open && self.pending.is_empty())
    }

    /// Ready when there is something to write, or it is done.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.open {
            match self.arrivals.poll_recv(context) {
                Poll::Ready(Some(message)) => self.pending.push(message),
                Poll::Ready(None) => self.open = false,
                Poll::Pending => break,
            }
        }
        let Waiting { pending, answers, lost, .. } = self;
        pending.retain_mut(|message| match message.safe.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => {
                answers.extend_from_slice(message.ack.as_deref().unwrap_or_default());
                false
            }
            Poll::Ready(Err(NotSafe)) => {
                *lost = true;
                false
            }
        });
        if self.answers.is_empty() && !self.is_done() { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// Writes answers until no more messages arrive and all are safe, or one is not.
pub(super) async fn answer<W: AsyncWrite + Unpin>(
    write: &mut W,
    arrivals: mpsc::Receiver<Pending>,
    limit: Duration,
) -> Result<(), SessionError> {
    let mut waiting = Waiting { arrivals, pending: Vec::new(), answers: Vec::new(), open: true, lost: false };
    loop {
        poll_fn(|context| waiting.poll(context)).await;
        if !waiting.answers.is_empty() {
            let written = timeout(limit, async {
                write.write_all(&waiting.answers).await?;
                write.flush().await
            });
            written.await.map_err(|_| SessionError::TimedOut { what: "read its answers", limit })??;
            waiting.answers.clear();
        }
        if waiting.lost {
            return Err(NotSafe.into());
        }
        if waiting.is_done() {
            return Ok(());
        }
    }
}
