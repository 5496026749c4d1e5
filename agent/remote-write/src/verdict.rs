//! What an answer means.
//!
//! 1. What is tried again does not depend on what a body says, only on status, headers and version. Bodies are read to
//!    book samples under the right reason, and logged.
//! 2. Of an answer that is final the whole request is booked: what is not dropped is delivered.

use std::time::Duration;

use crate::encode::Sent;
use crate::exchange::Answer;
use crate::negotiate::Version;
use crate::reason::Reason;

/// Dropped samples by reason.
pub(crate) type Drops = Vec<(Reason, u64)>;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has its end: so many are dropped, the others are in the receiver.
    Done(Drops),
    /// To be sent again, not before this if the receiver said so.
    Retry(Option<Duration>),
    /// The same, until somebody changes the configuration, here or there.
    Hold(&'static str),
    /// Too large: to be halved; one sample alone is dropped.
    Split,
    /// Nothing was stored, since the receiver does not know 2.0: the same once more in 1.0.
    FallBack,
}

/// What an answer to a request means; `may_fall_back` says whether 1.0 may be spoken, `doubts` whether a 400 may be that
/// of a 1.x receiver.
pub(crate) fn judge(
    (version, sent): (Version, &Sent),
    answer: &Answer,
    may_fall_back: bool,
    doubts: bool,
) -> Verdict {
    let is_v2 = version == Version::V2;
    let written = answer.written.filter(|_| is_v2).map(|written| written.samples + written.histograms);
    match (answer.status, written) {
        (200..300, Some(written)) => Verdict::Done(missing(sent.points(), written, Reason::Partial)),
        (200..300, None) if is_v2 && may_fall_back => Verdict::FallBack,
        (200..300, None) => Verdict::Done(Vec::new()),
        (415, None) if is_v2 && may_fall_back => Verdict::FallBack,
        (400, None) if is_v2 && may_fall_back && doubts => Verdict::FallBack,
        (429 | 500..600, _) => Verdict::Retry(answer.retry_after),
        (401 | 403, _) => Verdict::Hold("the receiver does not accept who the agent is"),
        (404, _) => Verdict::Hold("the receiver has nothing at this path"),
        (300..400, _) => Verdict::Hold("the receiver redirects, which is not followed; set the new url"),
        (413, _) => Verdict::Split,
        (400..500, _) => Verdict::Done(refused(sent, answer, written)),
        _ => Verdict::Retry(None),
    }
}

/// Drops of a request that a receiver refused, all of it or a part.
fn refused(sent: &Sent, answer: &Answer, written: Option<u64>) -> Drops {
    let points = sent.points();
    let said = Said::read(&answer.said);
    let otherwise = if answer.status == 409 { Reason::Conflict } else { Reason::Rejected };
    if let Some(written) = written {
        // Both are known: how many, and of some of them why.
        let mut drops = cut(said.drops, points.saturating_sub(written));
        let known: u64 = drops.iter().map(|(_, count)| count).sum();
        drops.extend(missing(points.saturating_sub(known), written, otherwise));
        return drops;
    }
    match said.counts {
        // Thanos: these were not stored, the others were.
        true => cut(said.drops, points),
        // Prometheus: for one sample nothing of the request is stored.
        false => vec![(said.drops.first().map_or(otherwise, |(reason, _)| *reason), points)],
    }
}

fn missing(points: u64, written: u64, reason: Reason) -> Drops {
    match points.saturating_sub(written) {
        0 => Vec::new(),
        count => vec![(reason, count)],
    }
}

/// No more than so many in all.
fn cut(mut drops: Drops, mut most: u64) -> Drops {
    for (_, count) in &mut drops {
        *count = (*count).min(most);
        most -= *count;
    }
    drops.retain(|(_, count)| *count > 0);
    drops
}

/// What a body says about samples.
#[derive(Debug, Default)]
struct Said {
    drops: Drops,
    /// It says how many, as Thanos does; else each line is one sample or the whole request.
    counts: bool,
}

/// Phrases of Prometheus' storage, which Thanos has too (github.com/prometheus/prometheus, storage/interface.go).
const PHRASES: [(&str, Reason); 4] = [
    ("out of order sample", Reason::OutOfOrder),
    ("duplicate sample for timestamp", Reason::Duplicate),
    ("out of bounds", Reason::OutOfBounds),
    ("too old sample", Reason::ReceiverTooOld),
];

// === impl Said ===

impl Said {
    fn read(text: &str) -> Said {
        let mut said = Said::default();
        for (at, add) in text.match_indices("add ") {
            if let Some((count, what)) = counted(text.get(at + add.len()..).unwrap_or_default()) {
                said.counts = true;
                what.into_iter().for_each(|reason| said.add(reason, count));
            }
        }
        if !said.counts {
            for line in text.lines() {
                let found = PHRASES.iter().find(|(phrase, _)| line.contains(phrase));
                found.into_iter().for_each(|(_, reason)| said.add(*reason, 1));
            }
        }
        said
    }

    fn add(&mut self, reason: Reason, count: u64) {
        match self.drops.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => self.drops.push((reason, count)),
        }
    }
}

/// `3 samples: out of order sample` and the like; exemplars are no samples and have no reason.
fn counted(text: &str) -> Option<(u64, Option<Reason>)> {
    let (count, rest) = text.split_once(' ')?;
    let (what, why) = rest.split_once(": ")?;
    let count = count.parse().ok()?;
    match what {
        "samples" => {
            let found = PHRASES.iter().find(|(phrase, _)| why.starts_with(phrase));
            Some((count, Some(found.map_or(Reason::Conflict, |(_, reason)| *reason))))
        }
        // Each of them has one sample.
        "series" => Some((count, Some(Reason::InvalidLabels))),
        "exemplars" => Some((count, None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Written;

    const SENT: Sent = Sent { floats: 8, histograms: 2, exemplars: 3, newest: 0 };
    /// Thanos 0.42.4, before what it says of each.
    const THANOS: &str = "forwarding request to endpoint addr: 127.0.0.1:29801, capnp_addr: 127.0.0.1:19391, az: : writing locally: ";

    fn answer(status: u16, said: &str) -> Answer {
        Answer { status, said: said.into(), ..Answer::default() }
    }

    fn judged(version: Version, answer: &Answer) -> Verdict {
        judge((version, &SENT), answer, true, true)
    }

    #[test]
    fn each_status_has_its_meaning() {
        use Verdict::{Done, FallBack, Hold, Retry, Split};
        let all = |reason| Done(vec![(reason, 10)]);
        // Status, meaning in 1.0, meaning in 2.0 of a receiver that did not show yet that it knows 2.0.
        let cases = [
            (200, Done(vec![]), FallBack),
            (204, Done(vec![]), FallBack),
            (400, all(Reason::Rejected), FallBack),
            (402, all(Reason::Rejected), all(Reason::Rejected)),
            (405, all(Reason::Rejected), all(Reason::Rejected)),
            (408, all(Reason::Rejected), all(Reason::Rejected)),
            (409, all(Reason::Conflict), all(Reason::Conflict)),
            (413, Split, Split),
            (415, all(Reason::Rejected), FallBack),
            (422, all(Reason::Rejected), all(Reason::Rejected)),
            (429, Retry(None), Retry(None)),
            (499, all(Reason::Rejected), all(Reason::Rejected)),
            (500, Retry(None), Retry(None)),
            (501, Retry(None), Retry(None)),
            (503, Retry(None), Retry(None)),
            (599, Retry(None), Retry(None)),
            (101, Retry(None), Retry(None)),
        ];
        for (status, v1, v2) in cases {
            assert_eq!(judged(Version::V1, &answer(status, "")), v1, "{status} in 1.0");
            assert_eq!(judged(Version::V2, &answer(status, "")), v2, "{status} in 2.0");
        }
        for status in [301, 302, 307, 308, 401, 403, 404] {
            for version in [Version::V1, Version::V2] {
                assert!(matches!(judged(version, &answer(status, "")), Hold(_)), "{status}");
            }
        }
        let after = Some(Duration::from_secs(7));
        for status in [429, 500, 503] {
            let answer = Answer { retry_after: after, ..answer(status, "") };
            assert_eq!(judged(Version::V1, &answer), Retry(after));
        }
    }

    #[test]
    fn a_receiver_that_is_known_to_speak_2_0_is_not_doubted() {
        let of = |status, may_fall_back, doubts| {
            judge((Version::V2, &SENT), &answer(status, ""), may_fall_back, doubts)
        };
        assert_eq!(of(400, true, false), Verdict::Done(vec![(Reason::Rejected, 10)]));
        assert_eq!(of(415, true, false), Verdict::FallBack);
        assert_eq!(of(204, true, false), Verdict::FallBack);
        assert_eq!(of(415, false, false), Verdict::Done(vec![(Reason::Rejected, 10)]));
    }

    #[test]
    fn what_a_receiver_says_that_it_wrote_is_believed_in_2_0_only() {
        let written = |samples, histograms| Some(Written { samples, histograms, exemplars: 0 });
        let with = |status, written, said: &str| Answer { written, ..answer(status, said) };
        let done = |drops: &[(Reason, u64)]| Verdict::Done(drops.to_vec());
        assert_eq!(judged(Version::V2, &with(204, written(8, 2), "")), done(&[]));
        assert_eq!(judged(Version::V2, &with(204, written(5, 2), "")), done(&[(Reason::Partial, 3)]));
        assert_eq!(judged(Version::V2, &with(204, written(0, 0), "")), done(&[(Reason::Partial, 10)]));
        assert_eq!(judged(Version::V2, &with(204, written(99, 0), "")), done(&[]));
        assert_eq!(judged(Version::V1, &with(204, written(0, 0), "")), done(&[]));
        // As Prometheus 3.9.1 answers.
        let said = "out of order sample for series {__name__=\"a\"}\nduplicate sample for timestamp 7; overrides not allowed: existing 1, new value 2 for series {__name__=\"b\"}\nout of order exemplar for series {__name__=\"c\"}\n";
        let got = judged(Version::V2, &with(400, written(5, 2), said));
        let wanted = [(Reason::OutOfOrder, 1), (Reason::Duplicate, 1), (Reason::Rejected, 1)];
        assert_eq!(got, done(&wanted));
        let got = judged(Version::V2, &with(400, written(7, 2), said));
        assert_eq!(got, done(&[(Reason::OutOfOrder, 1)]), "never more than were not written");
    }

    #[test]
    fn what_thanos_says_of_a_conflict_is_counted() {
        use Reason::{Conflict, Duplicate, InvalidLabels, OutOfBounds, OutOfOrder, ReceiverTooOld};
        let cases: [(&str, &[(Reason, u64)]); 9] = [
            ("add 1 samples: out of order sample\n", &[(OutOfOrder, 1)]),
            ("add 2 samples: duplicate sample for timestamp\n", &[(Duplicate, 2)]),
            ("add 2 samples: out of bounds\n", &[(OutOfBounds, 2)]),
            ("add 4 samples: too old sample\n", &[(ReceiverTooOld, 4)]),
            (
                "3 errors: add 1 samples: duplicate sample for timestamp; add 1 samples: out of bounds; add 1 samples: out of order sample\n",
                &[(Duplicate, 1), (OutOfBounds, 1), (OutOfOrder, 1)],
            ),
            (
                "3 errors: add 1 series: label set contains a label with empty name or value; add 1 series: label set contains duplicate label names; add 1 series: out of order labels\n",
                &[(InvalidLabels, 3)],
            ),
            ("add 1 exemplars: out of order exemplar\n", &[]),
            ("add 99 samples: out of order sample\n", &[(OutOfOrder, 10)]),
            ("add 1 samples: something new\n", &[(Conflict, 1)]),
        ];
        for (said, wanted) in cases {
            let got = judged(Version::V1, &answer(409, &format!("{THANOS}{said}")));
            assert_eq!(got, Verdict::Done(wanted.to_vec()), "{said}");
        }
        assert_eq!(judged(Version::V1, &answer(409, "conflict")), Verdict::Done(vec![(Conflict, 10)]));
    }

    #[test]
    fn prometheus_refuses_a_whole_request_of_1_0_for_one_sample() {
        let cases = [
            ("out of order sample\n", Reason::OutOfOrder),
            (
                "duplicate sample for timestamp 1795461446077; overrides not allowed: existing 1, new value 2\n",
                Reason::Duplicate,
            ),
            ("out of bounds\n", Reason::OutOfBounds),
            ("out of bounds: timestamp is too far in the future\n", Reason::OutOfBounds),
            ("too old sample\n", Reason::ReceiverTooOld),
            ("s2: corrupt input\n", Reason::Rejected),
        ];
        for (said, reason) in cases {
            assert_eq!(judged(Version::V1, &answer(400, said)), Verdict::Done(vec![(reason, 10)]), "{said}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_done_with_a_request_does_not_depend_on_the_body(status in 100u16..600, said: String, doubts: bool, may: bool) {
            for version in [Version::V1, Version::V2] {
                let of = |said: &str| judge((version, &SENT), &answer(status, said), may, doubts);
                let (one, other) = (of(&said), of("add 1 samples: out of order sample"));
                proptest::prop_assert_eq!(std::mem::discriminant(&one), std::mem::discriminant(&other));
            }
        }

        #[test]
        fn no_more_is_dropped_than_was_sent(status in 200u16..600, said: String, counts: Vec<u64>, written: Option<(u64, u64)>) {
            let said = counts.iter().fold(said, |said, count| format!("{said}; add {count} samples: out of order sample"));
            let written = written.map(|(samples, histograms)| Written { samples: samples / 2, histograms: histograms / 2, exemplars: 0 });
            for version in [Version::V1, Version::V2] {
                let answer = Answer { written, ..answer(status, &said) };
                if let Verdict::Done(drops) = judged(version, &answer) {
                    let sum: u64 = drops.iter().map(|(_, count)| count).sum();
                    proptest::prop_assert!(sum <= SENT.points());
                }
            }
        }
    }
}
