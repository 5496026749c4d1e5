//! How long it takes from a line written to its document in OpenSearch, found by its id. Refreshing, which makes a
//! document searchable, is the index's own affair and left out.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fault_proxy::{FaultProxy, Schedule};
use crate::http1::Message;
use crate::node::Node;
use crate::opensearch::OpenSearch;
use crate::sequence::{SequenceLog, identify};

const BEAT: Duration = Duration::from_millis(20);
/// Events of the start, which a container that has just been found writes, are not the steady state.
const WARM_UP: Duration = Duration::from_secs(5);
/// What the agent promises.
const LIMIT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);
/// Documents that wait to be looked up.
const QUEUE: usize = 64;
/// Of each bulk so many are looked up, spread over those that waited long and those that did not.
const PROBES: usize = 8;

/// A measurement's size.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Events in all.
    pub events: u64,
    /// Events a second.
    pub rate: u64,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Latencies {
    events: u64,
    rate: u64,
    /// Until OpenSearch had answered that it has the document; of every event after the warm-up, sorted.
    stored: Vec<Duration>,
    /// Until a request for the id gave the document; of some events of each bulk after the warm-up, sorted.
    found: Vec<Duration>,
}

/// A document to look up.
struct Probe {
    index: String,
    id: String,
    number: u64,
}

type Times = Arc<Mutex<Vec<Option<Instant>>>>;

// === impl Latency ===

impl Latency {
    /// Measures against a server that nothing else uses.
    pub fn measure(&self, server: &OpenSearch, progress: &dyn Fn(String)) -> Latencies {
        let node = Node::new();
        let index = format!("latency-{}", std::process::id());
        let (written, stored): (Times, Times) = (self.times(), self.times());
        let (probes, to_look_up) = sync_channel(QUEUE);
        let observer = observer(Arc::clone(&stored), probes);
        let relay = FaultProxy::observed(server.address(), Schedule::quiet(), observer);
        node.configure(&format!(
            "
sources: {{pods: {{type: kubernetes_logs, path: pods}}}}
pipelines: {{all: {{from: [pods], to: [search]}}}}
sinks: {{search: {{type: opensearch, endpoints: ['{}'], index: '{index}', compression: none}}}}
",
            relay.url()
        ));
        let looking = {
            let (server, written) = (server.clone(), Arc::clone(&written));
            thread::spawn(move || look_up(&server, &to_look_up, &written))
        };
        let mut log = SequenceLog::create(&node.path("pods"), 0, 8 * 1024 * 1024);
        let agent = node.start();
        self.write(&mut log, &written);
        progress("everything is written".to_owned());
        let end = Instant::now() + PATIENCE;
        while lock(&stored).iter().any(Option::is_none) {
            assert!(Instant::now() < end, "not everything arrived:\n{}", agent.log());
            thread::sleep(BEAT);
        }
        let ended = agent.terminate();
        assert_eq!(ended.code, Some(0), "{ended}");
        // With the relay goes its end of the channel.
        drop(relay);
        let mut found = looking.join().expect("every document is found by its id");
        found.sort_unstable();
        server.remove(&index);

        let (written, stored) = (lock(&written), lock(&stored));
        let first = written.first().copied().flatten().expect("a first event");
        let pairs = written.iter().zip(stored.iter()).filter_map(|(written, stored)| written.zip(*stored));
        let steady = pairs.filter(|(written, _)| written.duration_since(first) >= WARM_UP);
        let mut stored: Vec<Duration> = steady.map(|(written, stored)| stored - written).collect();
        stored.sort_unstable();
        Latencies { events: self.events, rate: self.rate, stored, found }
    }

    fn times(&self) -> Times {
        Arc::new(Mutex::new(vec![None; self.events as usize]))
    }

    fn write(&self, log: &mut SequenceLog, written: &Times) {
        let started = Instant::now();
        while log.written() < self.events {
            let due = (started.elapsed().as_secs_f64() * self.rate as f64) as u64;
            let (from, to) = (log.written(), due.clamp(log.written(), self.events));
            // Before, not after: the time of writing is part of what is measured.
            lock(written)[from as usize..to as usize].fill(Some(Instant::now()));
            log.write(to - from);
            thread::sleep(BEAT);
        }
    }
}

/// Notes when the server has answered for each event, and passes some of each bulk on to be looked up.
fn observer(stored: Times, probes: SyncSender<Probe>) -> impl Fn(&Message, &Message) + Send + Sync + 'static {
    move |request, answer| {
        if !request.target().1.contains("_bulk") {
            return;
        }
        let now = Instant::now();
        let Ok(answer) = serde_json::from_slice::<Value>(&answer.body) else { return };
        let lines: Vec<Value> = request
            .body
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        let mut documents = Vec::new();
        let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (pair, item) in lines.chunks_exact(2).zip(items) {
            let [action, document] = pair else { continue };
            let Some((_, number)) = identify(document).filter(|_| item["create"]["status"] == 201) else {
                continue;
            };
            if let Some(stored) = lock(&stored).get_mut(number as usize) {
                stored.get_or_insert(now);
            }
            let text = |name: &str| action["create"][name].as_str().unwrap_or_default().to_owned();
            documents.push(Probe { index: text("_index"), id: text("_id"), number });
        }
        // Where the looking up does not keep up, some are passed over.
        let step = documents.len().div_ceil(PROBES).max(1);
        for probe in documents.into_iter().step_by(step) {
            let _ = probes.try_send(probe);
        }
    }
}

fn look_up(server: &OpenSearch, probes: &Receiver<Probe>, written: &Times) -> Vec<Duration> {
    let mut found = Vec::new();
    for Probe { index, id, number } in probes {
        let reply = server.get(&format!("/{index}/_doc/{id}"));
        assert_eq!(identify(&reply["_source"]), Some((0, number)), "{reply}");
        let (first, written) = {
            let times = lock(written);
            (times[0].expect("a first event"), times[number as usize].expect("it was written"))
        };
        if written.duration_since(first) >= WARM_UP {
            found.push(written.elapsed());
        }
    }
    found
}

fn lock(times: &Times) -> std::sync::MutexGuard<'_, Vec<Option<Instant>>> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Latencies ===

impl Latencies {
    /// What is not as the agent promises.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (what, sorted) in [("stored", &self.stored), ("found", &self.found)] {
            match quantile(sorted, 0.99) {
                None => problems.push(format!("no event was {what}")),
                Some(p99) if p99 > LIMIT => {
                    problems.push(format!("p99 until {what}: {p99:?}, {LIMIT:?} promised"));
                }
                Some(_) => {}
            }
        }
        problems
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "events": self.events,
            "rate": self.rate,
            "stored": quantiles(&self.stored),
            "found": quantiles(&self.found),
            "problems": self.problems(),
        })
    }
}

fn quantiles(sorted: &[Duration]) -> Value {
    let at = |share: f64| quantile(sorted, share).map(|time| time.as_secs_f64());
    json!({"events": sorted.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0)})
}

/// The smallest value that so great a share of all does not exceed.
fn quantile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(milliseconds: impl Iterator<Item = u64>) -> Latencies {
        let stored: Vec<Duration> = milliseconds.map(Duration::from_millis).collect();
        Latencies { events: stored.len() as u64, rate: 1, found: stored.clone(), stored }
    }

    #[test]
    fn the_slowest_hundredth_may_be_late() {
        assert_eq!(latencies((0..98).chain([2000, 9000])).problems(), Vec::<String>::new());
        assert_eq!(latencies((0..98).chain([2001, 9000])).problems().len(), 2);
        assert_eq!(latencies([].into_iter()).problems().len(), 2);
    }
}
