//! Reads the bodies of requests into memory that was granted before.
//!
//! 1. Before bytes are kept there is room for them. Room grows by doubling where a client does not say how much comes.
//! 2. Who holds room and needs more waits a bounded time, then gives all of it back. So no two wait for each other for
//!    ever.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{Instant, timeout};

use super::refused::Refused;
use crate::intake::Intake;

/// Room of a request whose size is not known.
pub(crate) const START_BYTES: usize = 64 * 1024;

/// The room that a request has.
pub(crate) struct Held<'a, I: Intake> {
    intake: &'a I,
    /// How long it may wait for more.
    patience: Duration,
    bytes: usize,
    room: Option<I::Room>,
}

/// A body that is being read.
pub(crate) struct Reading<B> {
    body: B,
    read: Vec<u8>,
    /// How long the client may still take.
    left: Duration,
}

// === impl Held ===

impl<'a, I: Intake> Held<'a, I> {
    /// None yet.
    pub(crate) fn new(intake: &'a I, patience: Duration) -> Held<'a, I> {
        Held { intake, patience, bytes: 0, room: None }
    }

    /// Waits until there is room for so many bytes.
    pub(crate) async fn cover(&mut self, bytes: usize) -> Result<(), Refused> {
        if bytes <= self.bytes && self.room.is_some() {
            return Ok(());
        }
        self.ask(bytes, self.patience).await
    }

    /// The room for so many bytes; what it was more is given back, if that can be done at once.
    pub(crate) async fn into_room(mut self, bytes: usize) -> Result<I::Room, Refused> {
        self.cover(bytes).await?;
        if self.bytes / 2 > bytes {
            let _ = self.ask(bytes, Duration::ZERO).await;
        }
        self.room.ok_or(Refused::Unsafe)
    }

    async fn ask(&mut self, bytes: usize, patience: Duration) -> Result<(), Refused> {
        let room = timeout(patience, self.intake.room(bytes)).await.map_err(|_| Refused::Busy)?;
        self.room = Some(room.map_err(|_| Refused::Unsafe)?);
        self.bytes = bytes;
        Ok(())
    }
}

// === impl Reading ===

impl<B: Body<Data = Bytes> + Unpin> Reading<B> {
    /// Nothing is read yet; the client has so much time to send all of it.
    pub(crate) fn new(body: B, time: Duration) -> Reading<B> {
        Reading { body, read: Vec::new(), left: time }
    }

    /// How many bytes the client says that it sends.
    pub(crate) fn declared(&self) -> Option<usize> {
        self.body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok())
    }

    /// Reads until there are at least so many bytes, or up to the end; returns what is there. That is at most a frame
    /// more than was asked for, and needs no room.
    pub(crate) async fn first(&mut self, bytes: usize) -> Result<&[u8], Refused> {
        while self.read.len() < bytes {
            let Some(data) = self.frame().await? else { break };
            self.read.extend_from_slice(&data);
        }
        Ok(&self.read)
    }

    /// Reads all that is left; at most `limit` bytes together with what was read before.
    pub(crate) async fn rest<I: Intake>(
        &mut self,
        limit: usize,
        held: &mut Held<'_, I>,
    ) -> Result<(), Refused> {
        while let Some(data) = self.frame().await? {
            let len = self.read.len() + data.len();
            if len > limit {
                return Err(Refused::TooLarge(format!(
                    "the body has more than {limit} bytes; send less at once"
                )));
            }
            if len > held.bytes {
                held.cover(len.max(2 * held.bytes).min(limit)).await?;
            }
            self.reserve(len, held.bytes);
            self.read.extend_from_slice(&data);
        }
        Ok(())
    }

    /// What was read.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.read
    }

    /// Allocates no more than there is room for.
    fn reserve(&mut self, len: usize, room: usize) {
        if len > self.read.capacity() {
            let wanted = (2 * len).min(room).max(len);
            self.read.reserve_exact(wanted - self.read.len());
        }
    }

    /// The next bytes; `None` at the end. What the agent itself takes to find room is not the client's time.
    async fn frame(&mut self) -> Result<Option<Bytes>, Refused> {
        let asked = Instant::now();
        let frame = timeout(self.left, self.body.frame()).await.map_err(|_| Refused::TooSlow)?;
        self.left = self.left.saturating_sub(asked.elapsed());
        match frame {
            None => Ok(None),
            Some(Err(_)) => Err(Refused::Broken),
            // Trailers say nothing; behind them nothing comes.
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
        }
    }
}
