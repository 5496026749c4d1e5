//! Asks targets and servers over HTTP, with secrets and certificates that may change.
//!
//! 1. Secrets and certificates are read off the reactor before the first request, again every few seconds, and before the
//!    next request after they were not accepted.
//! 2. What is not there for a moment, while it is replaced, is taken as it was before.
//! 3. No proxy that the environment names is used: what the configuration says is what is asked.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client as Http, ClientBuilder, Identity, Response, Url, redirect};
use tokio::time::Instant;

use crate::ingest::ScrapeError;
use crate::metrics::Failure;
use crate::settings::{Auth, HttpSettings, Secret};

/// How often secrets and certificates are read again.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Secrets and certificates may be this long.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// How long a connection that nobody uses stays open: as long as Prometheus keeps it.
const IDLE: Duration = Duration::from_secs(300);
/// As many redirects are followed as Go follows.
const MAX_REDIRECTS: usize = 10;
/// What the agent calls itself.
const USER_AGENT: &str = concat!("Weir/", env!("CARGO_PKG_VERSION"));

/// Asks by the settings of one job or server.
pub(crate) struct Client {
    settings: HttpSettings,
    session: tokio::sync::Mutex<Option<Arc<Session>>>,
    must_look: AtomicBool,
}

/// What is made of secrets and certificates as they were read.
struct Session {
    material: Material,
    looked: Instant,
    authorization: Option<HeaderValue>,
    clients: Arc<Clients>,
}

/// Clients by the host that they speak to; one for all hosts where the name in the certificate is that of the URL.
struct Clients {
    shared: Http,
    renamed: Mutex<HashMap<String, Http>>,
}

/// Secrets and certificates.
#[derive(Clone, Default, PartialEq, Eq)]
struct Material {
    ca: Vec<u8>,
    identity: Vec<u8>,
    secret: String,
}

/// Looks up a host where another name is asked for: that of its certificate.
struct Renamed {
    name: String,
    host: String,
}

// === impl Client ===

impl Client {
    /// A client of these settings. Nothing is read or connected.
    pub(crate) fn new(settings: HttpSettings) -> Client {
        Client { settings, session: tokio::sync::Mutex::new(None), must_look: AtomicBool::new(false) }
    }

    /// Asks for what lies at a URL. The caller sees to a time limit; the answer's status is 200.
    pub(crate) async fn get(&self, url: &Url, mut headers: HeaderMap) -> Result<Response, ScrapeError> {
        let session = self.session().await?;
        if let Some(authorization) = &session.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let mut url = url.clone();
        let http = match &self.settings.tls.server_name {
            Some(name) if url.scheme() == "https" => self.rename(&session, &mut url, &mut headers, name)?,
            _ => session.clients.shared.clone(),
        };
        let response = http.get(url).headers(headers).send().await.map_err(failed)?;
        let status = response.status();
        if matches!(status.as_u16(), 401 | 403) {
            self.must_look.store(true, Ordering::Relaxed);
        }
        if status.as_u16() != 200 {
            return Err(ScrapeError {
                failure: Failure::Status,
                message: format!("the server answered HTTP {status}; 200 was expected"),
            });
        }
        Ok(response)
    }

    /// The session, with secrets and certificates as they are now.
    async fn session(&self) -> Result<Arc<Session>, ScrapeError> {
        let mut session = self.session.lock().await;
        let now = Instant::now();
        let must_look = self.must_look.swap(false, Ordering::Relaxed);
        if let Some(known) = &*session
            && !must_look
            && now.duration_since(known.looked) < LOOK_EVERY
        {
            return Ok(Arc::clone(known));
        }
        let material = match self.read(&session).await {
            (Ok(material), _) => material,
            (Err(_), Some(before)) if !must_look => before,
            (Err(error), _) => return Err(error),
        };
        let is_same_peer = |known: &&Arc<Session>| {
            known.material.ca == material.ca && known.material.identity == material.identity
        };
        let clients = match session.as_ref().filter(is_same_peer) {
            // Connections stay open.
            Some(known) => Arc::clone(&known.clients),
            None => {
                let shared = self.build(&material, None)?;
                Arc::new(Clients { shared, renamed: Mutex::default() })
            }
        };
        let authorization = authorization(&self.settings.auth, &material.secret)?;
        let made = Arc::new(Session { material, looked: now, authorization, clients });
        *session = Some(Arc::clone(&made));
        Ok(made)
    }

    /// What the files say now, and what they said before.
    async fn read(&self, before: &Option<Arc<Session>>) -> (Result<Material, ScrapeError>, Option<Material>) {
        let before = before.as_ref().map(|session| session.material.clone());
        let settings = self.settings.clone();
        let has_none = matches!(settings.auth, Auth::None | Auth::Basic { password: None, .. })
            && settings.tls.ca.is_none()
            && settings.tls.identity.is_none();
        if has_none {
            return (Ok(Material::default()), before);
        }
        let read = tokio::task::spawn_blocking(move || Material::read(&settings)).await;
        (read.unwrap_or_else(|error| Err(secret_error(error.to_string()))), before)
    }

    /// A client that asks the host of this URL and expects a certificate of another name.
    fn rename(
        &self,
        session: &Session,
        url: &mut Url,
        headers: &mut HeaderMap,
        name: &str,
    ) -> Result<Http, ScrapeError> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let authority = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let header = HeaderValue::from_str(&authority);
        headers
            .insert(HOST, header.map_err(|_| secret_error("the host cannot stand in a header".to_owned()))?);
        url.set_host(Some(name)).map_err(|error| secret_error(format!("server_name {name:?}: {error}")))?;
        let mut renamed = session.clients.renamed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = renamed.get(&host) {
            return Ok(http.clone());
        }
        let http =
            self.build(&session.material, Some(Renamed { name: name.to_owned(), host: host.clone() }))?;
        renamed.insert(host, http.clone());
        Ok(http)
    }

    fn build(&self, material: &Material, renamed: Option<Renamed>) -> Result<Http, ScrapeError> {
        let renamed = renamed.map(Arc::new);
        let builder = || -> Result<ClientBuilder, ScrapeError> {
            let policy = match self.settings.follow_redirects {
                true => redirect::Policy::limited(MAX_REDIRECTS),
                false => redirect::Policy::none(),
            };
            let mut builder = Http::builder()
                .user_agent(USER_AGENT)
                .no_proxy()
                .no_gzip()
                .redirect(policy)
                .referer(false)
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(2)
                .danger_accept_invalid_certs(self.settings.tls.insecure_skip_verify);
            if self.settings.tls.ca.is_some() {
                builder = builder.tls_certs_only(certificates(&material.ca)?);
            }
            if self.settings.tls.identity.is_some() {
                let identity = Identity::from_pem(&material.identity);
                builder =
                    builder.identity(identity.map_err(|error| unusable("the certificate and key", &error))?);
            }
            if let Some(renamed) = &renamed {
                builder = builder.dns_resolver(Arc::clone(renamed));
            }
            Ok(builder)
        };
        let error = match builder()?.build() {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        if self.settings.tls.ca.is_some() || self.settings.tls.identity.is_some() {
            return Err(unusable("the TLS setup", &error));
        }
        // A system without certificates: nothing is trusted then, and targets without TLS are asked all the same.
        let without = builder()?.tls_certs_only(Vec::new()).build();
        without.map_err(|error| unusable("the TLS setup", &error))
    }
}

// === impl Renamed ===

impl Resolve for Renamed {
    fn resolve(&self, name: Name) -> Resolving {
        let host = if name.as_str() == self.name { self.host.clone() } else { name.as_str().to_owned() };
        Box::pin(async move {
            if let Ok(address) = host.parse::<IpAddr>() {
                return Ok(Box::new(std::iter::once(SocketAddr::new(address, 0))) as Addrs);
            }
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

// === impl Material ===

impl Material {
    fn read(settings: &HttpSettings) -> Result<Material, ScrapeError> {
        let mut material = Material::default();
        if let Some(ca) = &settings.tls.ca {
            material.ca = read_file(ca)?;
        }
        if let Some(identity) = &settings.tls.identity {
            material.identity = read_file(&identity.key)?;
            material.identity.push(b'\n');
            material.identity.extend(read_file(&identity.certificate)?);
        }
        let secret = match &settings.auth {
            Auth::None => None,
            Auth::Basic { password, .. } => password.as_ref(),
            Auth::Authorization { credentials, .. } => Some(credentials),
        };
        if let Some(secret) = secret {
            material.secret = read_secret(secret)?;
        }
        Ok(material)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, ScrapeError> {
    let certificates =
        Certificate::from_pem_bundle(pem).map_err(|error| unusable("the certificates of ca_file", &error))?;
    if certificates.is_empty() {
        return Err(secret_error("there is no certificate in ca_file".to_owned()));
    }
    Ok(certificates)
}

fn authorization(auth: &Auth, secret: &str) -> Result<Option<HeaderValue>, ScrapeError> {
    let text = match auth {
        Auth::None => return Ok(None),
        Auth::Basic { username, .. } => format!("Basic {}", STANDARD.encode(format!("{username}:{secret}"))),
        Auth::Authorization { scheme, .. } => format!("{scheme} {secret}"),
    };
    // The error itself says nothing of the text.
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| secret_error("the secret has characters that a header cannot hold".to_owned()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn read_secret(secret: &Secret) -> Result<String, ScrapeError> {
    let text = match secret {
        Secret::Variable(name) => std::env::var(name)
            .map_err(|error| secret_error(format!("the environment variable {name}: {error}")))?,
        // The conversion's own error would hold the bytes.
        Secret::File(path) => String::from_utf8(read_file(path)?)
            .map_err(|_| secret_error(format!("{} is not UTF-8 text", path.display())))?,
    };
    Ok(text.trim().to_owned())
}

fn read_file(path: &Path) -> Result<Vec<u8>, ScrapeError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let unreadable = |reason: String| secret_error(format!("cannot read {}: {reason}", path.display()));
    let opened = std::fs::File::open(path);
    match opened.and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)) {
        Err(error) => Err(unreadable(error.to_string())),
        Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => Err(unreadable("it is larger than 1 MiB".to_owned())),
        Ok(_) => Ok(bytes),
    }
}

fn secret_error(message: String) -> ScrapeError {
    ScrapeError { failure: Failure::Secret, message }
}

fn unusable(what: &str, error: &dyn std::error::Error) -> ScrapeError {
    secret_error(format!("{what} cannot be used: {}", chain(error)))
}

/// What went wrong on the way, without the URL, which may hold secrets.
pub(crate) fn failed(error: reqwest::Error) -> ScrapeError {
    let error = error.without_url();
    let failure = if error.is_timeout() { Failure::Timeout } else { Failure::Connection };
    ScrapeError { failure, message: chain(&error) }
}

/// An error with all that it comes from.
fn chain(error: &dyn std::error::Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_who_the_agent_is() {
        let basic = Auth::Basic { username: "Aladdin".into(), password: None };
        let header = authorization(&basic, "open sesame").unwrap().unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let bearer =
            Auth::Authorization { scheme: "Bearer".into(), credentials: Secret::Variable("X".into()) };
        assert_eq!(authorization(&bearer, "t").unwrap().unwrap().to_str().unwrap(), "Bearer t");
        let error = authorization(&bearer, "hush\n").unwrap_err();
        assert!(!error.message.contains("hush"));
    }
}
