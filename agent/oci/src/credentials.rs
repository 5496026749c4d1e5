//! Credentials for a registry: a docker `config.json`, which is also what a Kubernetes pull secret holds under
//! `.dockerconfigjson`.
//!
//! Invariant: no error and no `Debug` holds a secret.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::reference::Reference;

/// What docker calls its own registry.
const DOCKER_HUB: [&str; 3] = ["index.docker.io", "docker.io", "registry-1.docker.io"];

/// Who we are to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that the registry's token service exchanges for others.
    IdentityToken(String),
    /// A token that the registry takes as it is.
    RegistryToken(String),
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It is no docker configuration.
    #[error("it is no docker config.json: {0}")]
    Malformed(String),
    /// What stands there for the registry is of no use.
    #[error("the entry {entry:?} in auths {problem}")]
    Entry {
        /// The key.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A program would have to be asked.
    #[error(
        "the credentials for {registry} are kept by the credential helper docker-credential-{helper}, which is not \
         run; write them into a file of their own, as `docker --config DIR login {registry}` does where no helper is set"
    )]
    Helper {
        /// The registry.
        registry: String,
        /// The helper's name.
        helper: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

/// The credential that a docker configuration has for this reference: that of the longest entry that the reference
/// begins with. `None` = it has none, and the registry is asked as nobody.
pub fn find_credential(config: &str, reference: &Reference) -> Result<Option<Credential>, CredentialsError> {
    // The parser's own message may show what it found, which may be a password.
    let config: DockerConfig = serde_json::from_str(config).map_err(|error| {
        CredentialsError::Malformed(format!("{:?} error in line {}", error.classify(), error.line()))
    })?;
    let registry = reference.registry();
    let helper =
        |helper: &String| CredentialsError::Helper { registry: registry.to_owned(), helper: helper.clone() };
    if let Some((_, name)) = config.cred_helpers.iter().find(|(key, _)| covers(key, reference).is_some()) {
        return Err(helper(name));
    }
    let entries = config.auths.iter().filter_map(|(key, entry)| Some((covers(key, reference)?, key, entry)));
    let Some((_, key, entry)) = entries.max_by_key(|(length, ..)| *length) else { return Ok(None) };
    match (credential(key, entry)?, &config.creds_store) {
        (Some(credential), _) => Ok(Some(credential)),
        // An empty entry is docker's note that the helper has it.
        (None, Some(name)) if !name.is_empty() => Err(helper(name)),
        (None, _) => Ok(None),
    }
}

/// How much of the reference a key says; `None` if it is about something else. Keys may be addresses, as docker's own
/// `https://index.docker.io/v1/` is.
fn covers(key: &str, reference: &Reference) -> Option<usize> {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let path = path.trim_end_matches('/');
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    let is_hub = |host: &str| DOCKER_HUB.contains(&host);
    let is_host =
        host.eq_ignore_ascii_case(reference.registry()) || is_hub(host) && is_hub(reference.registry());
    if !is_host {
        return None;
    }
    let rest = reference.repository().strip_prefix(path)?;
    (path.is_empty() || rest.is_empty() || rest.starts_with('/')).then_some(path.len())
}

fn credential(key: &str, entry: &Entry) -> Result<Option<Credential>, CredentialsError> {
    let wrong = |problem| CredentialsError::Entry { entry: key.to_owned(), problem };
    if !entry.registrytoken.is_empty() {
        return Ok(Some(Credential::RegistryToken(entry.registrytoken.clone())));
    }
    if !entry.identitytoken.is_empty() {
        return Ok(Some(Credential::IdentityToken(entry.identitytoken.clone())));
    }
    if entry.auth.is_empty() {
        return match (entry.username.as_str(), entry.password.as_str()) {
            ("", "") => Ok(None),
            ("", _) => Err(wrong("has a password and no username")),
            (username, password) => Ok(Some(Credential::Password {
                username: username.to_owned(),
                password: password.to_owned(),
            })),
        };
    }
    let decoded = STANDARD.decode(entry.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':'));
    let Some((username, password)) = pair else {
        return Err(wrong("has an auth that is not base64 of name:password"));
    };
    Ok(Some(Credential::Password { username: username.to_owned(), password: password.to_owned() }))
}

// === impl Credential ===

impl Credential {
    /// Who it is, without the secret.
    pub fn who(&self) -> String {
        match self {
            Credential::Password { username, .. } => format!("the user {username:?}"),
            Credential::IdentityToken(_) => "the holder of an identity token".to_owned(),
            Credential::RegistryToken(_) => "the holder of a registry token".to_owned(),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.who())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn find(config: &Value, reference: &str) -> Result<Option<Credential>, CredentialsError> {
        find_credential(&config.to_string(), &reference.parse().unwrap())
    }

    fn password(username: &str, password: &str) -> Option<Credential> {
        Some(Credential::Password { username: username.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn the_longest_entry_holds() {
        let config = json!({"auths": {
            "host:5000": {"auth": STANDARD.encode("a:b:c")},
            "https://host:5000/team-a": {"username": "team", "password": "p"},
            "other": {"identitytoken": "t"},
            "third": {"registrytoken": "r"},
            "https://index.docker.io/v1/": {"auth": STANDARD.encode("hub:p")},
        }});
        assert_eq!(find(&config, "oci://host:5000/x:1").unwrap(), password("a", "b:c"));
        assert_eq!(find(&config, "oci://host:5000/team-a/x:1").unwrap(), password("team", "p"));
        assert_eq!(find(&config, "oci://host:5000/team-ab/x:1").unwrap(), password("a", "b:c"));
        assert_eq!(find(&config, "oci://docker.io/a/b:1").unwrap(), password("hub", "p"));
        assert_eq!(find(&config, "oci://other/x:1").unwrap(), Some(Credential::IdentityToken("t".into())));
        assert_eq!(find(&config, "oci://third/x:1").unwrap(), Some(Credential::RegistryToken("r".into())));
        assert_eq!(find(&config, "oci://host/x:1").unwrap(), None);
        assert_eq!(find(&json!({}), "oci://host/x:1").unwrap(), None);
    }

    #[test]
    fn helpers_are_refused_by_name() {
        let helpers = json!({"credHelpers": {"host": "ecr-login"}});
        let error = find(&helpers, "oci://host/x:1").unwrap_err().to_string();
        assert!(error.contains("docker-credential-ecr-login"), "{error}");
        assert_eq!(find(&helpers, "oci://else/x:1").unwrap(), None);
        let store = json!({"credsStore": "desktop", "auths": {"host": {}}});
        assert!(matches!(find(&store, "oci://host/x:1"), Err(CredentialsError::Helper { .. })));
        assert_eq!(find(&store, "oci://else/x:1").unwrap(), None);
    }

    #[test]
    fn secrets_are_in_no_message() {
        let secret = "hunter2";
        for config in [
            json!({"auths": {"host": {"auth": secret}}}).to_string(),
            json!({"auths": {"host": {"password": secret}}}).to_string(),
            json!({"auths": {"host": secret}}).to_string(),
            json!({"auths": secret}).to_string(),
        ] {
            let error = find_credential(&config, &"oci://host/x:1".parse().unwrap()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
        }
        for credential in [
            Credential::Password { username: "u".into(), password: secret.into() },
            Credential::IdentityToken(secret.into()),
            Credential::RegistryToken(secret.into()),
        ] {
            assert!(!format!("{credential:?}").contains(secret));
        }
    }
}
