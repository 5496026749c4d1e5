//! One repository of a registry, over HTTP: the parts of the distribution specification that plugins need.
//!
//! 1. Every request has a time limit and every answer a bound.
//! 2. What is asked for by digest is hashed and compared before anybody sees it.
//! 3. Plain HTTP is spoken to this machine, and elsewhere only when told. Credentials go to the registry and to the
//!    token service that it names over the same kind of connection, and nowhere else.

use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE,
};
use reqwest::{Certificate, Method, Response, StatusCode, Url};

use crate::body;
use crate::credentials::Credential;
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{MAX_MANIFEST_BYTES, types};
use crate::reference::Reference;
use crate::token::{self, Challenge};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A component of many MiB may come slowly; between two parts of it the usual limit holds.
const BLOB_LIMIT_FACTOR: u32 = 10;
const MAX_REDIRECTS: usize = 5;
/// Where docker's own registry answers.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// How a registry is spoken to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who we are.
    pub credential: Option<Credential>,
    /// Certificates that are trusted beside the system's, as PEM.
    pub ca: Option<Vec<u8>>,
    /// Whether plain HTTP is spoken to a registry that is not on this machine.
    pub insecure: bool,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// A repository of a registry.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    registry: String,
    repository: String,
    credential: Option<Credential>,
    timeout: Duration,
    /// The `Authorization` that the registry took last.
    authorization: std::sync::Mutex<Option<HeaderValue>>,
}

/// What is asked of a registry.
struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
    limit: Duration,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings { credential: None, ca: None, insecure: false, timeout: Duration::from_secs(30) }
    }
}

// === impl Client ===

impl Client {
    /// For the repository of a reference.
    pub fn new(reference: &Reference, settings: &Settings) -> Result<Client, Error> {
        let is_plain = settings.insecure || reference.is_loopback() && settings.ca.is_none();
        let scheme = if is_plain { "http" } else { "https" };
        let registry = reference.registry().to_owned();
        let host = if registry == DOCKER_HUB.0 { DOCKER_HUB.1 } else { &registry };
        let base = Url::parse(&format!("{scheme}://{host}/v2/{}/", reference.repository()))
            .map_err(|error| Error::Settings(format!("{registry} is no address: {error}")))?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT.min(settings.timeout))
            .read_timeout(settings.timeout)
            .redirect(redirects())
            .no_gzip()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
        if reference.is_loopback() {
            // A proxy's loopback is another machine's.
            builder = builder.no_proxy();
        }
        if let Some(pem) = &settings.ca {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|_| Error::Settings("the file of ca holds no certificates in PEM".to_owned()))?;
            if certificates.is_empty() {
                return Err(Error::Settings("the file of ca holds no certificate".to_owned()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder
            .build()
            .map_err(|error| Error::Settings(format!("no connection is possible: {error}")))?;
        Ok(Client {
            http,
            base,
            registry,
            repository: reference.repository().to_owned(),
            credential: settings.credential.clone(),
            timeout: settings.timeout,
            authorization: std::sync::Mutex::default(),
        })
    }

    /// The registry's name, for messages.
    pub(crate) fn registry(&self) -> &str {
        &self.registry
    }

    /// The manifest with this tag, and its digest; `None` if there is no such tag.
    pub(crate) async fn tagged(&self, tag: &str) -> Result<Option<(Vec<u8>, Digest)>, Error> {
        let what = format!("manifest {}:{tag}", self.repository);
        let Some(bytes) = self.get(&format!("manifests/{tag}"), MAX_MANIFEST_BYTES, what).await? else {
            return Ok(None);
        };
        let digest = Digest::of(&bytes);
        Ok(Some((bytes, digest)))
    }

    /// The manifest with this digest.
    pub(crate) async fn manifest(&self, digest: Digest) -> Result<Vec<u8>, Error> {
        let what = format!("manifest {}@{digest}", self.repository);
        self.exactly(&format!("manifests/{digest}"), MAX_MANIFEST_BYTES, what, digest).await
    }

    /// The blob with this digest, of at most `limit` bytes.
    pub(crate) async fn blob(&self, digest: Digest, limit: usize) -> Result<Vec<u8>, Error> {
        let what = format!("blob {}@{digest}", self.repository);
        self.exactly(&format!("blobs/{digest}"), limit, what, digest).await
    }

    /// The index of what refers to a manifest; `None` where the registry cannot say.
    pub(crate) async fn referrers(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        let what = format!("referrers of {}@{digest}", self.repository);
        self.get(&format!("referrers/{digest}"), MAX_MANIFEST_BYTES, what).await
    }

    /// Whether the blob is there.
    pub(crate) async fn has_blob(&self, digest: Digest) -> Result<bool, Error> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let response = self.send(self.request(Method::HEAD, url), Access::Push).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(self.failure(response).await),
        }
    }

    /// Gives the registry a blob.
    pub(crate) async fn upload(&self, bytes: &[u8], digest: Digest) -> Result<(), Error> {
        let begin = self.request(Method::POST, self.url("blobs/uploads/")?);
        let response = self.send(begin, Access::Push).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.failure(response).await);
        }
        let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let place = place.and_then(|place| response.url().join(place).ok());
        let mut url = place.ok_or_else(|| self.protocol("an upload without a place for it"))?;
        if url.host_str() != self.base.host_str() || url.scheme() != self.base.scheme() {
            return Err(self.protocol("an upload to another host"));
        }
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut request = self.request(Method::PUT, url);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        request.body = bytes.to_vec();
        request.limit = self.timeout * BLOB_LIMIT_FACTOR;
        self.created(self.send(request, Access::Push).await?).await
    }

    /// Gives the registry a manifest, under a tag or its digest.
    pub(crate) async fn put_manifest(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut request = self.request(Method::PUT, self.url(&format!("manifests/{name}"))?);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(types::MANIFEST));
        request.body = bytes.to_vec();
        self.created(self.send(request, Access::Push).await?).await
    }

    async fn created(&self, response: Response) -> Result<(), Error> {
        if response.status().is_success() { Ok(()) } else { Err(self.failure(response).await) }
    }

    /// What is at `path`, if it has this digest.
    async fn exactly(
        &self,
        path: &str,
        limit: usize,
        what: String,
        wanted: Digest,
    ) -> Result<Vec<u8>, Error> {
        let found = self.get(path, limit, what.clone()).await?;
        let Some(bytes) = found else {
            return Err(Error::NotFound { registry: self.registry.clone(), what });
        };
        match Digest::of(&bytes) {
            found if found == wanted => Ok(bytes),
            found => Err(Error::Altered { what, found, wanted }),
        }
    }

    async fn get(&self, path: &str, limit: usize, what: String) -> Result<Option<Vec<u8>>, Error> {
        let mut request = self.request(Method::GET, self.url(path)?);
        if path.starts_with("manifests/") {
            let accept =
                [types::MANIFEST, types::DOCKER_MANIFEST, types::INDEX, types::DOCKER_INDEX].join(", ");
            request.headers.extend(HeaderValue::from_str(&accept).ok().map(|accept| (ACCEPT, accept)));
        } else if path.starts_with("blobs/") {
            request.limit = self.timeout * BLOB_LIMIT_FACTOR;
        }
        let response = self.send(request, Access::Pull).await?;
        match response.status() {
            StatusCode::OK => body::read(response, limit, &what, &self.registry).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.failure(response).await),
        }
    }

    fn url(&self, path: &str) -> Result<Url, Error> {
        self.base.join(path).map_err(|error| self.protocol(&error.to_string()))
    }

    fn request(&self, method: Method, url: Url) -> Request {
        Request { method, url, headers: HeaderMap::new(), body: Vec::new(), limit: self.timeout }
    }

    /// Sends it; where the registry asks who we are, once more with the answer to that.
    async fn send(&self, request: Request, access: Access) -> Result<Response, Error> {
        let known = self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let response = self.attempt(&request, known).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.pass_or_deny(response).await;
        }
        let challenges = response.headers().get_all(WWW_AUTHENTICATE);
        let challenge = challenges.iter().filter_map(|header| Challenge::parse(header.to_str().ok()?)).next();
        let Some(challenge) = challenge else { return Err(self.denied(response).await) };
        let scope = format!("repository:{}:{}", self.repository, access.actions());
        let exchange = token::Exchange {
            http: &self.http,
            registry: &self.registry,
            scheme: self.base.scheme(),
            credential: self.credential.as_ref(),
            timeout: self.timeout,
        };
        let Some(authorization) = exchange.answer(&challenge, &scope).await? else {
            return Err(self.denied(response).await);
        };
        let response = self.attempt(&request, Some(authorization.clone())).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(self.denied(response).await);
        }
        *self.authorization.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(authorization);
        self.pass_or_deny(response).await
    }

    async fn attempt(
        &self,
        request: &Request,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, Error> {
        let mut builder = self.http.request(request.method.clone(), request.url.clone());
        builder = builder.headers(request.headers.clone()).timeout(request.limit);
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        if !request.body.is_empty() {
            builder = builder.body(request.body.clone());
        } else if matches!(request.method, Method::POST | Method::PUT) {
            builder = builder.header(reqwest::header::CONTENT_LENGTH, 0);
        }
        let sent = builder.send().await;
        sent.map_err(|error| body::unreachable(&self.registry, &error))
    }

    async fn pass_or_deny(&self, response: Response) -> Result<Response, Error> {
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied(response).await),
            _ => Ok(response),
        }
    }

    async fn denied(&self, response: Response) -> Error {
        token::denied(&self.registry, self.credential.as_ref(), response).await
    }

    async fn failure(&self, response: Response) -> Error {
        let (registry, status) = (self.registry.clone(), response.status().as_u16());
        Error::Failing { registry, status, message: body::message(response).await }
    }

    fn protocol(&self, problem: &str) -> Error {
        Error::Protocol { registry: self.registry.clone(), problem: problem.to_owned() }
    }
}

/// What a token must allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Pull,
    Push,
}

impl Access {
    fn actions(self) -> &'static str {
        match self {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        }
    }
}

/// Stores hand out blobs by redirects. From TLS none leads to plain HTTP.
fn redirects() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let was_safe = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
        if attempt.previous().len() > MAX_REDIRECTS {
            return attempt.error("too many redirects");
        }
        if was_safe && attempt.url().scheme() != "https" {
            return attempt.error("a redirect from TLS to plain HTTP");
        }
        attempt.follow()
    })
}
