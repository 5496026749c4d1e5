//! Fluent Forward at a high rate, with `durability: always`: what it takes of the CPU, and how long clients wait for their
//! acks. Behind the agent stands a server that takes each bulk at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::forward::{Forward, Mode, message};
use crate::gate::{Gate, Verdict};
use crate::http1::Message;
use crate::ledger::Account;
use crate::node::Node;
use crate::wait::until_within;

/// Events of one message: Fluent Bit sends about as many.
const EVENTS_OF_CHUNK: u64 = 1_000;
const CONNECTIONS: u64 = 8;
/// What is still on its way at the end.
const DRAIN: Duration = Duration::from_secs(60);
/// The first answers are those of an agent that has just started.
const WARM_UP: f64 = 0.1;

/// A scenario's size.
#[derive(Clone, Copy, Debug)]
pub struct PushScenario {
    /// How long clients send.
    pub time: Duration,
    /// Events a second of all clients.
    pub rate: u64,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct PushReport {
    scenario: PushScenario,
    sent: u64,
    /// Of chunks, sorted.
    waits: Vec<Duration>,
    /// Chunks that no ack came for.
    unanswered: u64,
    account: Account,
    /// Documents that the server took.
    taken: u64,
    cpu: Duration,
    wall: Duration,
    peak: u64,
}

// === impl PushScenario ===

impl PushScenario {
    /// Plays it and judges nothing: the report does.
    pub fn play(&self, progress: &(dyn Fn(String) + Sync)) -> PushReport {
        let taken = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&taken);
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let server =
            Gate::start(nobody, move |request| Verdict::Answer(answer(request, &counting)), |_, _| {});
        let node = Node::new();
        node.configure(&format!(
            "sources: {{agents: {{type: forward, listen: 127.0.0.1:0}}}}
pipelines: {{all: {{from: [agents], to: [out], durability: always}}}}
sinks: {{out: {{type: opensearch, endpoints: [\"http://{}\"], index: logs, compression: none, buffer: b}}}}
buffers: {{b: {{memory: 32MiB, disk: 1GiB}}}}
",
            server.address()
        ));
        let agent = node.start();
        let address = agent.admin().listening("agents");
        let cpu_before = agent.cpu();
        let (begun, waits, unanswered) = (Instant::now(), Mutex::new(Vec::new()), AtomicU64::new(0));
        let sent = AtomicU64::new(0);
        let mut peak = 0;
        thread::scope(|scope| {
            for client in 0..CONNECTIONS {
                let (waits, unanswered, sent) = (&waits, &unanswered, &sent);
                scope.spawn(move || {
                    let heard = self.send(client, address, begun, sent);
                    unanswered.fetch_add(heard.iter().filter(|wait| wait.is_none()).count() as u64, Relaxed);
                    waits.lock().expect("no panic").extend(heard.into_iter().flatten());
                });
            }
            while begun.elapsed() < self.time {
                thread::sleep(Duration::from_millis(250));
                peak = agent.resident_bytes().max(peak);
            }
        });
        let (cpu, wall) = (agent.cpu() - cpu_before, begun.elapsed());
        let sent = sent.load(Relaxed);
        progress(format!("{sent} events in {:.1} s", wall.as_secs_f64()));
        until_within(DRAIN, "every event has its fate", || {
            account(&agent).is_some_and(|account| account.is_settled())
        });
        let account = account(&agent).expect("an account");
        let ended = agent.terminate();
        assert_eq!(ended.code, Some(0), "{ended}");
        let mut waits = waits.into_inner().expect("no panic");
        waits.sort_unstable();
        let unanswered = unanswered.load(Relaxed);
        let taken = taken.load(Relaxed);
        PushReport { scenario: *self, sent, waits, unanswered, account, taken, cpu, wall, peak }
    }

    /// One client: chunk after chunk at its times, each when the one before it was acknowledged.
    fn send(
        &self,
        client: u64,
        address: SocketAddr,
        begun: Instant,
        sent: &AtomicU64,
    ) -> Vec<Option<Duration>> {
        let mut connection = Forward::connect(address).expect("a connection");
        let every = Duration::from_secs_f64((EVENTS_OF_CHUNK * CONNECTIONS) as f64 / self.rate as f64);
        let records: Vec<(u32, Value)> = (0..EVENTS_OF_CHUNK).map(|n| (1_700_000_000, event(n))).collect();
        let mut waits = Vec::new();
        let offset = every.mul_f64(client as f64 / CONNECTIONS as f64);
        for number in 0_u32.. {
            let due = offset + every * number;
            if due >= self.time {
                break;
            }
            // The name is the only thing that differs, so that making messages costs little beside the agent.
            let chunk = format!("{client}-{number}");
            let bytes = message(Mode::Packed, "load.test", Some(&chunk), &records);
            thread::sleep(due.saturating_sub(begun.elapsed()));
            let before = Instant::now();
            let heard = connection.send(&bytes).and_then(|()| connection.ack());
            let is_heard = heard.is_ok_and(|heard| heard == chunk);
            sent.fetch_add(EVENTS_OF_CHUNK, Relaxed);
            if due.as_secs_f64() >= self.time.as_secs_f64() * WARM_UP {
                waits.push(is_heard.then(|| before.elapsed()));
            }
        }
        waits
    }
}

fn event(n: u64) -> Value {
    json!({
        "n": n,
        "level": "info",
        "message": "order taken",
        "path": format!("/orders/{}", n * 7 % 1000),
        "trace_id": format!("{:032x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
    })
}

/// Takes every document of a bulk.
fn answer(request: &Message, taken: &AtomicU64) -> Message {
    if !request.start.contains("_bulk") {
        return Message::answer(200, "OK", r#"{"version":{"number":"2.0.0","distribution":"opensearch"}}"#);
    }
    let documents = request.body.iter().filter(|byte| **byte == b'\n').count() / 2;
    taken.fetch_add(documents as u64, Relaxed);
    let mut body = br#"{"took":1,"errors":false,"items":["#.to_vec();
    for index in 0..documents {
        body.extend_from_slice(if index == 0 { b"" } else { b"," });
        body.extend_from_slice(br#"{"create":{"status":201}}"#);
    }
    body.extend_from_slice(b"]}");
    Message::answer(200, "OK", body)
}

fn account(agent: &Agent) -> Option<Account> {
    agent.admin().ledger().accounts.into_iter().find(|account| account.pipeline == "all")
}

// === impl PushReport ===

impl PushReport {
    /// Everything that is not as it must be.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut unless = |is_so: bool, problem: String| {
            if !is_so {
                problems.push(problem);
            }
        };
        let counted = (self.account.read.events, self.account.delivered.events, self.taken);
        let wanted = (self.sent, self.sent, self.sent);
        unless(self.sent > 0, "nothing was sent".to_owned());
        unless(counted == wanted, format!("read, delivered, taken are {counted:?}, not {wanted:?}"));
        unless(self.account.balanced, format!("the ledger: {:?}", self.account));
        unless(self.unanswered == 0, format!("{} chunks were not acknowledged", self.unanswered));
        problems
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let milliseconds = |wait: Duration| (wait.as_secs_f64() * 1e4).round() / 10.0;
        let at = |share: f64| {
            let index = ((self.waits.len() as f64 * share) as usize).min(self.waits.len().saturating_sub(1));
            self.waits.get(index).copied().map(milliseconds)
        };
        let answers: BTreeMap<&str, Option<f64>> =
            [("p50", at(0.5)), ("p99", at(0.99)), ("max", at(1.0))].into();
        let per_second = |over: Duration| (self.sent as f64 / over.as_secs_f64()).round();
        json!({
            "seconds": self.scenario.time.as_secs(),
            "rate": self.scenario.rate,
            "events": self.sent,
            "events_per_second": per_second(self.wall),
            "events_per_cpu_second": per_second(self.cpu),
            "cpu_percent": (self.cpu.as_secs_f64() / self.wall.as_secs_f64() * 1e3).round() / 10.0,
            "answers": self.waits.len(),
            "answer_milliseconds": answers,
            "peak_rss_mib": self.peak >> 20,
            "delivered": self.account.delivered.events,
            "balanced": self.account.balanced,
        })
    }
}
