//! Asks a target once and reads the answer while it comes in.

use std::time::Duration;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use weir_samples::exposition::Format;

use super::TargetState;
use super::run::{Outcome, Scraper};
use crate::body::Body;
use crate::client::failed;
use crate::ingest::{Counts, Ingest, ScrapeError};
use crate::metrics::Failure;
use crate::settings::{DEFAULT_BODY_BYTES, Job, Protocol};

const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

// === impl Scraper ===

impl Scraper {
    /// Asks, and stages what the answer says; the caller rolls back what is not good to its end.
    pub(super) async fn fetch(&self, state: &mut TargetState, limit: Duration, time: i64) -> Outcome {
        let none = |error| Outcome { result: Err(error), counts: Counts::default(), bytes: 0 };
        let Some(parts) = self.shared.jobs.get(self.target.job) else {
            let message = "its job is gone".to_owned();
            return none(ScrapeError { failure: Failure::Connection, message });
        };
        let headers = request_headers(&self.job, limit);
        let mut response = match parts.client.get(&self.target.url, headers).await {
            Ok(response) => response,
            Err(error) => return none(error),
        };
        let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let content_type = header(CONTENT_TYPE).unwrap_or_default().to_owned();
        let format = Format::of_content_type(&content_type, self.job.fallback.map(Protocol::format));
        let is_packed =
            header(CONTENT_ENCODING).is_some_and(|encoding| encoding.eq_ignore_ascii_case("gzip"));
        let body_limit = match self.job.body_size_limit {
            0 => DEFAULT_BODY_BYTES,
            limit => limit,
        };
        let mut body = Body::new(is_packed, body_limit);
        let known = format.unwrap_or(Format::Text);
        let mut ingest = Ingest::new(&mut state.cache, &state.rules, self.read, (known, time));
        // An empty body is one without samples, whatever its type.
        let feed = |ingest: &mut Ingest<'_>, piece: &[u8]| match format {
            Some(_) => ingest.feed(piece),
            None => Err(wrong_type(&content_type)),
        };
        let read = async {
            while let Some(piece) = response.chunk().await.map_err(failed)? {
                body.take(&piece, |piece| feed(&mut ingest, piece))?;
            }
            body.finish(|piece| feed(&mut ingest, piece))
        };
        let read = read.await;
        let bytes = body.bytes;
        if let Err(error) = read {
            // What was counted before a fault in the text itself stands; a body that broke off is as none.
            let is_of_text =
                matches!(error.failure, Failure::Malformed | Failure::LabelLimit | Failure::Labels);
            let counts = if is_of_text { ingest.abandon() } else { Counts::default() };
            return Outcome { result: Err(error), counts, bytes };
        }
        if bytes == 0 {
            return Outcome { result: Ok(ingest.nothing()), counts: Counts::default(), bytes };
        }
        let (staged, result) = ingest.finish();
        let counts = staged.counts;
        Outcome { result: result.map(|()| staged), counts, bytes }
    }
}

fn request_headers(job: &Job, limit: Duration) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let encoding = if job.enable_compression { "gzip" } else { "identity" };
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
    if let Ok(accept) = HeaderValue::from_str(&accept(&job.protocols())) {
        headers.insert(ACCEPT, accept);
    }
    if let Ok(seconds) = HeaderValue::from_str(&limit.as_secs_f64().to_string()) {
        headers.insert(SCRAPE_TIMEOUT, seconds);
    }
    headers
}

/// RFC 9110, section 12.5.1: what is asked for, best first, and at last anything.
fn accept(protocols: &[Protocol]) -> String {
    let mut weight = Protocol::ALL.len() + 1;
    let mut text = String::new();
    for protocol in protocols {
        text.push_str(&format!("{};q=0.{weight},", protocol.media_type()));
        weight = weight.saturating_sub(1);
    }
    text.push_str(&format!("*/*;q=0.{weight}"));
    text
}

fn wrong_type(content_type: &str) -> ScrapeError {
    let message = match content_type {
        "" => "the answer has no Content-Type; set fallback_scrape_protocol if the target cannot be repaired"
            .to_owned(),
        other => format!(
            "the Content-Type {:?} is of no known format; set fallback_scrape_protocol if the target cannot be repaired",
            other.chars().take(100).collect::<String>()
        ),
    };
    ScrapeError { failure: Failure::ContentType, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_asked_for_first_and_protobuf_with_native_histograms() {
        let text = accept(&Job::default().protocols());
        let wanted = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                      application/openmetrics-text;version=0.0.1;q=0.5,\
                      text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(text, wanted);
        let native = accept(&Job { native_histograms: true, ..Job::default() }.protocols());
        assert!(native.starts_with("application/vnd.google.protobuf;"), "{native}");
    }
}
