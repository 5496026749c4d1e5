//! What sources over HTTP have in common: connections, bodies within memory that was granted, who may send.

pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod refused;
#[cfg(test)]
pub(crate) mod testing;

pub use auth::Auth;
pub use connection::ConnectionError;
