//! Who we are to a registry: its challenge, and the token service that it names.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use crate::body;
use crate::credentials::Credential;
use crate::error::Error;

/// Tokens have a few KiB.
const MAX_TOKEN_BYTES: usize = 64 << 10;

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token of this service.
    Bearer { realm: String, service: Option<String> },
}

/// A token service's answer; the field has two names.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// What it takes to answer a challenge.
pub(crate) struct Exchange<'a> {
    pub http: &'a reqwest::Client,
    pub registry: &'a str,
    /// Of the connection to the registry.
    pub scheme: &'a str,
    pub credential: Option<&'a Credential>,
    pub timeout: Duration,
}

// === impl Challenge ===

impl Challenge {
    /// Reads `WWW-Authenticate`; `None` where it is of no kind that is known.
    pub(crate) fn parse(header: &str) -> Option<Challenge> {
        let (kind, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if kind.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !kind.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameter = |wanted: &str| {
            parameters_of(parameters).into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))
        };
        let realm = parameter("realm")?.1;
        Some(Challenge::Bearer { realm, service: parameter("service").map(|(_, value)| value) })
    }
}

/// `a="b,c",d=e`: values may be quoted, and hold commas then.
fn parameters_of(text: &str) -> Vec<(String, String)> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_owned();
        let (value, behind) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((name, value.trim().to_owned()));
        rest = behind;
    }
    found
}

// === impl Exchange ===

impl Exchange<'_> {
    /// The `Authorization` for a challenge; `None` where we have nothing that answers it.
    pub(crate) async fn answer(
        &self,
        challenge: &Challenge,
        scope: &str,
    ) -> Result<Option<HeaderValue>, Error> {
        match (challenge, self.credential) {
            (Challenge::Basic, Some(Credential::Password { username, password })) => {
                Ok(secret("Basic", &STANDARD.encode(format!("{username}:{password}"))))
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer { .. }, Some(Credential::RegistryToken(token))) => Ok(secret("Bearer", token)),
            (Challenge::Bearer { realm, service }, _) => {
                let token = self.fetch(realm, service.as_deref(), scope).await?;
                Ok(secret("Bearer", &token))
            }
        }
    }

    async fn fetch(&self, realm: &str, service: Option<&str>, scope: &str) -> Result<String, Error> {
        let problem = |problem: &str| Error::Protocol {
            registry: self.registry.to_owned(),
            problem: problem.to_owned(),
        };
        let mut url =
            Url::parse(realm).map_err(|_| problem("the realm of its token service is no address"))?;
        if url.scheme() != "https" && url.scheme() != self.scheme {
            return Err(problem("its token service speaks plain HTTP and it does not"));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut parameters = vec![("scope", scope)];
        parameters.extend(service.map(|service| ("service", service)));
        let request = match self.credential {
            // A token that is exchanged goes in the body, where no log has it.
            Some(Credential::IdentityToken(token)) => {
                parameters.extend([
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token),
                    ("client_id", "weir"),
                ]);
                let form = encoded(&url, &parameters);
                self.http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
            }
            Some(Credential::Password { username, password }) => {
                url.query_pairs_mut().extend_pairs(&parameters);
                self.http.get(url).basic_auth(username, Some(password))
            }
            _ => {
                url.query_pairs_mut().extend_pairs(&parameters);
                self.http.get(url)
            }
        };
        let response = request.timeout(self.timeout).send().await;
        let response = response.map_err(|error| body::unreachable(&host, &error))?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                return Err(denied(&host, self.credential, response).await);
            }
            status => {
                let message = body::message(response).await;
                return Err(Error::Failing { registry: host, status: status.as_u16(), message });
            }
        }
        let body = body::read(response, MAX_TOKEN_BYTES, "the token", &host).await?;
        // The parser's message could show a token.
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|_| problem("its token service gives no JSON"))?;
        let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token);
        token.ok_or_else(|| problem("its token service gives no token"))
    }
}

/// A refusal, with who was refused and what to do about it.
pub(crate) async fn denied(registry: &str, credential: Option<&Credential>, response: Response) -> Error {
    let who = credential.map_or_else(|| "nobody in particular".to_owned(), Credential::who);
    let help = match credential {
        None => "give credentials for it",
        Some(_) => "look whether the credentials are right, have not expired and may do this",
    };
    let status = response.status().as_u16();
    Error::Denied { registry: registry.to_owned(), who, status, message: body::message(response).await, help }
}

/// A form as a query is one.
fn encoded(url: &Url, parameters: &[(&str, &str)]) -> String {
    let mut form = url.clone();
    form.set_query(None);
    form.query_pairs_mut().extend_pairs(parameters);
    form.query().unwrap_or_default().to_owned()
}

/// A header that is not shown; `None` where the secret cannot stand in a header.
fn secret(kind: &str, secret: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{kind} {secret}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        for (header, expected) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            ("Bearer realm=\"https://t/x\",service=\"s\",scope=\"a,b\"", bearer("https://t/x", Some("s"))),
            ("bearer scope=\"realm=1,2\", realm=\"https://t\"", bearer("https://t", None)),
            ("Bearer realm=https://t", bearer("https://t", None)),
            ("Bearer service=\"s\"", None),
            ("Bearer realm=\"open", bearer("open", None)),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }

    #[test]
    fn a_form_is_encoded() {
        let url = Url::parse("https://t/x?y=z").unwrap();
        assert_eq!(encoded(&url, &[("a", "1 &=")]), "a=1+%26%3D");
    }
}
