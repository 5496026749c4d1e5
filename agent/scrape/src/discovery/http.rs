//! Targets that a server names (`http_sd_configs`): JSON, asked for again and again.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::{Discovery, Found, TargetGroup, read_json};
use crate::client::{Client, failed};
use crate::settings::HttpDiscovery;

/// Largest list.
const MAX_BODY_BYTES: usize = 16 << 20;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
const REFRESH_INTERVAL: HeaderName = HeaderName::from_static("x-prometheus-refresh-interval-seconds");

/// Asks a server.
pub(crate) struct Server {
    settings: HttpDiscovery,
    client: Client,
}

// === impl Server ===

impl Server {
    pub(crate) fn new(settings: HttpDiscovery) -> Server {
        let client = Client::new(settings.http.clone());
        Server { settings, client }
    }

    async fn ask(&self) -> Result<Vec<TargetGroup>, String> {
        let url = Url::parse(&self.settings.url).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let seconds = self.settings.refresh_interval.as_secs_f64().to_string();
        if let Ok(seconds) = HeaderValue::from_str(&seconds) {
            headers.insert(REFRESH_INTERVAL, seconds);
        }
        let mut response = self.client.get(&url, headers).await.map_err(|error| error.message)?;
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(is_json) {
            return Err(format!(
                "the content type {:?} is not application/json",
                content_type.unwrap_or_default()
            ));
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| failed(error).message)? {
            body.extend_from_slice(&piece);
            if body.len() > MAX_BODY_BYTES {
                return Err(format!("the answer is larger than {} MiB", MAX_BODY_BYTES >> 20));
            }
        }
        let mut groups = read_json(&body)?;
        for group in &mut groups {
            group.labels.insert("__meta_url".to_owned(), self.settings.url.clone());
        }
        Ok(groups)
    }
}

impl Discovery for Server {
    fn run(self: Box<Self>, found: Found) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            loop {
                let asked = tokio::time::timeout(TIMEOUT, self.ask()).await;
                let late = || Err(format!("no answer within {} s", TIMEOUT.as_secs()));
                match asked.unwrap_or_else(|_| late()) {
                    Ok(groups) => found.report(groups),
                    Err(error) => {
                        tracing::warn!(%error, "cannot ask for targets; the last ones are kept");
                        found.fail();
                    }
                }
                tokio::time::sleep(self.settings.refresh_interval).await;
            }
        })
    }
}

/// `application/json`, perhaps with the only charset that JSON has.
fn is_json(content_type: &str) -> bool {
    let (media_type, parameters) = content_type.trim().split_once(';').unwrap_or((content_type.trim(), ""));
    let parameters = parameters.trim().replace('"', "");
    media_type.trim().eq_ignore_ascii_case("application/json")
        && (parameters.is_empty() || parameters.eq_ignore_ascii_case("charset=utf-8"))
}
