//! HTTP: where something is asked, and with which headers.

use super::Format;
use crate::error::Complaint;
use crate::text::quoted;

/// Where something is asked for over HTTP, with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url(pub String);

/// A target in the short form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScrapeTarget {
    /// `host:port`.
    pub address: String,
    /// `http` or `https`, where it was a URL.
    pub scheme: Option<&'static str>,
    /// Its path, where it was a URL that has one.
    pub path: Option<String>,
}

/// The path of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpPath(pub String);

/// The name of a header (RFC 9110 section 5.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HeaderName(pub String);

/// The value of a header (RFC 9110 section 5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderValue(pub String);

/// The name of a parameter in a query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ParameterName(pub String);

const SCHEMES: [(&str, &str, &str); 2] = [("http://", "http", "80"), ("https://", "https", "443")];

/// Whether this is a host, perhaps with a port: `a:1`, `[::1]`.
fn is_authority(text: &str) -> bool {
    let (host, port) = split_port(text);
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_odd =
        |character: char| character.is_whitespace() || character.is_control() || "/\\?#@".contains(character);
    let is_bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    !host.is_empty() && !host.contains(is_odd) && !is_bare_v6 && port.is_none_or(is_port)
}

/// The host and the port. The colons of an IPv6 address are within brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(|character| character.is_whitespace() || character.is_control())
}

impl Format for Url {
    const NAME: &'static str = "Url";
    const DESCRIPTION: &'static str = "`https://` or `http://`, a host, perhaps a port, a path and a query.";
    const PATTERN: Option<&'static str> = Some("^https?://[^/?]+([/?].*)?$");
    const EXPECTED: &'static str = "a URL such as https://thanos:19291/api/v1/receive";

    fn parse(text: &str) -> Result<Url, Complaint> {
        let rest = SCHEMES.iter().find_map(|(prefix, ..)| text.strip_prefix(prefix));
        let authority = rest.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
        // A password in it would be in every log, so it is not shown either.
        if authority.unwrap_or(text).contains('@') {
            let complaint = Complaint::new("a URL has no name and password in it");
            return Err(complaint.help("write them where the keys for them are"));
        }
        if !authority.is_some_and(is_authority) || !is_printable(text) || text.contains('#') {
            return Err(Complaint::new(format!("expected {}, found {}", Url::EXPECTED, quoted(text))));
        }
        Ok(Url(text.to_owned()))
    }
}

impl Format for ScrapeTarget {
    const NAME: &'static str = "ScrapeTarget";
    const DESCRIPTION: &'static str =
        "A target: a host and a port, such as `127.0.0.1:9600`, or a URL, such as `https://host:8443/path`.";
    const EXPECTED: &'static str = "a target such as 127.0.0.1:9600 or https://host:8443/path";

    fn parse(text: &str) -> Result<ScrapeTarget, Complaint> {
        let wrong = || Complaint::new(format!("expected {}, found {}", ScrapeTarget::EXPECTED, quoted(text)));
        if text.contains("://") {
            // Checks what both have in common, without showing a password.
            Url::parse(text).map_err(|complaint| match text.contains('@') {
                true => complaint.help("give the target under scrape_configs, with basic_auth"),
                false => wrong(),
            })?;
        }
        let scheme = SCHEMES.iter().find(|(prefix, ..)| text.starts_with(prefix));
        let Some((prefix, scheme, default_port)) = scheme else {
            if is_authority(text) && split_port(text).1.is_none() {
                return Err(wrong().help("add the port"));
            }
            if !is_authority(text) {
                let is_path = text.contains('/') && !text.contains("://");
                let help = is_path.then(|| format!("did you mean {}?", quoted(&format!("http://{text}"))));
                return Err(Complaint { help, ..wrong() });
            }
            return Ok(ScrapeTarget { address: text.to_owned(), scheme: None, path: None });
        };
        let rest = text.strip_prefix(prefix).unwrap_or_default();
        if rest.contains('?') {
            let complaint = Complaint::new("the short form has no parameters");
            return Err(complaint.help("give the target under scrape_configs, with params"));
        }
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let address = match split_port(authority) {
            (_, Some(_)) => authority.to_owned(),
            (host, None) => format!("{host}:{default_port}"),
        };
        // A mere slash is how URLs are written that have no path.
        let path = (path.len() > 1).then(|| path.to_owned());
        Ok(ScrapeTarget { address, scheme: Some(scheme), path })
    }
}

impl Format for HttpPath {
    const NAME: &'static str = "HttpPath";
    const DESCRIPTION: &'static str = "The path of a URL, beginning with `/`.";
    const PATTERN: Option<&'static str> = Some("^/\\S*$");
    const EXPECTED: &'static str = "a path such as /metrics";

    fn parse(text: &str) -> Result<HttpPath, Complaint> {
        if !text.starts_with('/') || !is_printable(text) || text.contains('#') {
            return Err(Complaint::new(format!("expected {}, found {}", HttpPath::EXPECTED, quoted(text))));
        }
        Ok(HttpPath(text.to_owned()))
    }
}

impl Format for HeaderName {
    const NAME: &'static str = "HeaderName";
    const DESCRIPTION: &'static str = "The name of a header.";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$");
    const EXPECTED: &'static str = "the name of a header such as X-Scope-OrgID";

    fn parse(text: &str) -> Result<HeaderName, Complaint> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_token) {
            return Err(Complaint::new(format!("{} is not the name of a header", quoted(text))));
        }
        Ok(HeaderName(text.to_owned()))
    }
}

impl Format for HeaderValue {
    const NAME: &'static str = "HeaderValue";
    const DESCRIPTION: &'static str =
        "The value of a header: visible characters of ASCII, and blanks between them.";
    const PATTERN: Option<&'static str> = Some("^[!-~]([ -~]*[!-~])?$");
    const TAKES_NUMBERS: bool = true;
    const EXPECTED: &'static str = "the value of a header";

    fn parse(text: &str) -> Result<HeaderValue, Complaint> {
        let is_good = !text.is_empty()
            && text.trim_matches(' ') == text
            && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !is_good {
            return Err(Complaint::new(
                "a header's value has visible characters of ASCII, and blanks between them",
            ));
        }
        Ok(HeaderValue(text.to_owned()))
    }
}

impl Format for ParameterName {
    const NAME: &'static str = "ParameterName";
    const DESCRIPTION: &'static str = "The name of a parameter in a URL.";
    const PATTERN: Option<&'static str> = Some("^[\\s\\S]{1,}$");
    const EXPECTED: &'static str = "the name of a parameter such as module";

    fn parse(text: &str) -> Result<ParameterName, Complaint> {
        if text.is_empty() {
            return Err(Complaint::new(format!("expected {}, found an empty text", ParameterName::EXPECTED)));
        }
        Ok(ParameterName(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn targets_are_addresses_or_urls() {
        let target = |address: &str, scheme, path: Option<&str>| {
            Some(ScrapeTarget { address: address.into(), scheme, path: path.map(str::to_owned) })
        };
        let cases = [
            ("127.0.0.1:9600", target("127.0.0.1:9600", None, None)),
            ("[::1]:9600", target("[::1]:9600", None, None)),
            ("https://host:8443/path", target("host:8443", Some("https"), Some("/path"))),
            ("http://host", target("host:80", Some("http"), None)),
            ("https://host/", target("host:443", Some("https"), None)),
            ("host", None),
            ("::1:9600", None),
            ("host:9600/metrics", None),
            ("host:0", None),
            ("http://host?x=1", None),
            ("ftp://host:1", None),
            ("http://a@host:1", None),
            ("a b:1", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(ScrapeTarget::parse(text).ok(), expected, "{text}");
        }
        let complaint = ScrapeTarget::parse("https://admin:hunter2@host:1").unwrap_err();
        assert!(!format!("{complaint:?}").contains("hunter2"));
    }

    #[test]
    fn urls() {
        for good in ["http://a", "https://a:1/b?c=d", "http://[::1]:1/", "http://a?b", "http://a/@b"] {
            assert!(Url::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a:1", "http://", "http:///a", "http://a:0", "http://a b", "http://a/#b", "http://u:p@a"]
        {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
        assert!(!format!("{:?}", Url::parse("http://u:hunter2@a").unwrap_err()).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn what_is_read_matches_the_pattern_and_nothing_panics(text in "(https?://)?[a-z:/?@\\[\\] é0-9-]{0,9}") {
            let matches = |pattern: Option<&str>| regex::Regex::new(pattern.unwrap()).unwrap().is_match(&text);
            let _ = ScrapeTarget::parse(&text);
            if Url::parse(&text).is_ok() {
                prop_assert!(matches(Url::PATTERN));
            }
            if HttpPath::parse(&text).is_ok() {
                prop_assert!(matches(HttpPath::PATTERN));
            }
            prop_assert_eq!(HeaderName::parse(&text).is_ok(), matches(HeaderName::PATTERN));
            prop_assert_eq!(HeaderValue::parse(&text).is_ok(), matches(HeaderValue::PATTERN));
        }
    }
}
