//! The way from connections into the pipeline, and the answer back.

use std::future::Future;
use std::pin::Pin;

pub use weir_pipeline::source::Refusal;

use weir_samples::receive::Samples;

use crate::documents::Documents;

/// What connections hand on.
#[derive(Debug)]
pub enum Parcel {
    /// Events.
    Events(Message),
    /// Samples of metrics.
    Samples(SampleMessage),
}

/// A message with events.
#[derive(Debug)]
pub struct Message {
    /// What it decoded to.
    pub documents: Documents,
    /// Where it came from, for the document's `log.tag`; empty where there is no such thing.
    pub tag: String,
    /// What tells it from all others, also when it is sent again: the hash of its chunk's name or of its content.
    /// `None` for one that its sender cannot send again as the same.
    pub key: Option<u64>,
}

/// A message with samples.
#[derive(Debug)]
pub struct SampleMessage {
    /// What it decoded to.
    pub samples: Samples,
    /// What tells its bytes from those of all others.
    pub key: u64,
}

/// The message is not safe, and will not be: it must be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the agent ends, or could not make the message safe; send it again")]
pub struct NotSafe;

/// Says when a message is safe. To let go of it changes nothing for the message.
pub type Safe = Pin<Box<dyn Future<Output = Result<(), NotSafe>> + Send>>;

/// Where connections put messages. Memory is bounded: who has room for a message may read and decode it.
pub trait Intake: Clone + Send + Sync + 'static {
    /// What a connection holds while it has a message in memory.
    type Room: Send + 'static;

    /// Waits until there is memory for a message of so many bytes, as it was read. Cancelling is harmless.
    fn room(&self, bytes: usize) -> impl Future<Output = Result<Self::Room, NotSafe>> + Send;

    /// Hands a message on. What becomes of it says [`Safe`]; one without events and samples is safe at once.
    fn push(&self, parcel: Parcel, room: Self::Room) -> Safe;

    /// Counts something that a client did wrong, or that was refused to it, by a short name such as `malformed`.
    fn count(&self, what: Refusal, events: u64);
}

// === impl Parcel ===

impl Parcel {
    /// What tells it from all others; `None` for one that its sender cannot send again as the same.
    pub fn key(&self) -> Option<u64> {
        match self {
            Parcel::Events(message) => message.key,
            Parcel::Samples(message) => Some(message.key),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Parcel::Events(message) => message.documents.is_empty(),
            Parcel::Samples(message) => message.samples.is_empty(),
        }
    }
}

impl From<Message> for Parcel {
    fn from(message: Message) -> Parcel {
        Parcel::Events(message)
    }
}

impl From<SampleMessage> for Parcel {
    fn from(message: SampleMessage) -> Parcel {
        Parcel::Samples(message)
    }
}
