//! The client: requests over HTTP, with secrets that may change.
//!
//! 1. Secrets and certificates are read off the reactor before the first request, again every few seconds, and at once
//!    after the receiver did not accept them. What cannot be read fails the request; nothing is dropped for it.
//! 2. Redirects are not followed: a POST that is redirected becomes a GET with many servers, and a secret would go to
//!    somebody who is not in the configuration.
//! 3. Of an answer no more than [`MAX_ANSWER_BYTES`] are read.

mod material;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::bytes::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Response, Url};
use tokio::time::Instant;

use self::material::Material;
use crate::exchange::{Answer, Exchange, Exchanging, Failure, Written};
use crate::headers;
use crate::negotiate::Version;
use crate::settings::{Auth, Settings, SettingsError, Tls};

/// How often secrets and certificates are read again.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Longest wait for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// So much of an answer is read; Prometheus says a line for each sample that it does not take.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Connections that nobody uses for so long are closed.
const IDLE_LIMIT: Duration = Duration::from_secs(90);

/// What keeps the client from asking.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
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
}

/// Asks a receiver.
pub(crate) struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    url: Url,
    headers: HeaderMap,
    tls: Tls,
    auth: Auth,
    timeout: Duration,
    shards: usize,
    session: tokio::sync::Mutex<Option<Arc<Session>>>,
    must_look: AtomicBool,
}

/// What is made of the secrets and certificates as they were read.
struct Session {
    material: Material,
    looked: Instant,
    http: reqwest::Client,
}

// === impl Client ===

impl Client {
    /// A client of these settings. Nothing is read or connected.
    pub fn new(settings: &Settings) -> Result<Client, SettingsError> {
        Ok(Client {
            shared: Arc::new(Shared {
                url: settings.parsed_url()?,
                headers: headers::configured(settings)?,
                tls: settings.tls.clone(),
                auth: settings.auth.clone(),
                timeout: settings.timeout,
                shards: settings.shards,
                session: tokio::sync::Mutex::new(None),
                must_look: AtomicBool::new(false),
            }),
        })
    }
}

impl Exchange for Client {
    fn write(&self, version: Version, body: Bytes) -> Exchanging {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            // The client's own limit ends with the answer's head or body; this one ends whatever happens.
            let patience = shared.timeout + Duration::from_secs(1);
            let seconds = shared.timeout.as_secs_f64();
            let sent = tokio::time::timeout(patience, shared.write(version, body)).await;
            sent.unwrap_or_else(|_| Err(Failure::Unknown(format!("no answer within {seconds} s"))))
        })
    }

    fn renew(&self) {
        self.shared.must_look.store(true, Ordering::Relaxed);
    }
}

// === impl Shared ===

impl Shared {
    async fn write(&self, version: Version, body: Bytes) -> Result<Answer, Failure> {
        let session = self.session().await.map_err(|error| Failure::Setup(error.to_string()))?;
        let mut request = session
            .http
            .post(self.url.clone())
            .headers(headers::of_request(&self.headers, version))
            .timeout(self.timeout)
            .body(body);
        request = match &self.auth {
            Auth::None => request,
            Auth::Basic(password) => request.basic_auth(&password.username, Some(&session.material.secret)),
            Auth::Bearer(_) => request.bearer_auth(&session.material.secret),
        };
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        let (written, retry_after) = (written(response.headers()), retry_after(response.headers()));
        // The body of a success is not looked at (specification 1.0, "Protocol"; 2.0, "Response").
        let said = if response.status().is_success() { String::new() } else { read(&mut response).await };
        Ok(Answer { status, written, retry_after, said })
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
        let read = reading.await.unwrap_or_else(|error| {
            let reason = error.to_string();
            Err(ClientError::Unreadable { what: "secrets", path: String::new(), reason })
        });
        let material = match (read, &*session) {
            (Ok(material), _) => material,
            // A file that is being replaced is there again at the next look.
            (Err(_), Some(known)) if !must_look => known.material.clone(),
            (Err(error), _) => return Err(error),
        };
        let http = match session.as_ref().filter(|known| known.material.is_same_peer(&material)) {
            // Connections stay open.
            Some(known) => known.http.clone(),
            None => self.http(&material)?,
        };
        let made = Arc::new(Session { material, looked: now, http });
        *session = Some(Arc::clone(&made));
        Ok(made)
    }

    fn http(&self, material: &Material) -> Result<reqwest::Client, ClientError> {
        let unusable =
            |what, path: Option<&std::path::PathBuf>, error: &reqwest::Error| ClientError::Unusable {
                what,
                path: path.map(|path| path.display().to_string()).unwrap_or_default(),
                reason: chain(error),
            };
        // What the configuration names is asked, and no proxy that the environment does.
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_LIMIT.min(self.timeout))
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(self.shards);
        if self.url.scheme() != "https" || self.tls.insecure_skip_verify {
            // Without TLS nothing is verified; this way no certificates of the system are needed either.
            builder = builder.tls_danger_accept_invalid_certs(true);
        } else if let Some(path) = &self.tls.ca {
            let certificates = Certificate::from_pem_bundle(&material.ca)
                .map_err(|error| unusable("the certificates", Some(path), &error))?;
            if certificates.is_empty() {
                let path = path.display().to_string();
                let reason = "there is no certificate in it".to_owned();
                return Err(ClientError::Unusable { what: "the certificates", path, reason });
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let path = self.tls.identity.as_ref().map(|identity| &identity.certificate);
        if path.is_some() {
            let identity = reqwest::Identity::from_pem(&material.identity)
                .map_err(|error| unusable("the certificate or its key", path, &error))?;
            builder = builder.identity(identity);
        }
        builder.build().map_err(|error| unusable("the TLS setup", path, &error))
    }
}

/// What the receiver says that it wrote (specification 2.0, "Required Written Response Headers").
fn written(headers: &HeaderMap) -> Option<Written> {
    let number = |kind: &str| {
        let value = headers.get(format!("x-prometheus-remote-write-{kind}-written"))?;
        Some(value.to_str().ok()?.trim().parse::<u64>().unwrap_or(0))
    };
    let (samples, histograms, exemplars) = (number("samples"), number("histograms"), number("exemplars"));
    samples.or(histograms).or(exemplars)?;
    Some(Written {
        samples: samples.unwrap_or(0),
        histograms: histograms.unwrap_or(0),
        exemplars: exemplars.unwrap_or(0),
    })
}

/// When the receiver wants to be asked again: seconds or a date (RFC 9110, "Retry-After").
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    // A time that has passed is now.
    Some(Duration::try_from(at.duration_since(jiff::Timestamp::now())).unwrap_or_default())
}

/// The beginning of an answer's body.
async fn read(response: &mut Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ANSWER_BYTES.saturating_sub(body.len());
        body.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
        if body.len() >= MAX_ANSWER_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn failure(error: &reqwest::Error) -> Failure {
    // The URL says nothing that the log's other fields do not.
    let text = chain(error);
    if error.is_connect() {
        return Failure::NoConnection(text);
    }
    match error.is_timeout() {
        true => Failure::Unknown(format!("no answer in time: {text}")),
        false => Failure::Unknown(text),
    }
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

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn a_retry_after_is_seconds_or_a_date() {
        let of = |text: &str| retry_after(&headers(&[("retry-after", text)]));
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let later = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60);
        let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&later).unwrap();
        let wait = of(&text).unwrap();
        assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{text}: {wait:?}");
        assert_eq!((of("soon"), of("-1"), retry_after(&headers(&[]))), (None, None, None));
    }

    #[test]
    fn what_was_written_is_three_headers_of_which_any_may_be_missing() {
        let (samples, histograms, exemplars) = (
            "x-prometheus-remote-write-samples-written",
            "x-prometheus-remote-write-histograms-written",
            "x-prometheus-remote-write-exemplars-written",
        );
        let all = Written { samples: 1, histograms: 2, exemplars: 3 };
        assert_eq!(written(&headers(&[(samples, "1"), (histograms, "2"), (exemplars, "3")])), Some(all));
        let some = Written { histograms: 2, ..Written::default() };
        assert_eq!(written(&headers(&[(histograms, "2")])), Some(some));
        assert_eq!(written(&headers(&[(samples, "many")])), Some(Written::default()));
        assert_eq!(written(&headers(&[("x-prometheus-remote-write-version", "2.0.0")])), None);
    }
}
