//! Requests of which some is invalid (remote write 1.0, "Labels"; 2.0, "Partial Write" and "Invalid Samples").

use std::time::Duration;

use prost::Message as _;
use tokio::sync::oneshot;
use tokio::time::timeout;
use weir_samples::proto::write_v2::{self, Request};

use super::support::*;
use crate::intake::Refusal;

#[tokio::test(start_paused = true)]
async fn valid_series_are_taken_and_the_answer_is_400_with_reasons_and_counts() {
    for protocol in PROTOCOLS {
        for (request, counts) in [(v1(&["up", "", "down"]), None), (v2(&["up", "", "down"]), Some([2, 0, 0]))]
        {
            let (answered, intake) = send(protocol, settings(), request).await;
            assert_eq!((answered.status.as_u16(), written(&answered)), (400, counts));
            assert_eq!(
                String::from_utf8_lossy(&answered.body),
                "1 of 3 samples were not taken: the label __name__ is missing (1 samples, 0 exemplars; first of metric \"\")"
            );
            assert_eq!(answered.header("content-type"), "text/plain; charset=utf-8");
            let taken =
                ["up", "down"].map(|metric| format!("{metric}{{cluster=\"c1\",job=\"a\",node=\"n1\"}}"));
            assert_eq!(intake.series(), [taken]);
            assert_eq!(intake.refused(), [(Refusal::Malformed, 1)]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_valid_is_safe_before_the_client_hears_400() {
    for request in [v1(&["up", ""]), v2(&["up", ""])] {
        let connection = connect(settings());
        let (tell, told) = oneshot::channel();
        connection.intake.will(Verdict::Later(told));
        let mut client = Client::new(Protocol::Http1, connection.stream).await;
        let mut sending = std::pin::pin!(client.send(request));
        assert!(timeout(Duration::from_secs(5), &mut sending).await.is_err());
        assert_eq!(connection.intake.refused(), []);
        tell.send(()).unwrap();
        assert_eq!(sending.await.status, 400);
        assert_eq!(connection.intake.refused(), [(Refusal::Malformed, 1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_valid_but_not_safe_is_sent_again_whole() {
    for request in [v1(&["up", ""]), v2(&["up", ""])] {
        let connection = connect(settings());
        connection.intake.will(Verdict::NotSafe);
        let mut client = Client::new(Protocol::Http1, connection.stream).await;
        let answered = client.send(request.clone()).await;
        assert!(is_unavailable(&answered));
        assert!(matches!(written(&answered), None | Some([0, 0, 0])));
        assert_eq!(client.send(request).await.status, 400);
        let keys = connection.intake.keys();
        assert!(keys.len() == 2 && keys[0] == keys[1] && keys[0].is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_any_valid_sample_is_no_message() {
    for (request, counts) in [(v1(&["", ""]), None), (v2(&["", ""]), Some([0, 0, 0]))] {
        let (answered, intake) = send(Protocol::Http1, settings(), request).await;
        assert_eq!((answered.status.as_u16(), written(&answered), intake.messages()), (400, counts, 0));
        assert_eq!(intake.refused(), [(Refusal::Malformed, 2)]);
    }
}

#[tokio::test(start_paused = true)]
async fn samples_histograms_and_exemplars_are_counted_apart() {
    let symbols: Vec<String> = ["", "__name__", "up", "h"].map(String::from).to_vec();
    let histogram = |count| write_v2::Histogram {
        count: Some(write_v2::Count::Int(count)),
        timestamp: 5,
        ..write_v2::Histogram::default()
    };
    let exemplar = |labels_refs| write_v2::Exemplar { labels_refs, value: 1.0, timestamp: 4 };
    let up = write_v2::TimeSeries {
        labels_refs: vec![1, 2],
        samples: vec![write_v2::Sample { value: 1.0, timestamp: 4, start_timestamp: 1 }; 3],
        exemplars: vec![exemplar(vec![]), exemplar(vec![1])],
        ..write_v2::TimeSeries::default()
    };
    // Zero observations in no bucket are valid; seven in none are not.
    let h = write_v2::TimeSeries {
        labels_refs: vec![1, 3],
        histograms: vec![histogram(0), histogram(7)],
        ..write_v2::TimeSeries::default()
    };
    let body = Request { symbols, timeseries: vec![up, h] }.encode_to_vec();
    let (answered, intake) = send(Protocol::Http2, settings(), post(V2, pack(&body))).await;
    assert_eq!((answered.status.as_u16(), written(&answered)), (400, Some([3, 1, 1])));
    let text = String::from_utf8_lossy(&answered.body).into_owned();
    assert!(text.starts_with("1 of 5 samples were not taken, and 1 of 2 exemplars: "), "{text}");
    assert!(text.contains("buckets") && text.contains("without a value"), "{text}");
    assert_eq!((intake.series()[0].len(), intake.refused()), (4, vec![(Refusal::Malformed, 1)]));
}

#[tokio::test(start_paused = true)]
async fn exemplars_of_1_0_without_a_sample_are_counted_and_refuse_nothing() {
    use weir_samples::proto::prometheus::{Exemplar, Label, TimeSeries, WriteRequest};
    let labels = vec![Label { name: "__name__".into(), value: "up".into() }];
    let exemplars = vec![Exemplar { labels: vec![], value: 1.0, timestamp: 1 }];
    let series = TimeSeries { labels, exemplars, ..TimeSeries::default() };
    let body = WriteRequest { timeseries: vec![series], metadata: vec![] }.encode_to_vec();
    let (answered, intake) = send(Protocol::Http1, settings(), post(V1, pack(&body))).await;
    assert!(is_success(&answered));
    assert_eq!((intake.messages(), intake.refused()), (0, vec![(Refusal::Unsupported, 1)]));
}
