//! Measures a search: `cargo run --release -p weir-archive --example search_speed -- MILLIONS [FOLDER]`. Builds so many
//! million events of one node over 24 hours in a folder (a temporary one unless it is named; one that has an archive
//! is used as it is), then times a search for one trace id, one for a level, and a list.

#![allow(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use weir_archive::{Archive, Condition, Metrics, Reader, Selection, Settings};
use weir_buffer::ack::{Ack, Acknowledge, Posting};
use weir_buffer::ledger::Ledger;
use weir_buffer::memory::MemoryTier;
use weir_buffer::object::{Listing, Object, ObjectError, ObjectErrorKind, ObjectStore, Put};
use weir_buffer::segment::{Documents, Record, Segment, Targets};
use weir_event::identity::EventId;
use weir_event::stream::{Attributes, Stream};
use weir_event::time::write_rfc3339;
use weir_pipeline::sink::{Drive as _, Driving, SinkMetrics};

const START: i64 = 1_699_920_000_000_000_000;
const DAY: i64 = 24 * 3_600_000_000_000;
const BATCH: u64 = 2_000;
const NAMESPACES: [&str; 5] = ["shop", "pay", "search", "kube-system", "web"];
/// Events of one request.
const PER_TRACE: u64 = 5;

fn main() {
    let millions: f64 = std::env::args().nth(1).expect("how many million events").parse().expect("a number");
    let events = (millions * 1e6) as u64;
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let folder = std::env::args().nth(2).map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let store: Arc<dyn ObjectStore> = Arc::new(Folder(folder.clone()));
    if !folder.join("archive").is_dir() {
        let begin = Instant::now();
        let (objects, bytes, raw) = build(events, &store);
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "built {events} events: {objects} objects, {:.1} MB of {:.1} MB raw, {seconds:.1} s, {:.0} events/s",
            bytes as f64 / 1e6,
            raw as f64 / 1e6,
            events as f64 / seconds
        );
    }
    let reader = Reader::new(store, "archive", "bench");
    let begin = Instant::now();
    let survey = reader.list(START, START + DAY, &[]).expect("a list");
    let held: u64 = survey.hours.iter().map(|hour| hour.events).sum();
    println!("list: {} hours, {held} events, {:.3} s", survey.hours.len(), begin.elapsed().as_secs_f64());
    let trace = held / PER_TRACE / 2;
    for condition in [format!("trace_id={}", trace_id(trace)), format!("trace_id={}", trace_id(u64::MAX))] {
        search(&reader, &condition, START, START + DAY);
        search(&reader, &condition, START, START + DAY);
    }
    search(&reader, "level=error", START + DAY / 2, START + DAY / 2 + DAY / 24);
}

fn search(reader: &Reader, condition: &str, from: i64, to: i64) {
    let conditions = vec![Condition::parse(condition).expect("a condition")];
    let selection = Selection { conditions, ..Selection::of_time(from, to) };
    let begin = Instant::now();
    let outcome = reader.search(&selection, u64::MAX, |_, _| ControlFlow::Continue(())).expect("a search");
    println!(
        "{condition}: {} events in {:.3} s; {} hours, {} of {} objects passed over, {} of {} frames and {:.2} MB read",
        outcome.events,
        begin.elapsed().as_secs_f64(),
        outcome.hours,
        outcome.objects_skipped,
        outcome.objects,
        outcome.frames_read,
        outcome.frames,
        outcome.bytes_read as f64 / 1e6
    );
}

/// Writes the archive; objects, their bytes, and those of their lines.
fn build(events: u64, store: &Arc<dyn ObjectStore>) -> (u64, u64, u64) {
    let ledger = Arc::new(Ledger::default());
    let tier = MemoryTier::new(256 << 20, Arc::clone(&ledger));
    let account = ledger.account("bench", "archive");
    let metrics: Arc<Metrics> = Arc::default();
    let settings = Settings {
        index_fields: vec!["level".into(), "trace_id".into()],
        ..Settings::new("bench", "node-1")
    };
    let archive = Archive::new(settings, Arc::clone(store), Arc::clone(&metrics)).expect("settings");
    let (_give_up, give_up) = watch::channel(false);
    let (_retire, retire) = watch::channel(false);
    let totals: Arc<SinkMetrics> = Arc::default();
    let driving =
        Driving { name: "archive".into(), buffer: Arc::clone(&tier), metrics: totals, give_up, retire };
    let streams = NAMESPACES
        .map(|namespace| Stream::new(Attributes { namespace: namespace.into(), ..Attributes::default() }, 1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let driver = tokio::spawn(Box::new(archive).drive(driving));
        let mut random = SmallRng::seed_from_u64(1);
        for batch in 0..events.div_ceil(BATCH) {
            let numbers = batch * BATCH..events.min((batch + 1) * BATCH);
            let documents = documents(numbers, events, &streams, &mut random);
            let wanted = documents.memory();
            while !tier.reserve(wanted) {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            let amount = documents.amount();
            let ack = Ack::new(batch, Arc::new(Nobody));
            let segment =
                Segment { documents: Arc::new(documents), targets: Targets::default(), amount, ack };
            let _moving = ledger.moving();
            tier.push(segment, &account, wanted);
        }
        tier.close();
        driver.await.expect("the driver ends");
    });
    let count = |of: &std::sync::atomic::AtomicU64| of.load(std::sync::atomic::Ordering::Relaxed);
    (count(&metrics.objects), count(&metrics.object_bytes), count(&metrics.raw_bytes))
}

fn documents(
    numbers: std::ops::Range<u64>,
    events: u64,
    streams: &[Arc<Stream>],
    random: &mut SmallRng,
) -> Documents {
    let mut documents = Documents { streams: streams.to_vec(), ..Documents::default() };
    for number in numbers {
        let trace = number / PER_TRACE;
        let time = START + (u128::from(number) * DAY as u128 / u128::from(events.max(1))) as i64;
        let mut stamp = Vec::new();
        write_rfc3339(&mut stamp, time);
        let stamp = String::from_utf8(stamp).expect("text");
        let (stream, pod) = ((trace % NAMESPACES.len() as u64) as u32, random.random_range(0..30_u32));
        let level = ["info", "info", "info", "info", "warn", "error"][random.random_range(0..6)];
        let document = format!(
            r#"{{"@timestamp":"{stamp}","cluster":"bench","node":"node-1","kubernetes":{{"namespace":"{}","pod":"app-{pod}","container":"main"}},"stream":"stdout","log":{{"offset":{}}},"level":"{level}","trace_id":"{}","message":"request {} took {} ms","user":"u{}","path":"/api/v1/items/{}"}}"#,
            NAMESPACES[stream as usize],
            number * 411,
            trace_id(trace),
            random.random_range(0..1_000_000_u32),
            random.random_range(0..2_000_u32),
            random.random_range(0..50_000_u32),
            random.random_range(0..5_000_u32),
        );
        documents.ndjson.extend_from_slice(document.as_bytes());
        let end = documents.ndjson.len() as u32;
        let id = EventId::new(7, number, document.as_bytes());
        documents.records.push(Record { id, time, stream, bytes: document.len() as u32, end });
        documents.ndjson.push(b'\n');
    }
    documents
}

fn trace_id(number: u64) -> String {
    let mut random = SmallRng::seed_from_u64(number);
    format!("{:016x}{:016x}", random.random::<u64>(), random.random::<u64>())
}

struct Nobody;

impl Acknowledge for Nobody {
    fn acknowledge(&self, _: u64, _: bool, _: Vec<Posting>) {}

    fn acknowledge_late(&self, _: u64, _: Vec<Posting>) {}
}

/// A folder as a store of objects, for one process. An entity tag is the content's length and hash.
struct Folder(PathBuf);

// === impl Folder ===

impl Folder {
    fn walk(&self, folder: &Path, objects: &mut Vec<(String, u64)>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            if path.is_dir() {
                self.walk(&path, objects);
            } else {
                let key = path.strip_prefix(&self.0).expect("below").to_string_lossy().into_owned();
                objects.push((key, entry.metadata().expect("a length").len()));
            }
        }
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<Put, ObjectError> {
        let path = self.0.join(key);
        std::fs::create_dir_all(path.parent().expect("a folder")).map_err(|error| failed(&error))?;
        std::fs::write(&path, bytes).map_err(|error| failed(&error))?;
        Ok(Put::Stored(etag(bytes)))
    }
}

impl ObjectStore for Folder {
    fn put_if_absent(&self, key: &str, bytes: Vec<u8>) -> Result<Put, ObjectError> {
        if self.0.join(key).is_file() { Ok(Put::Refused) } else { self.write(key, &bytes) }
    }

    fn put_if_match(&self, key: &str, bytes: Vec<u8>, tag: &str) -> Result<Put, ObjectError> {
        let known = std::fs::read(self.0.join(key)).map_err(|error| failed(&error))?;
        if etag(&known) == tag { self.write(key, &bytes) } else { Ok(Put::Refused) }
    }

    fn get(&self, key: &str, _: u64) -> Result<Object, ObjectError> {
        let bytes = std::fs::read(self.0.join(key)).map_err(|error| failed(&error))?;
        Ok(Object { etag: etag(&bytes), bytes })
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Vec<u8>, ObjectError> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut file = std::fs::File::open(self.0.join(key)).map_err(|error| failed(&error))?;
        file.seek(SeekFrom::Start(offset)).map_err(|error| failed(&error))?;
        let mut bytes = Vec::with_capacity(length);
        file.take(length as u64).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        Ok(bytes)
    }

    fn delete(&self, key: &str) -> Result<(), ObjectError> {
        std::fs::remove_file(self.0.join(key)).map_err(|error| failed(&error))
    }

    fn list(&self, prefix: &str, _: Option<&str>, fold: bool) -> Result<Listing, ObjectError> {
        let folder = self.0.join(prefix);
        if fold {
            let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Listing::default()) };
            let name = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
            let mut folders: Vec<String> =
                entries.filter_map(name).map(|name| format!("{prefix}{name}/")).collect();
            folders.sort();
            return Ok(Listing { folders, ..Listing::default() });
        }
        let mut objects = Vec::new();
        self.walk(&folder, &mut objects);
        objects.sort();
        Ok(Listing { objects, ..Listing::default() })
    }
}

fn etag(bytes: &[u8]) -> String {
    format!("{}-{:?}", bytes.len(), weir_archive::bloom::ValueHash::of(bytes))
}

fn failed(error: &std::io::Error) -> ObjectError {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ObjectErrorKind::Missing,
        _ => ObjectErrorKind::Retry,
    };
    ObjectError { kind, message: error.to_string() }
}
