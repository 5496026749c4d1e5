//! The handshake: the server greets with a nonce, the client proves that it knows the shared key, the server proves the same
//! ("Handshake messages" in the specification).
//!
//! | message | form |
//! |---|---|
//! | HELO | `["HELO", {nonce, auth, keepalive}]` |
//! | PING | `["PING", hostname, shared_key_salt, shared_key_digest, username, password_digest]` |
//! | PONG | `["PONG", accepted, reason, hostname, shared_key_digest]` |
//!
//! 1. A nonce and a salt are used for one connection.
//! 2. Digests are compared in constant time, and an unknown user takes the time of a known one.
//! 3. What is refused does not say whether the user or the password is wrong, and proves nothing of the server.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use rmp::encode as rmp_encode;

use super::message::Error;
use super::msgpack::{Head, Reader};
use super::settings::Settings;
use crate::secret::Secret;

/// Largest PING in bytes: two digests of 128 characters, a salt, and two names.
pub const MAX_PING_BYTES: usize = 4 * 1024;
/// Random bytes of a nonce and of a salt. They are sent as text: some clients end them at a zero byte.
const RANDOM_BYTES: usize = 18;

/// What one connection is asked.
pub struct Challenge<'a> {
    settings: &'a Settings,
    nonce: String,
    /// Empty where no user is asked for.
    auth_salt: String,
}

/// What a PING is answered.
#[derive(Debug)]
pub struct Verdict {
    /// The PONG, to be sent in either case.
    pub pong: Vec<u8>,
    /// The client's own name, or why it is refused.
    pub client: Result<String, Denied>,
}

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Its shared key is not the server's.
    #[error("shared_key mismatch")]
    SharedKey,
    /// There is no such user, or with another password.
    #[error("username/password mismatch")]
    User,
}

/// The system gives no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers, without which nobody can be authenticated")]
pub struct NoRandomness;

/// What a client says of itself.
struct Ping<'a> {
    hostname: &'a [u8],
    shared_key_salt: &'a [u8],
    shared_key_digest: &'a [u8],
    username: &'a [u8],
    password_digest: &'a [u8],
}

// === impl Challenge ===

impl<'a> Challenge<'a> {
    /// A new one for a new connection.
    pub fn new(settings: &'a Settings) -> Result<Challenge<'a>, NoRandomness> {
        let nonce = random_text()?;
        let auth_salt = if settings.users.is_empty() { String::new() } else { random_text()? };
        Ok(Challenge { settings, nonce, auth_salt })
    }

    /// The HELO.
    pub fn hello(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Writing to memory cannot fail. What is random goes as bytes, as fluentd sends it.
        let _ = rmp_encode::write_array_len(&mut out, 2)
            .and_then(|_| rmp_encode::write_str(&mut out, "HELO"))
            .and_then(|()| rmp_encode::write_map_len(&mut out, 3).map(drop))
            .and_then(|()| rmp_encode::write_str(&mut out, "nonce"))
            .and_then(|()| rmp_encode::write_bin(&mut out, self.nonce.as_bytes()))
            .and_then(|()| rmp_encode::write_str(&mut out, "auth"))
            .and_then(|()| match self.auth_salt.as_bytes() {
                b"" => rmp_encode::write_str(&mut out, ""),
                salt => rmp_encode::write_bin(&mut out, salt),
            })
            .and_then(|()| rmp_encode::write_str(&mut out, "keepalive"));
        out.push(0xc3);
        out
    }

    /// Judges a PING: one whole value.
    pub fn judge(&self, ping: &[u8]) -> Result<Verdict, Error> {
        let ping = Ping::read(ping)?;
        let judged = self.check(&ping);
        let reason = judged.err().map_or_else(String::new, |denied| denied.to_string());
        let (hostname, digest) = match judged {
            Ok(()) => {
                let hostname = self.settings.hostname.as_str();
                (hostname, self.shared_key_digest(ping.shared_key_salt, hostname.as_bytes()))
            }
            Err(_) => ("", String::new()),
        };
        let mut pong = Vec::new();
        let _ = rmp_encode::write_array_len(&mut pong, 5)
            .and_then(|_| rmp_encode::write_str(&mut pong, "PONG"))
            .and_then(|()| {
                pong.push(if judged.is_ok() { 0xc3 } else { 0xc2 });
                rmp_encode::write_str(&mut pong, &reason)
            })
            .and_then(|()| rmp_encode::write_str(&mut pong, hostname))
            .and_then(|()| rmp_encode::write_str(&mut pong, &digest));
        let client = judged.map(|()| String::from_utf8_lossy(ping.hostname).into_owned());
        Ok(Verdict { pong, client })
    }

    fn check(&self, ping: &Ping<'_>) -> Result<(), Denied> {
        let expected = self.shared_key_digest(ping.shared_key_salt, ping.hostname);
        verify_slices_are_equal(expected.as_bytes(), ping.shared_key_digest)
            .map_err(|_| Denied::SharedKey)?;
        if self.settings.users.is_empty() {
            return Ok(());
        }
        let known = std::str::from_utf8(ping.username).ok().and_then(|name| self.settings.users.get(name));
        let password = known.map(Secret::bytes).unwrap_or_default();
        let expected = hex_digest(&[self.auth_salt.as_bytes(), ping.username, password]);
        let equal = verify_slices_are_equal(expected.as_bytes(), ping.password_digest).is_ok();
        if equal && known.is_some() { Ok(()) } else { Err(Denied::User) }
    }

    fn shared_key_digest(&self, salt: &[u8], hostname: &[u8]) -> String {
        let key = self.settings.shared_key.as_ref().map(Secret::bytes).unwrap_or_default();
        hex_digest(&[salt, hostname, self.nonce.as_bytes(), key])
    }
}

impl std::fmt::Debug for Challenge<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Challenge").finish_non_exhaustive()
    }
}

// === impl Ping ===

impl<'a> Ping<'a> {
    fn read(bytes: &'a [u8]) -> Result<Ping<'a>, Error> {
        let mut reader = Reader::new(bytes);
        let Head::Array(6..) = reader.head()? else {
            return Err(Error::Unexpected("this source has a shared key or users: a PING comes first"));
        };
        let mut next = || reader.text()?.ok_or(Error::Unexpected("a PING is made of strings"));
        if next()? != b"PING" {
            return Err(Error::Unexpected("this source has a shared key or users: a PING comes first"));
        }
        Ok(Ping {
            hostname: next()?,
            shared_key_salt: next()?,
            shared_key_digest: next()?,
            username: next()?,
            password_digest: next()?,
        })
    }
}

fn random_text() -> Result<String, NoRandomness> {
    let mut bytes = [0; RANDOM_BYTES];
    OsRng.try_fill_bytes(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(STANDARD_NO_PAD.encode(bytes))
}

/// SHA-512 of all parts, one behind another, as small hexadecimal digits.
fn hex_digest(parts: &[&[u8]]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut context = Context::new(&SHA512);
    parts.iter().for_each(|part| context.update(part));
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from);
    let digest = context.finish();
    digest.as_ref().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
pub(super) mod tests;
