//! Headers of requests: those of the protocol, which nobody configures, and those that somebody did.

use reqwest::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};

use crate::negotiate::Version;
use crate::settings::{Settings, SettingsError};

/// Says which version of the protocol a request is in (specification 1.0, "Protocol"; 2.0, "Protocol").
pub(crate) const VERSION: &str = "x-prometheus-remote-write-version";
/// How the agent calls itself.
pub(crate) const AGENT: &str = concat!("Weir/", env!("CARGO_PKG_VERSION"));

/// Headers that are the protocol's or HTTP's own. Authorization is here as well: it belongs into `auth`, where it is read
/// from a file.
const RESERVED: [HeaderName; 11] = [
    CONTENT_ENCODING,
    CONTENT_TYPE,
    USER_AGENT,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    ACCEPT_ENCODING,
    CONNECTION,
    HOST,
    TE,
    TRAILER,
    UPGRADE,
];

/// The configured headers with the tenant's.
///
/// # Errors
///
/// A header that is reserved, twice there, or none.
pub(crate) fn configured(settings: &Settings) -> Result<HeaderMap, SettingsError> {
    let tenant = settings.tenant.iter().map(|tenant| (&settings.tenant_header, tenant));
    let all = settings.headers.iter().map(|(name, value)| (name, value)).chain(tenant);
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        let wrong = |reason| SettingsError::Header { name: name.clone(), reason };
        let known =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("it is no name of a header"))?;
        let is_protocols = known.as_str().starts_with("x-prometheus-remote-write-");
        if RESERVED.contains(&known) || is_protocols {
            return Err(wrong("it is reserved for the protocol"));
        }
        if known == reqwest::header::AUTHORIZATION {
            return Err(wrong("set auth instead, which keeps the secret out of the configuration"));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| wrong("its value has characters that a header cannot have"))?;
        if headers.insert(known, value).is_some() {
            return Err(wrong("it is there twice"));
        }
    }
    Ok(headers)
}

/// The headers of a request in this version.
pub(crate) fn of_request(configured: &HeaderMap, version: Version) -> HeaderMap {
    let mut headers = configured.clone();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(version.content_type()));
    headers.insert(HeaderName::from_static(VERSION), HeaderValue::from_static(version.header()));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(headers: &[(&str, &str)]) -> Settings {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings { url: "http://localhost/api/v1/receive".into(), headers, ..Settings::default() }
    }

    #[test]
    fn reserved_headers_cannot_be_configured() {
        for name in [
            "Content-Encoding",
            "content-type",
            "USER-AGENT",
            "X-Prometheus-Remote-Write-Version",
            "x-prometheus-remote-write-samples-written",
            "Authorization",
            "Host",
            "Content-Length",
            "not a name",
        ] {
            let error = settings(&[(name, "x")]).check().unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(settings(&[("X-Scope", "a"), ("x-scope", "b")]).check().is_err());
        assert!(settings(&[("X-Scope", "a\nb")]).check().is_err());
        let tenant =
            Settings { tenant: Some("t".into()), tenant_header: "Content-Type".into(), ..settings(&[]) };
        assert!(tenant.check().is_err());
        settings(&[("X-Scope", "a")]).check().unwrap();
    }

    #[test]
    fn a_url_has_a_host_and_no_password() {
        for url in ["", "localhost:9090", "ftp://localhost/", "http://", "http://me:secret@localhost/"] {
            let error = Settings { url: url.into(), ..Settings::default() }.check().unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn numbers_have_ranges() {
        let good = settings(&[]);
        assert!(Settings { shards: 0, ..good.clone() }.check().is_err());
        assert!(Settings { shards: 65, ..good.clone() }.check().is_err());
        assert!(Settings { max_samples: 0, ..good.clone() }.check().is_err());
        assert!(Settings { max_bytes: 1, ..good.clone() }.check().is_err());
        assert!(Settings { timeout: std::time::Duration::ZERO, ..good }.check().is_err());
    }
}
