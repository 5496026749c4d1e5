//! Native histograms, which only protobuf has.

use std::time::Duration;

use prost::Message as _;
use weir_pipeline::source::Mode;
use weir_samples::proto::client::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::rig::{Kept, Reply, Target, run_for, settings};
use crate::Scrape;
use crate::settings::Job;

const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

fn body() -> Vec<u8> {
    let bucket = Bucket { upper_bound: Some(1.0), cumulative_count: Some(2), ..Bucket::default() };
    let histogram = Histogram {
        sample_count: Some(3),
        sample_sum: Some(4.5),
        bucket: vec![bucket],
        schema: Some(0),
        zero_threshold: Some(0.001),
        zero_count: Some(3),
        ..Histogram::default()
    };
    let label = LabelPair { name: Some("x".into()), value: Some("y".into()) };
    let metric = Metric { label: vec![label], histogram: Some(histogram), ..Metric::default() };
    let family = MetricFamily {
        name: Some("h".into()),
        r#type: Some(MetricType::Histogram as i32),
        metric: vec![metric],
        ..MetricFamily::default()
    };
    family.encode_length_delimited_to_vec()
}

async fn kept(job: impl FnOnce(Job) -> Job, seconds: u64) -> Vec<String> {
    let target =
        Target::new(|number| Reply::of_type(PROTOBUF, if number < 2 { body() } else { Vec::new() })).await;
    let scrape = Scrape::new(settings(job(target.job()))).unwrap();
    let kept = Kept::default();
    run_for(scrape, Mode::Follow, Duration::from_secs(seconds), &kept).await;
    let instance = format!("cluster=\"c\",instance=\"{}\",job=\"j\",", target.address);
    let mut values = kept.values("h");
    values.iter_mut().for_each(|value| *value = value.replace(&instance, "").replace("cluster=\"c\",", ""));
    values
        .iter()
        .map(|value| value.replace(&format!("instance=\"{}\",job=\"j\",", target.address), ""))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn native_histograms_come_and_end_as_such() {
    let native = |job| Job { native_histograms: true, interval: Some(Duration::from_secs(10)), ..job };
    let series = "h{x=\"y\"}";
    let wanted = ["histogram 4.5", "histogram 4.5", "histogram stale"];
    assert_eq!(kept(native, 30).await, wanted.map(|value| format!("{series} {value}")));
    let both = |job| Job { always_scrape_classic_histograms: true, ..native(job) };
    assert!(kept(both, 1).await.len() > 1);
    let classic = kept(|job| job, 1).await;
    assert!(
        classic.iter().any(|value| value.starts_with("h_sum"))
            && !classic.iter().any(|value| value.contains("histogram"))
    );
}
