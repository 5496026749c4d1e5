//! A receiver that answers by script, and says what came.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;
use tokio::time::Instant;
use weir_samples::proto::{prometheus, write_v2};

use crate::exchange::{Answer, Exchange, Exchanging, Failure, Written};
use crate::negotiate::Version;

/// A series' labels as text, and one of its samples.
pub type Sample = (String, i64);

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub version: Version,
    pub at: Instant,
    pub samples: Vec<Sample>,
    pub message: Message,
}

/// Its message.
#[derive(Clone, Debug)]
pub enum Message {
    V1(prometheus::WriteRequest),
    V2(write_v2::Request),
}

/// What is done with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// This is answered; stored is what a success stores.
    Say(Answer),
    /// Stored, and this is answered.
    Store(Answer),
    /// Nobody is there.
    Away,
    /// It is stored or not, and the answer is lost after so long.
    Lost { is_stored: bool, after: Duration },
}

/// What it is: which versions it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Both; says what it wrote.
    Both,
    /// 1.0 only; takes 2.0 for an empty request.
    Old,
}

type Script = Box<dyn FnMut(&Request) -> Option<Act> + Send>;

pub struct Fake {
    kind: Kind,
    pub latency: Mutex<Duration>,
    script: Mutex<Script>,
    next: Mutex<VecDeque<Act>>,
    requests: Mutex<Vec<Request>>,
    stored: Mutex<Vec<Sample>>,
    under_way: Mutex<HashMap<String, u32>>,
    pub renewed: Mutex<u32>,
    /// Series of which two requests were under way at once.
    pub twice: Mutex<Vec<String>>,
}

impl Fake {
    pub fn new(kind: Kind) -> Arc<Fake> {
        Fake::scripted(kind, |_| None)
    }

    /// What the script does not decide is stored.
    pub fn scripted(kind: Kind, script: impl FnMut(&Request) -> Option<Act> + Send + 'static) -> Arc<Fake> {
        Arc::new(Fake {
            kind,
            latency: Mutex::new(Duration::from_millis(20)),
            script: Mutex::new(Box::new(script)),
            next: Mutex::default(),
            requests: Mutex::default(),
            stored: Mutex::default(),
            under_way: Mutex::default(),
            renewed: Mutex::default(),
            twice: Mutex::default(),
        })
    }

    /// These come first.
    pub fn then(&self, acts: impl IntoIterator<Item = Act>) {
        self.next.lock().unwrap().extend(acts);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn stored(&self) -> Vec<Sample> {
        self.stored.lock().unwrap().clone()
    }

    /// The stored times of each series, in the order of storing.
    pub fn series(&self) -> HashMap<String, Vec<i64>> {
        let mut series: HashMap<String, Vec<i64>> = HashMap::new();
        for (labels, time) in self.stored() {
            series.entry(labels).or_default().push(time);
        }
        series
    }

    fn act(&self, request: &Request) -> Act {
        let scripted = self.next.lock().unwrap().pop_front();
        let scripted = scripted.or_else(|| (self.script.lock().unwrap())(request));
        scripted.unwrap_or_else(|| Act::Store(self.success(request)))
    }

    /// What it answers when it stores a request.
    fn success(&self, request: &Request) -> Answer {
        let written = match &request.message {
            Message::V2(message) if self.kind == Kind::Both => Some(written(message)),
            _ => None,
        };
        Answer { status: 204, written, ..Answer::default() }
    }

    fn store(&self, request: &Request) {
        if request.version == Version::V2 && self.kind == Kind::Old {
            return;
        }
        self.stored.lock().unwrap().extend(request.samples.clone());
    }
}

impl Exchange for Arc<Fake> {
    fn write(&self, version: Version, body: Bytes) -> Exchanging {
        let fake = Arc::clone(self);
        Box::pin(async move {
            let request = read(version, &body);
            {
                let mut under_way = fake.under_way.lock().unwrap();
                for (labels, _) in &request.samples {
                    *under_way.entry(labels.clone()).or_default() += 1;
                }
                let mut here: HashMap<&str, u32> = HashMap::new();
                for (labels, _) in &request.samples {
                    *here.entry(labels).or_default() += 1;
                }
                // A panic would end this request only, which is sent again then.
                let twice = here.into_iter().find(|(labels, count)| under_way[*labels] != *count);
                fake.twice.lock().unwrap().extend(twice.map(|(labels, _)| labels.to_owned()));
            }
            fake.requests.lock().unwrap().push(request.clone());
            let latency = *fake.latency.lock().unwrap();
            tokio::time::sleep(latency).await;
            let result = match fake.act(&request) {
                Act::Say(answer) => Ok(answer),
                Act::Store(answer) => {
                    fake.store(&request);
                    Ok(answer)
                }
                Act::Away => Err(Failure::NoConnection("connection refused".into())),
                Act::Lost { is_stored, after } => {
                    if is_stored {
                        fake.store(&request);
                    }
                    tokio::time::sleep(after).await;
                    Err(Failure::Unknown("no answer in time".into()))
                }
            };
            let mut under_way = fake.under_way.lock().unwrap();
            for (labels, _) in &request.samples {
                *under_way.get_mut(labels).unwrap() -= 1;
            }
            result
        })
    }

    fn renew(&self) {
        *self.renewed.lock().unwrap() += 1;
    }
}

/// An answer with this status and body.
pub fn say(status: u16, said: &str) -> Act {
    Act::Say(Answer { status, said: said.into(), ..Answer::default() })
}

/// The same with the header `Retry-After`.
pub fn say_after(status: u16, seconds: u64) -> Act {
    Act::Say(Answer { status, retry_after: Some(Duration::from_secs(seconds)), ..Answer::default() })
}

pub fn written(message: &write_v2::Request) -> Written {
    let sum = |count: fn(&write_v2::TimeSeries) -> usize| {
        message.timeseries.iter().map(|series| count(series) as u64).sum()
    };
    Written {
        samples: sum(|series| series.samples.len()),
        histograms: sum(|series| series.histograms.len()),
        exemplars: sum(|series| series.exemplars.len()),
    }
}

/// A request from its body, with its labels and times.
pub fn read(version: Version, body: &[u8]) -> Request {
    let bytes = snap::raw::Decoder::new().decompress_vec(body).unwrap();
    let mut samples = Vec::new();
    let message = match version {
        Version::V1 => {
            let message = prometheus::WriteRequest::decode(&bytes[..]).unwrap();
            for series in &message.timeseries {
                let pairs = series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
                let labels = text(pairs);
                samples.extend(series.samples.iter().map(|sample| (labels.clone(), sample.timestamp)));
                samples.extend(series.histograms.iter().map(|sample| (labels.clone(), sample.timestamp)));
            }
            Message::V1(message)
        }
        Version::V2 => {
            let message = write_v2::Request::decode(&bytes[..]).unwrap();
            for series in &message.timeseries {
                let symbol = |index: &u32| message.symbols[*index as usize].as_str();
                let labels =
                    text(series.labels_refs.chunks(2).map(|pair| (symbol(&pair[0]), symbol(&pair[1]))));
                samples.extend(series.samples.iter().map(|sample| (labels.clone(), sample.timestamp)));
                samples.extend(series.histograms.iter().map(|sample| (labels.clone(), sample.timestamp)));
            }
            Message::V2(message)
        }
    };
    Request { version, at: Instant::now(), samples, message }
}

fn text<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}
