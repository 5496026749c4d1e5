//! What the object tier asks of a store of objects, so that a test can stand in for one.
//!
//! Everything blocks, is bounded in time by who implements it, and may be repeated: what a repeat finds done is done.

use std::fmt;

/// A store of objects in one bucket. Keys are whole.
pub trait ObjectStore: Send + Sync {
    /// Stores an object unless there is one of this key.
    fn put_if_absent(&self, key: &str, bytes: Vec<u8>) -> Result<Put, ObjectError>;

    /// Stores an object in the place of the one with this entity tag.
    fn put_if_match(&self, key: &str, bytes: Vec<u8>, etag: &str) -> Result<Put, ObjectError>;

    /// An object, if it has at most `limit` bytes.
    fn get(&self, key: &str, limit: u64) -> Result<Object, ObjectError>;

    /// At most `length` bytes of an object from `offset` on; fewer where it ends before.
    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Vec<u8>, ObjectError>;

    /// Removes an object; one that is not there is removed.
    fn delete(&self, key: &str) -> Result<(), ObjectError>;

    /// Keys that begin with `prefix`, in their order, behind `after`, a thousand at the most. With `fold`, those that
    /// have a slash behind the prefix are told by what is before it alone.
    fn list(&self, prefix: &str, after: Option<&str>, fold: bool) -> Result<Listing, ObjectError>;
}

/// What became of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored, with this entity tag.
    Stored(String),
    /// The condition did not hold: nothing was written now. A repeat of a write that was stored hears this too.
    Refused,
}

/// An object as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its entity tag.
    pub etag: String,
}

/// A part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Objects: their keys and lengths.
    pub objects: Vec<(String, u64)>,
    /// What folded keys begin with, slash included.
    pub folders: Vec<String>,
    /// Where the next part begins, if there is more.
    pub next: Option<String>,
}

/// Why a store did not do it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ObjectError {
    /// What follows from it.
    pub kind: ObjectErrorKind,
    /// What failed, where, and what to do.
    pub message: String,
}

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectErrorKind {
    /// Another try may go well.
    Retry,
    /// It stays so until somebody changes something there or here.
    Refused,
    /// There is no such object.
    Missing,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("bytes", &self.bytes.len()).field("etag", &self.etag).finish()
    }
}
