//! References: `oci://host[:port]/repository[:tag][@sha256:…]`, and the prefixes of them that settings are for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::digest::Digest;

const SCHEME: &str = "oci://";
/// As the distribution specification has it.
const MAX_NAME_BYTES: usize = 255;
const MAX_TAG_BYTES: usize = 128;

/// An artefact in a registry. It has a tag, a digest or both; with both, the digest decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The beginning of references: a registry, or one with the first parts of a repository's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReferencePrefix {
    registry: String,
    /// Without a slash at its ends; empty for all of the registry.
    path: String,
}

/// What is wrong with a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not begin as one.
    #[error("a reference begins with oci://, such as oci://registry.example/team-a/sampler:1.0.0")]
    Scheme,
    /// The host is none.
    #[error("{0:?} is no registry: a host name or an address, and a port where it is not 443")]
    Registry(String),
    /// The repository's name is none.
    #[error(
        "{0:?} is no repository: parts of lower-case letters, digits and single . _ - between them, joined by /"
    )]
    Repository(String),
    /// The tag is none.
    #[error("{0:?} is no tag: letters, digits, . _ and -, at most 128")]
    Tag(String),
    /// The digest is none.
    #[error("{0:?} is no digest: sha256: and 64 hexadecimal digits in lower case")]
    Digest(String),
    /// Neither a tag nor a digest is there.
    #[error("it says no version; give a tag or a digest, such as {0}:1.0.0")]
    NoVersion(String),
}

// === impl Reference ===

impl Reference {
    /// The host, with its port where one is given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's name within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same artefact, by this digest.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Reference {
        Reference { digest: Some(digest), ..self.clone() }
    }

    /// Whether the registry is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.registry)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        let rest = text.strip_prefix(SCHEME).ok_or(ReferenceError::Scheme)?;
        let (registry, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let registry = check_registry(registry)?;
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (rest, None),
        };
        let (repository, tag) = match name.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (name, None),
        };
        if repository.len() > MAX_NAME_BYTES || !is_path(repository) {
            return Err(ReferenceError::Repository(shortened(repository)));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag(shortened(tag)));
        }
        let digest = match digest.map(|digest| (digest, digest.parse())) {
            Some((digest, Err(_))) => return Err(ReferenceError::Digest(shortened(digest))),
            Some((_, Ok(digest))) => Some(digest),
            None => None,
        };
        if tag.is_none() && digest.is_none() {
            return Err(ReferenceError::NoVersion(text.to_owned()));
        }
        Ok(Reference { registry, repository: repository.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

// === impl ReferencePrefix ===

impl ReferencePrefix {
    /// Whether a reference begins with it, at the border of a part.
    pub fn covers(&self, reference: &Reference) -> bool {
        if self.registry != reference.registry {
            return false;
        }
        match reference.repository.strip_prefix(&self.path) {
            Some(rest) => self.path.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// How much of a reference it says; of two that cover one, the longer one holds.
    pub fn length(&self) -> usize {
        self.path.len()
    }
}

impl FromStr for ReferencePrefix {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<ReferencePrefix, ReferenceError> {
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let (registry, path) = rest.split_once('/').unwrap_or((rest, ""));
        let registry = check_registry(registry)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        if !path.is_empty() && (path.len() > MAX_NAME_BYTES || !is_path(path)) {
            return Err(ReferenceError::Repository(shortened(path)));
        }
        Ok(ReferencePrefix { registry, path: path.to_owned() })
    }
}

impl fmt::Display for ReferencePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.registry)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, "/{}", self.path) }
    }
}

// === the parts ===

/// A host's name has no case, so it is taken in lower case.
fn check_registry(text: &str) -> Result<String, ReferenceError> {
    let (host, port) = split_port(text);
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if is_port && is_host(host) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(ReferenceError::Registry(shortened(text)))
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        // What stands behind the bracket and is no port makes the host invalid.
        return match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => ("", None),
        };
    }
    match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_name = host.len() <= 253 && host.split('.').all(is_label);
    is_name || host.parse::<std::net::Ipv6Addr>().is_ok()
}

fn is_loopback(registry: &str) -> bool {
    let (host, _) = split_port(registry);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Parts are letters and digits with one separator between them: `.`, `_`, `__` or any number of `-`.
fn is_path(path: &str) -> bool {
    path.split('/').all(is_part)
}

fn is_part(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let at_ends =
        bytes.first().is_some_and(|byte| is_word(*byte)) && bytes.last().is_some_and(|byte| is_word(*byte));
    let is_separator =
        |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
    at_ends && part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(is_separator)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= MAX_TAG_BYTES
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// For a message.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(text: &str) -> Result<Reference, ReferenceError> {
        text.parse()
    }

    #[test]
    fn references_are_read_and_written_alike() {
        for text in [
            "oci://registry.example/sampler:1.4.2".to_owned(),
            "oci://registry.example:5000/team-a/x/log__sampler:v1".to_owned(),
            format!("oci://127.0.0.1:5000/a@sha256:{HEX}"),
            format!("oci://[::1]:5000/a/b--c:latest@sha256:{HEX}"),
            "oci://localhost/a:_1".to_owned(),
        ] {
            assert_eq!(parse(&text).unwrap().to_string(), text);
        }
        let both = parse(&format!("oci://Registry.Example/a/b:1@sha256:{HEX}")).unwrap();
        assert_eq!((both.registry(), both.repository()), ("registry.example", "a/b"));
        assert_eq!((both.tag(), both.digest()), (Some("1"), Some(Digest::of(b""))));
    }

    #[test]
    fn what_is_no_reference_is_refused_with_its_part() {
        use ReferenceError as E;
        type Test = fn(&E) -> bool;
        let cases: [(&str, Test); 22] = [
            ("", |e| *e == E::Scheme),
            ("registry.example/a:1", |e| *e == E::Scheme),
            ("https://registry.example/a:1", |e| *e == E::Scheme),
            ("oci://", |e| matches!(e, E::Registry(_))),
            ("oci:///a:1", |e| matches!(e, E::Registry(_))),
            ("oci://user@host/a:1", |e| matches!(e, E::Registry(_))),
            ("oci://host:0/a:1", |e| matches!(e, E::Registry(_))),
            ("oci://host:x/a:1", |e| matches!(e, E::Registry(_))),
            ("oci://[::1/a:1", |e| matches!(e, E::Registry(_))),
            ("oci://[::1]x/a:1", |e| matches!(e, E::Registry(_))),
            ("oci://-host/a:1", |e| matches!(e, E::Registry(_))),
            ("oci://host", |e| matches!(e, E::Repository(_))),
            ("oci://host/A:1", |e| matches!(e, E::Repository(_))),
            ("oci://host/a//b:1", |e| matches!(e, E::Repository(_))),
            ("oci://host/a..b:1", |e| matches!(e, E::Repository(_))),
            ("oci://host/../b:1", |e| matches!(e, E::Repository(_))),
            ("oci://host/a?b:1", |e| matches!(e, E::Repository(_))),
            ("oci://host/a", |e| matches!(e, E::NoVersion(_))),
            ("oci://host/a:", |e| matches!(e, E::Tag(_))),
            ("oci://host/a:.1", |e| matches!(e, E::Tag(_))),
            ("oci://host/a:1@", |e| matches!(e, E::Digest(_))),
            ("oci://host/a@sha512:00", |e| matches!(e, E::Digest(_))),
        ];
        for (text, is_expected) in cases {
            let error = parse(text).unwrap_err();
            assert!(is_expected(&error), "{text}: {error}");
        }
    }

    #[test]
    fn a_prefix_ends_at_the_border_of_a_part() {
        let reference = parse("oci://host:1/team-a/x:1").unwrap();
        for (prefix, expected) in [
            ("host:1", true),
            ("host:1/", true),
            ("oci://host:1/team-a", true),
            ("host:1/team-a/x", true),
            ("host:1/team", false),
            ("host:1/team-a/x/y", false),
            ("host", false),
            ("host:2", false),
        ] {
            let prefix: ReferencePrefix = prefix.parse().unwrap();
            assert_eq!(prefix.covers(&reference), expected, "{prefix}");
        }
        assert!("host/Team".parse::<ReferencePrefix>().is_err());
        assert!("".parse::<ReferencePrefix>().is_err());
    }

    #[test]
    fn loopback_is_this_machine_alone() {
        for (registry, expected) in [
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("localhost:5000", true),
            ("[::1]:5000", true),
            ("localhost.example", false),
            ("127.0.0.1.example", false),
            ("10.0.0.1:5000", false),
        ] {
            let reference = parse(&format!("oci://{registry}/a:1")).unwrap();
            assert_eq!(reference.is_loopback(), expected, "{registry}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_comes_back(text in "oci://[a-z0-9.:\\[\\]-]{0,20}/[a-z0-9._/-]{0,20}(:[a-zA-Z0-9._-]{0,8})?") {
            if let Ok(reference) = parse(&text) {
                prop_assert_eq!(parse(&reference.to_string()).unwrap(), reference);
            }
        }

        #[test]
        fn nothing_panics(text in ".{0,80}") {
            let _ = parse(&text);
            let _ = parse(&format!("oci://{text}"));
            let _ = text.parse::<ReferencePrefix>();
        }
    }
}
