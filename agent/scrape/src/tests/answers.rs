//! What becomes of what a target answers: labels, formats, headers.

use std::io::Write as _;

use weir_samples::relabel::{Action, Rule};

use super::rig::{Reply, Target, once};
use crate::settings::{Job, Protocol};
use crate::{Health, TargetGroup};

#[tokio::test(start_paused = true)]
async fn samples_bear_the_labels_of_their_target_and_cluster() {
    let body = "# HELP http_total Requests.\n# TYPE http_total counter\nhttp_total{code=\"200\",job=\"own\"} 3\nb 1e3\n";
    let target = Target::always(Reply::text(body)).await;
    let (kept, metrics) = once(target.job()).await;
    let instance = target.address.to_string();
    let labels = format!("cluster=\"c\",instance=\"{instance}\",job=\"j\"");
    assert_eq!(kept.values("b"), [format!("b{{{labels}}} 1000")]);
    let wanted = format!(
        "http_total{{cluster=\"c\",code=\"200\",exported_job=\"own\",instance=\"{instance}\",job=\"j\"}} 3"
    );
    assert_eq!(kept.values("http"), [wanted]);
    assert_eq!(kept.values("up"), [format!("up{{{labels}}} 1")]);
    for (metric, value) in [("scraped", 2), ("post_metric_relabeling", 2)] {
        let metric = format!("scrape_samples_{metric}");
        assert_eq!(kept.values(&metric), [format!("{metric}{{{labels}}} {value}")]);
    }
    assert_eq!(kept.values("scrape_series_added"), [format!("scrape_series_added{{{labels}}} 2")]);
    assert_eq!(kept.values("scrape_duration_seconds").len(), 1);
    let seen = kept.take();
    let kind = |metric: &str| seen.iter().find(|seen| seen.series.starts_with(metric)).unwrap().kind.clone();
    assert_eq!((&*kind("http"), &*kind("b{"), &*kind("up")), ("counter", "", "gauge"));
    let snapshot = metrics.targets().remove(0);
    assert_eq!((snapshot.health, snapshot.series, snapshot.samples), (Health::Up, 2, 2));
    assert_eq!((snapshot.bytes, &*snapshot.instance), (body.len() as u64, &*instance));
    assert_eq!(snapshot.top.iter().map(|(_, series)| series).sum::<u64>(), 2);
}

#[tokio::test(start_paused = true)]
async fn exposed_labels_are_honored_or_moved_away() {
    let body = "a{job=\"x\",exported_job=\"y\",cluster=\"z\"} 1\nb{job=\"\"} 2\n";
    let target = Target::always(Reply::text(body)).await;
    let labels = |job: Job| async {
        let instance = format!("instance=\"{}\"", target.address);
        let mut values = once(job).await.0.values("");
        values.retain(|value| value.starts_with(['a', 'b']));
        values.iter().map(|value| value.replace(&instance, "i")).collect::<Vec<_>>()
    };
    let wanted = [
        "a{cluster=\"z\",exported_exported_job=\"x\",exported_job=\"y\",i,job=\"j\"} 1",
        "b{cluster=\"c\",i,job=\"j\"} 2",
    ];
    assert_eq!(labels(target.job()).await, wanted);
    let wanted = ["a{cluster=\"z\",exported_job=\"y\",i,job=\"x\"} 1", "b{cluster=\"c\",i} 2"];
    assert_eq!(labels(Job { honor_labels: true, ..target.job() }).await, wanted);
}

#[tokio::test(start_paused = true)]
async fn series_are_relabelled_and_dropped() {
    let body = "a 1\nb{x=\"1\"} 2\nb{x=\"2\"} 3\nc 4\n";
    let target = Target::always(Reply::text(body)).await;
    let rule = |source: &str, regex: &str, action| Rule {
        source_labels: vec![source.into()],
        regex: regex.into(),
        action,
        ..Rule::default()
    };
    let metric_relabel = vec![
        rule("__name__", "c", Action::Drop),
        Rule { source_labels: Vec::new(), ..rule("", "x", Action::LabelDrop) },
    ];
    let (kept, metrics) = once(Job { metric_relabel, ..target.job() }).await;
    let first = |begin: &str| {
        kept.values(begin)
            .iter()
            .map(|value| value.rsplit(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // Two texts that became one series: the first of them counts.
    assert_eq!((first("a"), first("b{"), first("c{")), (vec!["1".into()], vec!["2".into()], vec![]));
    assert_eq!(first("scrape_samples_scraped"), ["4"]);
    assert_eq!(first("scrape_samples_post"), ["3"]);
    assert_eq!(metrics.duplicates.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_content_type_says_the_format() {
    let text = "a 1\n";
    let cases: [(&str, &str, Option<Protocol>, bool); 7] = [
        ("text/plain", text, None, true),
        ("application/openmetrics-text; version=1.0.0", "a 1\n# EOF\n", None, true),
        ("application/openmetrics-text", text, None, false),
        ("text/html", text, None, false),
        ("text/html", text, Some(Protocol::PrometheusText0_0_4), true),
        ("", text, None, false),
        ("text/html", "", None, true),
    ];
    for (content_type, body, fallback, is_up) in cases {
        let mut reply = Reply::of_type(content_type, body);
        reply.headers.retain(|(_, value)| !value.is_empty());
        let target = Target::always(reply).await;
        let (kept, _) = once(Job { fallback, ..target.job() }).await;
        let up = kept.values("up").remove(0);
        assert_eq!(up.ends_with(" 1"), is_up, "{content_type:?} {body:?}");
        assert_eq!(kept.values("a").len(), usize::from(is_up && !body.is_empty()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_says_what_prometheus_would_say() {
    let target = Target::always(Reply::text("a 1\n")).await;
    once(target.job()).await;
    assert!(target.header("accept").starts_with("application/openmetrics-text;version=1.0.0"));
    assert_eq!(target.header("accept-encoding"), "gzip");
    assert_eq!(target.header("x-prometheus-scrape-timeout-seconds"), "10");
    assert_eq!(target.header("user-agent"), concat!("Weir/", env!("CARGO_PKG_VERSION")));
    assert_eq!(target.requests.lock().unwrap()[0].uri.path(), "/metrics");
    let protocols = vec![Protocol::PrometheusText0_0_4];
    once(Job { enable_compression: false, protocols, ..target.job() }).await;
    assert_eq!(target.header("accept-encoding"), "identity");
    assert_eq!(target.header("accept"), "text/plain;version=0.0.4;q=0.6,*/*;q=0.5");
}

#[tokio::test(start_paused = true)]
async fn packed_answers_are_unpacked() {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..5_000).for_each(|index| writeln!(packer, "a{{x=\"{index}\"}} {index}").unwrap());
    let mut reply = Reply::text("");
    reply.body = packer.finish().unwrap();
    reply.headers.push(("content-encoding", "gzip".into()));
    let target = Target::always(reply).await;
    let (kept, _) = once(target.job()).await;
    assert_eq!(kept.values("a{").len(), 5_000);
}

#[tokio::test(start_paused = true)]
async fn redirects_are_followed_unless_told_otherwise() {
    let target = Target::new(|number| match number {
        0 | 2 => Reply { headers: vec![("location", "/other".into())], ..Reply::status(302) },
        _ => Reply::text("a 1\n"),
    })
    .await;
    let (kept, _) = once(target.job()).await;
    assert_eq!(kept.values("a").len(), 1);
    let mut job = target.job();
    job.http.follow_redirects = false;
    assert_eq!(once(job).await.0.values("a").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_target_named_twice_is_scraped_once() {
    let target = Target::always(Reply::text("a 1\n")).await;
    let mut job = target.job();
    job.groups.push(job.groups[0].clone());
    let mut other = TargetGroup { ..job.groups[0].clone() };
    other.labels.insert("zone".into(), "z".into());
    job.groups.push(other);
    let (kept, metrics) = once(job).await;
    assert_eq!((kept.values("a").len(), metrics.count(Health::Up)), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn exemplars_and_timestamps_go_with_their_samples_once() {
    let body = "# TYPE a counter\na_total 1 # {trace_id=\"t\"} 0.5 1699999990.0\n# TYPE b gauge\nb 2 1699999999.5\n# EOF\n";
    let target = Target::always(Reply::of_type("application/openmetrics-text", body)).await;
    let scrape = crate::Scrape::new(super::rig::settings(target.job())).unwrap();
    let kept = super::rig::Kept::default();
    let seconds = std::time::Duration::from_secs(70);
    super::rig::run_for(scrape, weir_pipeline::source::Mode::Follow, seconds, &kept).await;
    assert_eq!(kept.history("b"), [(-500, "2".into())]);
    let seen = kept.take();
    let exemplars: Vec<bool> = seen
        .iter()
        .filter(|seen| seen.series.starts_with("a_total"))
        .map(|seen| seen.exemplars > 0)
        .collect();
    assert_eq!(exemplars[..2], [true, false]);
    let target = Target::always(Reply::of_type("application/openmetrics-text", body)).await;
    let (kept, _) = once(Job { honor_timestamps: false, ..target.job() }).await;
    assert_eq!(kept.history("b"), [(0, "2".into())]);
}
