//! Who may send (RFC 7617, RFC 6750).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};

use crate::secret::Secret;

/// What clients must send in the header `authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Bearer` and this token.
    Bearer(Secret),
    /// `Basic` and this user and password, as [`Auth::basic`] puts them together.
    Basic(Secret),
}

// === impl Auth ===

impl Auth {
    /// A user and a password. The user's name has no colon in it.
    pub fn basic(username: &str, password: &str) -> Auth {
        Auth::Basic(Secret::new(format!("{username}:{password}")))
    }

    /// Whether a request has it. How long that takes does not depend on where it differs.
    pub(crate) fn is_given(&self, headers: &HeaderMap) -> bool {
        match self {
            Auth::Bearer(token) => has_bearer(headers, token),
            Auth::Basic(known) => {
                let given = credentials(headers, b"basic ").and_then(|text| STANDARD.decode(text).ok());
                given.is_some_and(|given| known.is(&given))
            }
        }
    }

    /// What a client without it is asked for.
    pub(crate) fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Auth::Bearer(_) => "Bearer",
            Auth::Basic(_) => "Basic realm=\"weir\", charset=\"UTF-8\"",
        })
    }
}

/// Whether a request has this bearer token.
pub(crate) fn has_bearer(headers: &HeaderMap, token: &Secret) -> bool {
    credentials(headers, b"bearer ").is_some_and(|given| token.is(given))
}

/// What stands behind the scheme, which is given in small letters with its space.
fn credentials<'a>(headers: &'a HeaderMap, scheme: &[u8]) -> Option<&'a [u8]> {
    let given = headers.get(AUTHORIZATION)?.as_bytes();
    let (name, credentials) = given.split_at_checked(scheme.len())?;
    name.eq_ignore_ascii_case(scheme).then(|| credentials.trim_ascii())
}
