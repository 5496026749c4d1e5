//! The client: requests through the `opensearch` crate, to several endpoints, with secrets that may change.
//!
//! 1. Secrets and certificates are read off the reactor before the first request, again every few seconds, and at once
//!    after OpenSearch did not accept them. What cannot be read fails the request; nothing is dropped for it.
//! 2. An endpoint that fails is left out for a while, unless no other is left.
//! 3. An answer has a length, and is not read if that is too large; so no answer takes the agent's memory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use opensearch::auth::{ClientCertificate, Credentials};
use opensearch::cert::{Certificate, CertificateValidation};
use opensearch::http::headers::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue,
    RETRY_AFTER,
};
use opensearch::http::response::Response;
use opensearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use opensearch::http::{Method, Url};
use tokio::time::Instant;

use crate::bulk::{FILTER_PATH, shortened};
use crate::exchange::{Answer, Exchange};
use crate::outcome::{Failure, failure};
use crate::pace::pause;
use crate::settings::{Auth, Secret, Settings, Tls};

/// How often secrets and certificates are read again.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Largest answer: a request's items at their longest, several times over.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
/// Secrets and certificates may be this long.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What keeps the client from asking.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An endpoint that is no URL.
    #[error("{url} is no URL: {reason}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A secret or certificate that cannot be read.
    #[error("cannot read {what} {path}: {reason}")]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Where it should be.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A certificate or key that is none.
    #[error("{what} {path} is not usable: {reason}")]
    Unusable {
        /// What it is.
        what: &'static str,
        /// Where it is.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Nobody takes connections.
    #[error("{0}")]
    NoConnection(String),
    /// No answer, or none in time.
    #[error("{0}")]
    Unreachable(String),
    /// An answer that is too large to be read, or has no length.
    #[error("the answer {0}")]
    Answer(String),
}

/// Asks OpenSearch.
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    urls: Vec<Url>,
    tls: Tls,
    auth: Auth,
    timeout: Duration,
    session: tokio::sync::Mutex<Option<Arc<Session>>>,
    must_look: AtomicBool,
    round: Mutex<Round>,
}

/// What is made of the secrets and certificates as they were read.
struct Session {
    material: Material,
    looked: Instant,
    /// One for each endpoint.
    transports: Vec<Transport>,
    authorization: Option<HeaderValue>,
}

/// Secrets and certificates.
#[derive(Clone, Default, PartialEq, Eq)]
struct Material {
    ca: Vec<u8>,
    identity: Vec<u8>,
    secret: String,
}

/// Whose turn it is.
struct Round {
    next: usize,
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Default)]
struct Endpoint {
    failures: u32,
    out_until: Option<Instant>,
}

// === impl Client ===

impl Client {
    /// A client of these settings. Nothing is read or connected.
    pub fn new(settings: &Settings) -> Result<Client, ClientError> {
        let url = |text: &String| {
            Url::parse(text)
                .map_err(|error| ClientError::Url { url: text.clone(), reason: error.to_string() })
        };
        let urls: Vec<Url> = settings.endpoints.iter().map(url).collect::<Result<_, _>>()?;
        let endpoints = vec![Endpoint::default(); urls.len()];
        Ok(Client {
            shared: Arc::new(Shared {
                urls,
                tls: settings.tls.clone(),
                auth: settings.auth.clone(),
                timeout: settings.timeout,
                session: tokio::sync::Mutex::new(None),
                must_look: AtomicBool::new(false),
                round: Mutex::new(Round { next: 0, endpoints }),
            }),
        })
    }

    /// Asks the first endpoint that answers, and returns the status and the body.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<(u16, Bytes), ClientError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = self.shared.send(method, path, headers, None, body).await?;
        let status = response.status_code().as_u16();
        Ok((status, read(response).await?))
    }
}

impl Exchange for Client {
    fn bulk(&self, body: Bytes, is_gzip: bool) -> Answer {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.bulk(body, is_gzip).await })
    }

    fn renew(&self) {
        self.shared.must_look.store(true, Ordering::Relaxed);
    }
}

// === impl Shared ===

impl Shared {
    async fn bulk(&self, body: Bytes, is_gzip: bool) -> Result<Bytes, Failure> {
        let unknown = |error: ClientError| match error {
            ClientError::NoConnection(said) => Failure::NoConnection(said),
            error => Failure::Unknown(error.to_string()),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        if is_gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let query = [("filter_path", FILTER_PATH)];
        let response =
            self.send(Method::Post, "_bulk", headers, Some(&query), Some(body)).await.map_err(unknown)?;
        let status = response.status_code().as_u16();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        if (200..300).contains(&status) {
            return read(response).await.map_err(unknown);
        }
        let said = read(response).await.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        // A proxy may say 400 to anything; only OpenSearch says it of the documents.
        if status == 400 && !said.contains("\"error\"") {
            return Err(Failure::Unknown(format!("HTTP 400: {}", shortened(&said))));
        }
        Err(failure(status, retry_after.map(Duration::from_secs), shortened(&said)))
    }

    /// Sends to the endpoint whose turn it is, and to the others when it cannot be reached.
    async fn send(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        query: Option<&[(&str, &str)]>,
        body: Option<Bytes>,
    ) -> Result<Response, ClientError> {
        let session = self.session().await?;
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // Compressed answers come without a length.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(authorization) = &session.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let mut tried = 0;
        loop {
            let at = self.round().turn(Instant::now());
            let Some(transport) = session.transports.get(at) else {
                return Err(ClientError::Unreachable("there is no endpoint".to_owned()));
            };
            tried += 1;
            let sent = transport.send(method, path, headers.clone(), query, body.clone(), Some(self.timeout));
            // The transport's own limit ends with the answer's head or body; this one ends whatever happens.
            let patience = self.timeout + Duration::from_secs(1);
            let mut is_connected = true;
            let error = match tokio::time::timeout(patience, sent).await {
                Ok(Ok(response)) => {
                    let is_well = !matches!(response.status_code().as_u16(), 500 | 502..=504);
                    self.round().answered(at, is_well, Instant::now());
                    return Ok(response);
                }
                Ok(Err(error)) => {
                    is_connected = !is_no_connection(&error);
                    chain(&error)
                }
                Err(_) => format!("no answer within {} s", self.timeout.as_secs()),
            };
            self.round().answered(at, false, Instant::now());
            if tried >= session.transports.len() || !self.round().has_other(Instant::now()) {
                let url = self.urls.get(at).map(shown).unwrap_or_default();
                let said = format!("{url}: {error}");
                return Err(match is_connected {
                    true => ClientError::Unreachable(said),
                    false => ClientError::NoConnection(said),
                });
            }
        }
    }

    /// The session, with secrets and certificates as they are now.
    async fn session(&self) -> Result<Arc<Session>, ClientError> {
        let mut session = self.session.lock().await;
        let now = Instant::now();
        let must_look = self.must_look.swap(false, Ordering::Relaxed);
        if let Some(known) = &*session
            && !must_look
            && now.duration_since(known.looked) < LOOK_EVERY
        {
            return Ok(Arc::clone(known));
        }
        let (tls, auth) = (self.tls.clone(), self.auth.clone());
        let reading = tokio::task::spawn_blocking(move || Material::read(&tls, &auth));
        let read = reading.await.unwrap_or_else(|error| Err(ClientError::Unreachable(error.to_string())));
        let material = match (read, &*session) {
            (Ok(material), _) => material,
            // A file that is being replaced is there again at the next look.
            (Err(_), Some(known)) if !must_look => known.material.clone(),
            (Err(error), _) => return Err(error),
        };
        let is_same_peer = |known: &&Arc<Session>| {
            known.material.ca == material.ca && known.material.identity == material.identity
        };
        let transports = match session.as_ref().filter(is_same_peer) {
            // Connections stay open.
            Some(known) => known.transports.clone(),
            None => self.urls.iter().map(|url| self.transport(url, &material)).collect::<Result<_, _>>()?,
        };
        let authorization = authorization(&self.auth, &material.secret)?;
        let made = Arc::new(Session { material, looked: now, transports, authorization });
        *session = Some(Arc::clone(&made));
        Ok(made)
    }

    fn transport(&self, url: &Url, material: &Material) -> Result<Transport, ClientError> {
        let unusable = |what, path: Option<&Path>, reason: String| ClientError::Unusable {
            what,
            path: path.map(|path| path.display().to_string()).unwrap_or_default(),
            reason,
        };
        // What the configuration names is asked, and no proxy that the environment does.
        let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url.clone())).disable_proxy();
        if url.scheme() != "https" || self.tls.insecure_skip_verify {
            // Without TLS nothing is verified; this way no certificates of the system are needed either.
            builder = builder.cert_validation(CertificateValidation::None);
        } else if let Some(path) = &self.tls.ca {
            let certificates = Certificate::from_pem(&material.ca)
                .map_err(|error| unusable("the certificates", Some(path), chain(&error)))?;
            builder = builder.cert_validation(CertificateValidation::Full(certificates));
        }
        if self.tls.identity.is_some() {
            let identity = ClientCertificate::Pem(material.identity.clone());
            builder = builder.auth(Credentials::Certificate(identity));
        }
        let path = self.tls.identity.as_ref().map(|identity| identity.certificate.as_path());
        builder.build().map_err(|error| unusable("the TLS setup", path, chain(&error)))
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer's body, if it says how long it is and that is not too much.
async fn read(response: Response) -> Result<Bytes, ClientError> {
    match response.content_length() {
        Some(length) if length > MAX_ANSWER_BYTES => {
            Err(ClientError::Answer(format!("has {length} bytes; more than {MAX_ANSWER_BYTES} are not read")))
        }
        Some(_) => response.bytes().await.map_err(|error| ClientError::Unreachable(chain(&error))),
        None => Err(ClientError::Answer(
            "has no Content-Length; a proxy between must leave answers as they are".to_owned(),
        )),
    }
}

// === impl Round ===

impl Round {
    /// The next endpoint that is not left out; if all are, the one that comes back first.
    fn turn(&mut self, now: Instant) -> usize {
        let count = self.endpoints.len().max(1);
        let start = self.next;
        self.next = (start + 1) % count;
        let is_in = |at: &usize| self.endpoints.get(*at).is_some_and(|endpoint| endpoint.is_in(now));
        let in_turn = (0..count).map(|step| (start + step) % count).find(is_in);
        in_turn.unwrap_or_else(|| {
            let until = |(_, endpoint): &(usize, &Endpoint)| endpoint.out_until;
            self.endpoints.iter().enumerate().min_by_key(until).map_or(0, |(at, _)| at)
        })
    }

    fn answered(&mut self, at: usize, is_well: bool, now: Instant) {
        let Some(endpoint) = self.endpoints.get_mut(at) else { return };
        if is_well {
            *endpoint = Endpoint::default();
            return;
        }
        endpoint.out_until = Some(now + pause(endpoint.failures));
        endpoint.failures = endpoint.failures.saturating_add(1);
    }

    fn has_other(&self, now: Instant) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.is_in(now))
    }
}

impl Endpoint {
    fn is_in(&self, now: Instant) -> bool {
        self.out_until.is_none_or(|until| until <= now)
    }
}

// === impl Material ===

impl Material {
    fn read(tls: &Tls, auth: &Auth) -> Result<Material, ClientError> {
        let mut material = Material::default();
        if let Some(ca) = &tls.ca {
            material.ca = read_file("the certificates", ca)?;
        }
        if let Some(identity) = &tls.identity {
            material.identity = read_file("the key", &identity.key)?;
            material.identity.push(b'\n');
            material.identity.extend(read_file("the certificate", &identity.certificate)?);
        }
        let secret = match auth {
            Auth::None => None,
            Auth::Basic(password) => Some(&password.password),
            Auth::Bearer(token) => Some(token),
        };
        if let Some(secret) = secret {
            material.secret = read_secret(secret)?;
        }
        Ok(material)
    }
}

fn read_secret(secret: &Secret) -> Result<String, ClientError> {
    let text = match secret {
        Secret::Variable(name) => std::env::var(name).map_err(|error| ClientError::Unreadable {
            what: "the environment variable",
            path: name.clone(),
            reason: error.to_string(),
        })?,
        // The conversion's own error would hold the bytes.
        Secret::File(path) => {
            String::from_utf8(read_file("the secret", path)?).map_err(|_| ClientError::Unusable {
                what: "the secret",
                path: path.display().to_string(),
                reason: "it is not UTF-8 text".to_owned(),
            })?
        }
    };
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_file(what: &'static str, path: &PathBuf) -> Result<Vec<u8>, ClientError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    let unreadable = |reason| ClientError::Unreadable { what, path: path.display().to_string(), reason };
    match opened.and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)) {
        Err(error) => Err(unreadable(error.to_string())),
        Ok(count) if count as u64 > MAX_FILE_BYTES => Err(unreadable("it is too long".to_owned())),
        Ok(_) => Ok(bytes),
    }
}

fn authorization(auth: &Auth, secret: &str) -> Result<Option<HeaderValue>, ClientError> {
    let text = match auth {
        Auth::None => return Ok(None),
        Auth::Basic(password) => {
            format!("Basic {}", STANDARD.encode(format!("{}:{secret}", password.username)))
        }
        Auth::Bearer(_) => format!("Bearer {secret}"),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| ClientError::Unusable {
        what: "the secret",
        path: String::new(),
        reason: "it has characters that a header cannot have".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Whether nothing was sent, because nobody took the connection.
fn is_no_connection(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        matches!(kind, Some(ConnectionRefused | HostUnreachable | NetworkUnreachable))
    })
}

/// An error with its causes: those of HTTP say little without.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// Without a name or password that may stand in it.
fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_fails_is_left_out_for_a_while() {
        let mut round = Round { next: 0, endpoints: vec![Endpoint::default(); 3] };
        let now = Instant::now();
        assert_eq!([round.turn(now), round.turn(now), round.turn(now)], [0, 1, 2]);
        round.answered(1, false, now);
        assert_eq!([round.turn(now), round.turn(now), round.turn(now), round.turn(now)], [0, 2, 2, 0]);
        let later = now + Duration::from_secs(60);
        assert!((0..3).map(|_| round.turn(later)).any(|at| at == 1));
        for at in 0..3 {
            round.answered(at, false, later);
            round.answered(at, false, later);
        }
        round.answered(2, true, later);
        assert_eq!([round.turn(later), round.turn(later)], [2, 2]);
        round.answered(2, false, later);
        assert!(!round.has_other(later));
        assert!(round.turn(later) < 3);
    }
}
