//! Who may use an object: its own agent, or the one that took it over.
//!
//! 1. An agent that was heard of not long ago uses its own objects without asking. Another takes over only what
//!    belongs to one that has not been heard of for longer than that.
//! 2. Whatever may belong to somebody else by now is claimed before it is read: of all who try, one has it.

use crate::object::ObjectError;

/// Decides for the objects of one store.
pub trait Fence: Send + Sync {
    /// Whether this object may be read. Blocks; asks the store where it must. An error says that nothing is known yet.
    fn may_read(&self, key: &str) -> Result<Use, ObjectError>;

    /// Whether objects may be stored and removed now without asking.
    fn is_sure(&self) -> bool;
}

/// What may be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is this agent's, and nobody else can have it.
    Own,
    /// It is this agent's by its claim: if it is gone, somebody had it before.
    Claimed,
    /// Another agent has it.
    HandedOver,
}
