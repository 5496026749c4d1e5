//! What is configured of a listener of Fluent Forward.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::secret::Secret;

/// How connections are served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest message in bytes, as it is sent and as it is when it is decompressed. At most 4 GiB.
    pub max_message: usize,
    /// How many messages of a connection may wait to be safe; then reading stops. At least 1.
    pub max_pending: usize,
    /// The key that clients share with the server. With it, or with users, a connection begins with the handshake.
    pub shared_key: Option<Secret>,
    /// Users who may send, with their passwords. None: nobody is asked.
    pub users: BTreeMap<String, Secret>,
    /// The server's name, as the handshake tells it to clients. They refuse a server with their own name.
    pub hostname: String,
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
    /// How long a message that was begun may wait for its next bytes.
    pub read_timeout: Duration,
    /// How long a message may take from its first byte to its last, without the waits for memory.
    pub message_timeout: Duration,
    /// How long a connection may be silent while none of its messages waits to be safe; twice as long at the most.
    pub idle_timeout: Duration,
    /// How long an answer may take to be written, and how long messages are waited for whose client has ended.
    pub write_timeout: Duration,
}

// === impl Settings ===

impl Settings {
    /// Whether connections begin with the handshake.
    pub fn wants_handshake(&self) -> bool {
        self.shared_key.is_some() || !self.users.is_empty()
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_message: 16 * 1024 * 1024,
            max_pending: 64,
            shared_key: None,
            users: BTreeMap::new(),
            hostname: String::from("weir"),
            handshake_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            message_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let settings = Settings {
            shared_key: Some(Secret::new("hush")),
            users: BTreeMap::from([(String::from("me"), Secret::new("hush"))]),
            ..Settings::default()
        };
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
