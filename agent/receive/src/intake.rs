//! The way from connections into the pipeline, and the answer back.

use std::future::Future;
use std::pin::Pin;

pub use weir_pipeline::source::Refusal;

use crate::documents::Documents;

/// A message on its way.
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

    /// Hands a message on. What becomes of it says [`Safe`]; one without documents is safe at once.
    fn push(&self, message: Message, room: Self::Room) -> Safe;

    /// Counts something that a client did wrong, or that was refused to it, by a short name such as `malformed`.
    fn count(&self, what: Refusal, events: u64);
}
