//! Scrapes that fail as a whole, and what is counted then.

use std::time::Duration;

use weir_samples::relabel::Rule;

use super::rig::{Reply, Target, group, once};
use crate::settings::Job;
use crate::{Failure, Health};

/// One scrape of a job that fails: the reason, and how many samples it says were scraped and left.
async fn check(job: Job, failure: Failure, scraped: u64, left: u64) {
    let (kept, metrics) = once(job).await;
    assert_eq!(metrics.failures(failure), 1, "{failure:?}");
    assert_eq!(metrics.count(Health::Down), 1);
    let value = |metric: &str| kept.values(metric).remove(0).rsplit(' ').next().unwrap().to_owned();
    assert_eq!(value("up"), "0");
    assert_eq!(value("scrape_samples_scraped"), scraped.to_string(), "{failure:?}");
    assert_eq!(value("scrape_samples_post"), left.to_string(), "{failure:?}");
    assert_eq!(kept.values("").len(), 5, "nothing but what the agent says: {:?}", kept.values(""));
    assert!(metrics.targets()[0].last_error.as_ref().is_some_and(|error| !error.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_scrape_fails_as_a_whole() {
    let body = "a 1\nb{long_name=\"some value\"} 2\nc 3\n";
    let target = Target::always(Reply::text(body)).await;
    let job = || target.job();
    check(Job { sample_limit: 2, ..job() }, Failure::SampleLimit, 3, 3).await;
    check(Job { label_limit: 3, ..job() }, Failure::LabelLimit, 2, 1).await;
    check(Job { label_name_length_limit: 8, ..job() }, Failure::LabelLimit, 2, 1).await;
    let long = target.address.to_string().len();
    check(Job { label_value_length_limit: long - 1, ..job() }, Failure::LabelLimit, 1, 0).await;
    check(Job { body_size_limit: body.len() as u64, ..job() }, Failure::BodyLimit, 0, 0).await;
    let nameless = Rule {
        source_labels: vec!["__name__".into()],
        regex: "c".into(),
        target_label: "__name__".into(),
        replacement: String::new(),
        ..Rule::default()
    };
    check(Job { metric_relabel: vec![nameless], ..job() }, Failure::Labels, 3, 2).await;
    let groups = vec![group(&["127.0.0.1:1"]), job().groups.remove(0)];
    let (kept, metrics) = once(Job { target_limit: 1, groups, ..job() }).await;
    assert_eq!((metrics.failures(Failure::TargetLimit), kept.values("up").len()), (2, 2));
    for limited in [
        Job { sample_limit: 3, ..job() },
        Job { label_limit: 4, label_name_length_limit: 9, label_value_length_limit: long, ..job() },
        Job { body_size_limit: body.len() as u64 + 1, target_limit: 1, ..job() },
    ] {
        assert_eq!(once(limited).await.1.count(Health::Up), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_answer_as_it_should_is_down() {
    let cases = [
        (Reply::status(500), Failure::Status, 0),
        (Reply::status(204), Failure::Status, 0),
        (Reply::text("a 1\nb b b\n"), Failure::Malformed, 1),
        (Reply::text("a 1\na{x=\"1\",x=\"2\"} 1\n"), Failure::Labels, 2),
        (Reply { delay: Duration::from_secs(11), ..Reply::text("a 1\n") }, Failure::Timeout, 0),
    ];
    for (reply, failure, scraped) in cases {
        let target = Target::always(reply).await;
        check(target.job(), failure, scraped, scraped.min(1)).await;
    }
    let mut packed = Reply::text("no gzip");
    packed.headers.push(("content-encoding", "gzip".into()));
    check(Target::always(packed).await.job(), Failure::Encoding, 0, 0).await;
    let nobody = Job { name: "j".into(), groups: vec![group(&["127.0.0.1:1"])], ..Job::default() };
    check(nobody, Failure::Connection, 0, 0).await;
}

#[tokio::test(start_paused = true)]
async fn samples_far_ahead_are_left_out() {
    let target = Target::always(Reply::text("a 1 1700000601000\nb 1 1700000600000\n")).await;
    let (kept, metrics) = once(target.job()).await;
    assert_eq!((kept.values("a").len(), kept.values("b").len()), (0, 1));
    assert_eq!(metrics.out_of_bounds.load(std::sync::atomic::Ordering::Relaxed), 1);
}
