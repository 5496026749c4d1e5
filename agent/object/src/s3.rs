//! A bucket of a store that speaks S3.
//!
//! 1. Every request has a time limit; what may go well the next time is tried again with jittered pauses, a bounded
//!    number of times.
//! 2. No answer takes more memory than was asked for.
//! 3. The keys that requests are signed with are in the client and nowhere else: in no error, no log and no `Debug`.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider,
};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use weir_buffer::object::{Listing, Object, ObjectError, ObjectStore, Put};

use crate::error::{self, said, wrong};

/// For a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For one try of a request, its body included: 4 MiB pass in it over a slow line.
const TRY_TIMEOUT: Duration = Duration::from_secs(20);
/// For a request with all its tries.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);
const TLS: Provider = Provider::Rustls(CryptoMode::AwsLc);
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(3);
/// Answers to the question for a bucket's lock that are no obstacle.
const NO_LOCK: [&str; 4] =
    ["ObjectLockConfigurationNotFoundError", "NotImplemented", "AccessDenied", "MethodNotAllowed"];
/// What a page of a listing holds at the most.
const PAGE: i32 = 1000;

/// Where a bucket is and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://HOST:PORT`, or https.
    pub endpoint: String,
    /// The bucket's name.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Whether the bucket stands in the path, as MinIO has it, or in the host's name.
    pub path_style: bool,
    /// Certificates in PEM of who vouches for the store, in the place of those that the system knows.
    pub ca: Option<Vec<u8>>,
    /// What requests are signed with. `None` for what the environment gives, in the order in which all SDKs for S3 look:
    /// variables, profiles, a web identity, the container's, the machine's.
    pub keys: Option<Keys>,
}

/// What requests are signed with.
#[derive(Clone)]
pub struct Keys {
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: String,
}

/// A bucket. Its calls block, and must not be made by a thread that drives the runtime.
pub struct S3 {
    client: Client,
    bucket: String,
    endpoint: String,
    runtime: Handle,
}

/// Keys as the environment gives them. Who gives them is spoken to with the system's certificates, whatever vouches for
/// the store.
async fn chain(region: &str) -> DefaultCredentialsChain {
    let http = aws_smithy_http_client::Builder::new().tls_provider(TLS).build_https();
    let settings = ProviderConfig::without_region().with_http_client(http);
    let region = Region::new(region.to_owned());
    DefaultCredentialsChain::builder().configure(settings).region(region).build().await
}

// === impl S3 ===

impl S3 {
    /// Makes ready to speak to a bucket; nothing is sent yet. Blocks while it reads what the environment says of keys.
    pub fn new(settings: Settings, runtime: Handle) -> Result<S3, ObjectError> {
        let Settings { endpoint, bucket, region, path_style, ca, keys } = settings;
        let credentials = match keys {
            Some(Keys { access_key, secret_key }) => SharedCredentialsProvider::new(Credentials::new(
                access_key,
                secret_key,
                None,
                None,
                "configuration",
            )),
            None => SharedCredentialsProvider::new(runtime.block_on(chain(&region))),
        };
        let trust = match ca {
            None => TrustStore::default(),
            Some(pem) => TrustStore::empty().with_pem_certificate(pem),
        };
        let tls = TlsContext::builder().with_trust_store(trust).build();
        let tls = tls.map_err(|error| wrong(&endpoint, &format!("cannot use ca: {error}")))?;
        let http = aws_smithy_http_client::Builder::new().tls_provider(TLS).tls_context(tls).build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(TRY_TIMEOUT)
            .operation_timeout(REQUEST_TIMEOUT)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(TRIES)
            .with_initial_backoff(FIRST_PAUSE)
            .with_max_backoff(LAST_PAUSE);
        let config = Builder::new()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(&endpoint)
            .region(Region::new(region))
            .force_path_style(path_style)
            .credentials_provider(credentials)
            .http_client(http)
            .timeout_config(timeouts)
            .retry_config(retries)
            // Segments bring their own checksum; nothing is sent in chunks that a proxy may not know.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Ok(S3 { client: Client::from_conf(config), bucket, endpoint, runtime })
    }

    /// Finds out whether the bucket can be used: whether it is there, these keys count, and nothing in it is kept for
    /// ever. Makes it where `create` says so. Blocks.
    pub fn check(&self, create: bool) -> Result<(), ObjectError> {
        // Stores differ in what they say of the lock of a bucket that is not there.
        let listed = self.client.list_objects_v2().bucket(&self.bucket).max_keys(1).send();
        match self.wait(listed) {
            Ok(_listing) => {}
            Err(failed) if create && error::has_code(&failed, "NoSuchBucket") => self.create()?,
            Err(failed) => return Err(said(&failed, "use", &self.place())),
        }
        let asked = self.wait(self.client.get_object_lock_configuration().bucket(&self.bucket).send());
        match asked {
            Ok(answer) => match answer.object_lock_configuration() {
                Some(lock) if lock.object_lock_enabled().is_some() => Err(error::locked(&self.place())),
                _ => Ok(()),
            },
            // There is none, the store knows no locks, or the keys may not ask for them.
            Err(failed) if NO_LOCK.iter().any(|code| error::has_code(&failed, code)) => Ok(()),
            Err(failed) => Err(said(&failed, "use", &self.place())),
        }
    }

    fn create(&self) -> Result<(), ObjectError> {
        match self.wait(self.client.create_bucket().bucket(&self.bucket).send()) {
            Ok(_created) => Ok(()),
            // Another agent was quicker.
            Err(failed) if error::has_code(&failed, "BucketAlreadyOwnedByYou") => Ok(()),
            Err(failed) => Err(said(&failed, "make", &self.place())),
        }
    }

    fn put(&self, key: &str, bytes: Vec<u8>, only_in_place_of: Option<&str>) -> Result<Put, ObjectError> {
        let checksum = STANDARD.encode(Sha256::digest(&bytes));
        let request = self.client.put_object().bucket(&self.bucket).key(key).checksum_sha256(checksum);
        let request = match only_in_place_of {
            Some(etag) => request.if_match(etag),
            None => request.if_none_match("*"),
        };
        match self.wait(request.body(ByteStream::from(bytes)).send()) {
            Ok(stored) => Ok(Put::Stored(stored.e_tag().unwrap_or_default().to_owned())),
            Err(failed) if error::is_condition(&failed) => Ok(Put::Refused),
            // What is to be replaced is gone.
            Err(failed) if only_in_place_of.is_some() && error::has_code(&failed, "NoSuchKey") => {
                Ok(Put::Refused)
            }
            Err(failed) => Err(said(&failed, "write", &self.object(key))),
        }
    }

    /// Reads a body of at most so many bytes; one more means that there is more.
    async fn collect(mut answer: GetObjectOutput, most: u64) -> Result<(Vec<u8>, String), String> {
        let etag = answer.e_tag().unwrap_or_default().to_owned();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.body.next().await {
            let chunk = chunk.map_err(|error| format!("the answer broke off: {error}"))?;
            if bytes.len() as u64 + chunk.len() as u64 > most {
                return Err(format!("it is longer than {most} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((bytes, etag))
    }

    fn read(&self, key: &str, range: Option<String>, most: u64) -> Result<(Vec<u8>, String), ObjectError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key).set_range(range);
        let answer = match self.wait(request.send()) {
            Ok(answer) => answer,
            // Nothing lies behind the end.
            Err(failed) if error::has_code(&failed, "InvalidRange") => return Ok(Default::default()),
            Err(failed) => return Err(said(&failed, "read", &self.object(key))),
        };
        // The limits of the client end with the head of the answer.
        let body = async { tokio::time::timeout(TRY_TIMEOUT, S3::collect(answer, most)).await };
        match self.wait(body) {
            Ok(read) => read.map_err(|reason| error::broken(&self.object(key), &reason)),
            Err(_elapsed) => Err(error::broken(&self.object(key), "the answer took too long")),
        }
    }

    fn wait<T>(&self, request: impl Future<Output = T>) -> T {
        self.runtime.block_on(request)
    }

    fn place(&self) -> String {
        format!("the bucket {} at {}", self.bucket, self.endpoint)
    }

    fn object(&self, key: &str) -> String {
        format!("{key} in the bucket {} at {}", self.bucket, self.endpoint)
    }
}

impl ObjectStore for S3 {
    fn put_if_absent(&self, key: &str, bytes: Vec<u8>) -> Result<Put, ObjectError> {
        self.put(key, bytes, None)
    }

    fn put_if_match(&self, key: &str, bytes: Vec<u8>, etag: &str) -> Result<Put, ObjectError> {
        self.put(key, bytes, Some(etag))
    }

    fn get(&self, key: &str, limit: u64) -> Result<Object, ObjectError> {
        let (bytes, etag) = self.read(key, None, limit)?;
        Ok(Object { bytes, etag })
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Vec<u8>, ObjectError> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let last = offset.saturating_add(length as u64 - 1);
        Ok(self.read(key, Some(format!("bytes={offset}-{last}")), length as u64)?.0)
    }

    fn delete(&self, key: &str) -> Result<(), ObjectError> {
        match self.wait(self.client.delete_object().bucket(&self.bucket).key(key).send()) {
            Ok(_deleted) => Ok(()),
            Err(failed) if error::has_code(&failed, "NoSuchKey") => Ok(()),
            Err(failed) => Err(said(&failed, "remove", &self.object(key))),
        }
    }

    fn list(&self, prefix: &str, after: Option<&str>, fold: bool) -> Result<Listing, ObjectError> {
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .max_keys(PAGE)
            .set_continuation_token(after.map(str::to_owned))
            .set_delimiter(fold.then(|| "/".to_owned()));
        let answer = self.wait(request.send()).map_err(|failed| said(&failed, "list", &self.place()))?;
        let object = |object: &aws_sdk_s3::types::Object| {
            Some((object.key()?.to_owned(), u64::try_from(object.size().unwrap_or(0)).unwrap_or(0)))
        };
        Ok(Listing {
            objects: answer.contents().iter().filter_map(object).collect(),
            folders: answer.common_prefixes().iter().filter_map(|p| Some(p.prefix()?.to_owned())).collect(),
            next: answer.next_continuation_token().map(str::to_owned),
        })
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3").field("endpoint", &self.endpoint).field("bucket", &self.bucket).finish()
    }
}

// === impl Keys ===

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}
