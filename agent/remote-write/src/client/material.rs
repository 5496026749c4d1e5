//! Secrets and certificates, as they lie in their files now.

use std::path::PathBuf;

use super::ClientError;
use crate::settings::{Auth, Secret, Tls};

/// Secrets and certificates may be this long.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What was read.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Material {
    pub ca: Vec<u8>,
    /// The key, then its certificates.
    pub identity: Vec<u8>,
    pub secret: String,
}

// === impl Material ===

impl Material {
    pub fn read(tls: &Tls, auth: &Auth) -> Result<Material, ClientError> {
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

    /// Whether connections made with the other may be used with this.
    pub fn is_same_peer(&self, other: &Material) -> bool {
        self.ca == other.ca && self.identity == other.identity
    }
}

fn read_secret(secret: &Secret) -> Result<String, ClientError> {
    let (text, path) = match secret {
        Secret::Variable(name) => {
            let unreadable = |error: std::env::VarError| ClientError::Unreadable {
                what: "the environment variable",
                path: name.clone(),
                // The error of a variable that is not UTF-8 would hold its value.
                reason: match error {
                    std::env::VarError::NotPresent => "it is not set".to_owned(),
                    std::env::VarError::NotUnicode(_) => "it is not UTF-8 text".to_owned(),
                },
            };
            (std::env::var(name).map_err(unreadable)?, name.clone())
        }
        Secret::File(path) => {
            let shown = path.display().to_string();
            // The conversion's own error would hold the bytes.
            let text =
                String::from_utf8(read_file("the secret", path)?).map_err(|_| ClientError::Unusable {
                    what: "the secret",
                    path: shown.clone(),
                    reason: "it is not UTF-8 text".to_owned(),
                })?;
            (text, shown)
        }
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        let reason = "it has characters that a header cannot have".to_owned();
        return Err(ClientError::Unusable { what: "the secret", path, reason });
    }
    Ok(text.to_owned())
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
