//! Series that end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_pipeline::source::Mode;

use super::rig::{Kept, Reply, Target, group, run_for, settings};
use crate::discovery::{Discovery, Found};
use crate::settings::Job;
use crate::{Scrape, TargetGroup};

const INTERVAL: Duration = Duration::from_secs(10);

/// What a metric was, scrape by scrape, when a target answers so.
async fn histories(job: impl FnOnce(Job) -> Job, replies: Vec<Reply>, metrics: &[&str]) -> Vec<Vec<String>> {
    let (count, last) = (replies.len(), replies.len() - 1);
    let target = Target::new(move |number| replies[number.min(last)].clone()).await;
    let scrape = Scrape::new(settings(job(Job { interval: Some(INTERVAL), ..target.job() }))).unwrap();
    let kept = Kept::default();
    run_for(scrape, Mode::Follow, INTERVAL * count as u32, &kept).await;
    let times: Vec<i64> = kept.history("up").iter().map(|(time, _)| *time).take(count).collect();
    let of = |metric: &&str| {
        let history = kept.history(metric);
        let at = |time: &i64| {
            let values: Vec<&str> =
                history.iter().filter(|(at, _)| at == time).map(|(_, value)| &**value).collect();
            values.join("+")
        };
        times.iter().map(at).collect()
    };
    metrics.iter().map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn a_series_that_is_gone_becomes_stale_once_and_may_return() {
    let replies = ["a 1\nb 1\n", "b 2\n", "b 3\n", "a 4\nb 4\n", "", "b 6\n"].map(Reply::text).to_vec();
    let seen = histories(|job| job, replies, &["a", "b", "up", "scrape_series_added"]).await;
    assert_eq!(seen[0], ["1", "stale", "", "4", "stale", ""]);
    assert_eq!(seen[1], ["1", "2", "3", "4", "stale", "6"]);
    assert_eq!(seen[2], ["1"; 6]);
    assert_eq!(seen[3], ["2", "0", "0", "1", "0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn all_series_of_a_failed_scrape_become_stale() {
    let good = Reply::text("a 1\nb 1\n");
    let broken = Reply::text("a 2\nc 2\nb b b\n");
    let replies = vec![good.clone(), Reply::status(500), Reply::status(500), good.clone(), broken, good];
    let seen = histories(|job| job, replies, &["a", "b", "c", "up", "scrape_series_added"]).await;
    assert_eq!(seen[0], ["1", "stale", "", "1", "stale", "1"]);
    assert_eq!(seen[1], ["1", "stale", "", "1", "stale", "1"]);
    assert_eq!(seen[2], [""; 6]);
    assert_eq!(seen[3], ["1", "0", "0", "1", "0", "1"]);
    // A failure forgets nothing of what was known before it.
    assert_eq!(seen[4], ["2", "0", "0", "0", "1", "0"]);
}

#[tokio::test(start_paused = true)]
async fn series_with_timestamps_become_stale_where_that_is_wanted() {
    let replies = ["a 1 1700000000000\nb 1\n", "b 2\n"].map(Reply::text).to_vec();
    assert_eq!(histories(|job| job, replies.clone(), &["a"]).await, [["1", ""]]);
    let track = |job| Job { track_timestamps_staleness: true, ..job };
    assert_eq!(histories(track, replies, &["a"]).await, [["1", "stale"]]);
}

#[tokio::test(start_paused = true)]
async fn the_order_of_lines_is_of_no_meaning() {
    let body = |order: &[usize]| {
        let lines = order.iter().map(|index| format!("a{{x=\"{index}\"}} {index}\nb{index} 1\n"));
        Reply::text(&lines.collect::<String>())
    };
    let replies = vec![body(&[1, 2, 3, 4]), body(&[4, 2, 1, 3]), body(&[3, 3, 1, 4, 2]), body(&[2])];
    let seen = histories(|job| job, replies, &["a", "b3", "scrape_series_added"]).await;
    assert_eq!(seen[0], ["1+2+3+4", "4+2+1+3", "3+1+4+2", "2+stale+stale+stale"]);
    assert_eq!(seen[1], ["1", "1", "1", "stale"]);
    assert_eq!(seen[2], ["8", "0", "0", "0"]);
}

/// Says lists that a test gives, at their times.
struct Told(Vec<(u64, Vec<TargetGroup>)>, Arc<Mutex<Option<Found>>>);

impl Discovery for Told {
    fn run(self: Box<Self>, found: Found) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            *self.1.lock().unwrap() = Some(found.clone());
            let begin = tokio::time::Instant::now();
            for (seconds, groups) in self.0 {
                tokio::time::sleep_until(begin + Duration::from_secs(seconds)).await;
                found.report(groups);
            }
            std::future::pending().await
        })
    }
}

async fn told(lists: Vec<(u64, Vec<TargetGroup>)>, seconds: u64) -> Kept {
    let job = Job { name: "j".into(), interval: Some(INTERVAL), ..Job::default() };
    let mut scrape = Scrape::new(settings(job)).unwrap();
    assert!(scrape.add_discovery("j", Box::new(Told(lists, Arc::default()))));
    assert!(!scrape.add_discovery("k", Box::new(Told(Vec::new(), Arc::default()))));
    let kept = Kept::default();
    run_for(scrape, Mode::Follow, Duration::from_secs(seconds), &kept).await;
    kept
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_gone_ends_after_its_second_missed_time() {
    let target = Target::always(Reply::text("a 1\n")).await;
    let kept = told(vec![(0, vec![group(&[&target.address.to_string()])]), (25, vec![])], 60).await;
    for metric in ["a", "up", "scrape_duration_seconds"] {
        let history = kept.history(metric);
        let (before, (time, last)) = (&history[..history.len() - 1], history.last().unwrap());
        assert!(before.iter().all(|(_, value)| value != "stale"));
        // At the time at which it would have been scraped next.
        assert_eq!((time - before.last().unwrap().0, &**last), (10_000, "stale"), "{metric}");
        assert!((25_000..=35_000).contains(time));
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_or_moves_goes_on() {
    let target = Target::new(|number| Reply::text(if number < 2 { "a 1\nb 1\n" } else { "a 2\n" })).await;
    let moved = Target::always(Reply::text("a 3\nc 3\n")).await;
    let named = |address: std::net::SocketAddr| {
        let mut group = group(&[&address.to_string()]);
        group.labels.insert("instance".into(), "i".into());
        vec![group]
    };
    let lists = vec![
        (0, named(target.address)),
        (15, vec![]),
        (17, named(target.address)),
        (35, named(moved.address)),
    ];
    let kept = told(lists, 80).await;
    let values = |metric: &str| kept.history(metric).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    assert!(values("a").iter().all(|value| value != "stale"), "{:?}", values("a"));
    assert!(values("up").iter().all(|value| value == "1"), "{:?}", values("up"));
    assert_eq!(values("b").iter().filter(|value| *value == "stale").count(), 1);
    assert_eq!(values("c").first().map(String::as_str), Some("3"));
    let times: Vec<i64> = kept.history("a").iter().map(|(time, _)| *time).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}
