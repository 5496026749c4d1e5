//! What several targets share.
#![allow(dead_code, unused_imports)]

#[path = "common/batch.rs"]
mod batch;
#[path = "common/documents.rs"]
mod documents;
#[path = "common/handled.rs"]
mod handled;

pub use batch::batch;
pub use documents::{check_documents, is_beyond, is_json};
pub use handled::{check_handled, check_message};
