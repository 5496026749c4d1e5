//! How targets are asked: the keys that Prometheus has for each of its HTTP clients.

use serde_json::json;

use super::super::Context;
use crate::config::{ClientTls, HttpAuth, HttpClient, Secret, TlsIdentity};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::secret::{self, SecretError};
use crate::types::{FilePath, Format as _, HeaderValue};
use crate::yaml::{Node, Value};

/// A client for which nothing is written.
pub(super) const DEFAULT: HttpClient = HttpClient {
    auth: HttpAuth::None,
    tls: ClientTls { ca: None, identity: None, server_name: None, insecure_skip_verify: false },
    follow_redirects: true,
};
const DEFAULT_SCHEME: &str = "Bearer";

/// The keys, as they were written.
pub(super) struct Keys {
    pub basic_auth: Option<raw::ScrapeBasicAuth>,
    pub authorization: Option<raw::ScrapeAuthorization>,
    pub bearer_token: Option<raw::SecretReference>,
    pub bearer_token_file: Option<raw::Text<FilePath>>,
    pub tls_config: Option<raw::ScrapeTlsConfig>,
    pub follow_redirects: Option<bool>,
}

pub(super) fn client(keys: Keys, at: &KeyPath, context: &mut Context<'_>) -> HttpClient {
    let given = [
        keys.basic_auth.is_some(),
        keys.authorization.is_some(),
        keys.bearer_token.is_some(),
        keys.bearer_token_file.is_some(),
    ];
    if given.into_iter().filter(|is_given| *is_given).count() > 1 {
        let message = "basic_auth, authorization, bearer_token and bearer_token_file exclude each other";
        context.error(at, Complaint::new(message).help("keep one of them"));
    }
    let token = keys.bearer_token.map(|secret| context.secret(secret));
    let file = keys.bearer_token_file.map(|file| Secret::File(context.absolute(&file.0.0)));
    let auth = match (keys.basic_auth, keys.authorization, token.or(file)) {
        (Some(basic), _, _) => basic_auth(basic, &at.key("basic_auth"), context),
        (None, Some(raw), _) => authorization(raw, &at.key("authorization"), context),
        (None, None, Some(token)) => HttpAuth::Token { scheme: DEFAULT_SCHEME.to_owned(), token },
        (None, None, None) => HttpAuth::None,
    };
    let tls_at = at.key("tls_config");
    let tls = tls(keys.tls_config.unwrap_or_default(), &tls_at, context);
    if tls.insecure_skip_verify && auth != HttpAuth::None {
        let complaint = Complaint::new("any certificate is taken, so anybody may ask for the secret");
        context.warn(&tls_at.key("insecure_skip_verify"), complaint.help("give ca_file instead"));
    }
    HttpClient { auth, tls, follow_redirects: keys.follow_redirects.unwrap_or(DEFAULT.follow_redirects) }
}

fn basic_auth(raw: raw::ScrapeBasicAuth, at: &KeyPath, context: &mut Context<'_>) -> HttpAuth {
    let password = secret(raw.password, raw.password_file, "password", at, context);
    HttpAuth::Basic { username: raw.username.map(|name| name.0.0).unwrap_or_default(), password }
}

fn authorization(raw: raw::ScrapeAuthorization, at: &KeyPath, context: &mut Context<'_>) -> HttpAuth {
    let scheme = raw.kind.map(|kind| kind.0.0.trim().to_owned()).filter(|kind| !kind.is_empty());
    let scheme = scheme.unwrap_or_else(|| DEFAULT_SCHEME.to_owned());
    if scheme.eq_ignore_ascii_case("basic") {
        let complaint = Complaint::new("the type Basic has keys of its own").help("write basic_auth instead");
        context.error(&at.key("type"), complaint);
    } else if let Err(complaint) = HeaderValue::parse(&scheme) {
        context.error(&at.key("type"), complaint);
    }
    match secret(raw.credentials, raw.credentials_file, "credentials", at, context) {
        Some(token) => HttpAuth::Token { scheme, token },
        None => {
            // What is given and wrong was said already.
            if !["credentials", "credentials_file"].iter().any(|key| context.is_written(&at.key(key))) {
                let complaint = Complaint::new("nothing says where the token is");
                context.error(at, complaint.help("give credentials_file: PATH"));
            }
            HttpAuth::None
        }
    }
}

/// A secret that is given as such or as a file.
fn secret(
    given: Option<raw::SecretReference>,
    file: Option<raw::Text<FilePath>>,
    key: &str,
    at: &KeyPath,
    context: &mut Context<'_>,
) -> Option<Secret> {
    if given.is_some() && file.is_some() {
        let complaint = Complaint::new(format!("{key} and {key}_file exclude each other"));
        context.error(at, complaint.help("keep one of them"));
    }
    let file = file.map(|file| Secret::File(context.absolute(&file.0.0)));
    given.map(|secret| context.secret(secret)).or(file)
}

fn tls(raw: raw::ScrapeTlsConfig, at: &KeyPath, context: &mut Context<'_>) -> ClientTls {
    let path = |file: Option<raw::Text<FilePath>>| file.map(|file| context.absolute(&file.0.0));
    let (ca, certificate, key) = (path(raw.ca_file), path(raw.cert_file), path(raw.key_file));
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(TlsIdentity { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            let complaint = Complaint::new("a certificate needs its key").help("give key_file");
            context.error(&at.key("cert_file"), complaint);
            None
        }
        (None, Some(_)) => {
            let complaint = Complaint::new("a key needs its certificate").help("give cert_file");
            context.error(&at.key("key_file"), complaint);
            None
        }
    };
    ClientTls {
        ca,
        identity,
        server_name: raw.server_name.map(|name| name.0.0).filter(|name| !name.is_empty()),
        insecure_skip_verify: raw.insecure_skip_verify.unwrap_or(false),
    }
}

/// Complains about secrets and certificates of a source's jobs that cannot be had, whatever else may be wrong there. Looks
/// at the keys that are for them only: `{env: prod}` may also be the labels of a target.
pub(in crate::validate) fn check_secrets(source: &Node, at: &KeyPath, context: &mut Context<'_>) {
    let at = at.key("scrape_configs");
    for (index, job) in items(source, "scrape_configs").iter().enumerate() {
        let at = at.index(index);
        check_client(job, &at, context);
        let at = at.key("http_sd_configs");
        for (index, discovery) in items(job, "http_sd_configs").iter().enumerate() {
            check_client(discovery, &at.index(index), context);
        }
    }
}

fn check_client(client: &Node, at: &KeyPath, context: &mut Context<'_>) {
    context.check_given(client, at, &["bearer_token"], &[]);
    check_files(client, &["bearer_token_file"], at, |_| true, context);
    for (section, key, file) in
        [("basic_auth", "password", "password_file"), ("authorization", "credentials", "credentials_file")]
    {
        let Some(entry) = client.entry(section) else { continue };
        let at = at.key(section);
        context.check_given(&entry.value, &at, &[key], &[]);
        check_files(&entry.value, &[file], &at, |_| true, context);
    }
    if let Some(entry) = client.entry("tls_config") {
        let is_unreadable = |error: &SecretError| matches!(error, SecretError::Unreadable { .. });
        let keys = ["ca_file", "cert_file", "key_file"];
        check_files(&entry.value, &keys, &at.key("tls_config"), is_unreadable, context);
    }
}

/// Complains about files that these keys name and that cannot be had.
fn check_files(
    node: &Node,
    keys: &[&str],
    at: &KeyPath,
    matters: impl Fn(&SecretError) -> bool,
    context: &mut Context<'_>,
) {
    for key in keys {
        let Some(Value::Text(file)) = node.entry(key).map(|entry| &entry.value.value) else { continue };
        let reference = json!({"file": file});
        for (at, error) in secret::find_missing(&reference, context.base_dir, context.host, &at.key(key)) {
            if matters(&error) {
                context.error(&at, Complaint::new(error.reason()));
            }
        }
    }
}

fn items<'a>(map: &'a Node, key: &str) -> &'a [Node] {
    match map.entry(key).map(|entry| &entry.value.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}
