//! Sessions: what is answered, when, and what ends one.

use std::sync::Mutex;

use serde_json::json;
use tokio::io::DuplexStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::forward::handshake::tests::{ping, read_pong, settings};
use crate::forward::message::tests::{array, bin, gzip, pack};

const MEMORY: usize = 4 * 1024 * 1024;

/// Takes messages, and makes them safe when a test says so.
#[derive(Clone)]
struct Fake {
    memory: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
    arrived: Arc<tokio::sync::Notify>,
}

#[derive(Default)]
struct State {
    messages: Vec<Option<Taken>>,
    refusals: Vec<Refusal>,
    largest_room: usize,
}

struct Taken {
    message: Message,
    room: OwnedSemaphorePermit,
    safe: oneshot::Sender<Result<(), NotSafe>>,
}

impl Fake {
    fn new() -> Fake {
        Fake { memory: Arc::new(Semaphore::new(MEMORY)), state: Arc::default(), arrived: Arc::default() }
    }

    fn taken(&self) -> usize {
        self.state.lock().unwrap().messages.len()
    }

    async fn wait_for(&self, messages: usize) {
        while self.taken() < messages {
            self.arrived.notified().await;
        }
    }

    /// Ends a message, and returns what it was.
    async fn end(&self, index: usize, result: Result<(), NotSafe>) -> Message {
        self.wait_for(index + 1).await;
        let taken = self.state.lock().unwrap().messages[index].take().unwrap();
        drop(taken.room);
        let _ = taken.safe.send(result);
        taken.message
    }

    fn refusals(&self) -> Vec<Refusal> {
        self.state.lock().unwrap().refusals.clone()
    }

    fn all_memory_is_free(&self) -> bool {
        self.memory.available_permits() == MEMORY
    }
}

impl Intake for Fake {
    type Room = OwnedSemaphorePermit;

    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, NotSafe> {
        let room = Arc::clone(&self.memory).acquire_many_owned(bytes as u32).await.map_err(|_| NotSafe)?;
        let mut state = self.state.lock().unwrap();
        state.largest_room = state.largest_room.max(bytes);
        Ok(room)
    }

    fn push(&self, parcel: crate::intake::Parcel, room: OwnedSemaphorePermit) -> crate::intake::Safe {
        let crate::intake::Parcel::Events(message) = parcel else { panic!("samples") };
        let (safe, told) = oneshot::channel();
        self.state.lock().unwrap().messages.push(Some(Taken { message, room, safe }));
        self.arrived.notify_one();
        Box::pin(async { told.await.unwrap_or(Err(NotSafe)) })
    }

    fn count(&self, what: Refusal, _: u64) {
        self.state.lock().unwrap().refusals.push(what);
    }
}

struct Served {
    client: DuplexStream,
    fake: Fake,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), SessionError>>,
}

fn start_with(settings: Settings) -> Served {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let (fake, (stop, stopped)) = (Fake::new(), watch::channel(false));
    let task = tokio::spawn(serve(server, Arc::new(settings), fake.clone(), stopped));
    Served { client, fake, stop, task }
}

fn start() -> Served {
    start_with(Settings { max_message: 1024 * 1024, max_pending: 4, ..Settings::default() })
}

impl Served {
    async fn send(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.unwrap();
    }

    async fn expect(&mut self, bytes: &[u8]) {
        let mut came = vec![0; bytes.len()];
        self.client.read_exact(&mut came).await.unwrap();
        assert_eq!(came, bytes);
    }

    /// The connection ends without another byte.
    async fn expect_end(mut self) -> Result<(), SessionError> {
        let mut rest = Vec::new();
        self.client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"");
        drop(self.client);
        let ended = self.task.await.unwrap();
        // What was handed on and not ended holds its room in the fake.
        self.fake.state.lock().unwrap().messages.clear();
        assert!(self.fake.all_memory_is_free());
        ended
    }
}

/// One event, with this chunk's name.
fn message(chunk: &str) -> Vec<u8> {
    pack(&json!(["tag", [[1, {"a": chunk}]], {"chunk": chunk}]))
}

fn ack(chunk: &str) -> Vec<u8> {
    pack(&json!({"ack": chunk}))
}

#[tokio::test(start_paused = true)]
async fn a_message_is_answered_when_it_is_safe_and_not_before() {
    let mut served = start();
    served.send(&message("one")).await;
    served.fake.wait_for(1).await;
    let early = timeout(Duration::from_secs(3600), served.client.read_u8()).await;
    assert!(early.is_err());
    let message = served.fake.end(0, Ok(())).await;
    assert_eq!((message.tag.as_str(), message.documents.len(), message.key.is_some()), ("tag", 1, true));
    served.expect(&ack("one")).await;
    served.client.shutdown().await.unwrap();
    served.expect_end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pipelined_messages_are_answered_as_they_become_safe() {
    let mut served = start();
    let without_chunk = pack(&json!(["tag", 1, {}]));
    let nil = [0xc0];
    served
        .send(&[&message("a")[..], &nil, &without_chunk, &message("b"), &nil, &message("c")].concat())
        .await;
    served.fake.end(3, Ok(())).await;
    served.expect(&ack("c")).await;
    assert_eq!(served.fake.end(1, Ok(())).await.key, None);
    served.fake.end(0, Ok(())).await;
    served.expect(&ack("a")).await;
    served.fake.end(2, Ok(())).await;
    served.expect(&ack("b")).await;
    served.client.shutdown().await.unwrap();
    served.expect_end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_in_pieces_is_taken_once_it_is_whole() {
    let mut served = start();
    let bytes = message("one");
    for byte in &bytes[..bytes.len() - 1] {
        served.send(&[*byte]).await;
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(served.fake.taken(), 0);
    served.send(&bytes[bytes.len() - 1..]).await;
    served.fake.end(0, Ok(())).await;
    served.expect(&ack("one")).await;
    let _ = served.stop.send(true);
    served.expect_end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_safe_closes_the_connection() {
    let mut served = start();
    served.send(&[message("one"), message("two")].concat()).await;
    served.fake.wait_for(2).await;
    served.fake.end(1, Err(NotSafe)).await;
    assert!(served.fake.refusals().is_empty());
    assert!(matches!(served.expect_end().await, Err(SessionError::NotSafe(_))));
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_have_a_bound() {
    let mut served = start();
    for chunk in ["a", "b", "c", "d", "e", "f"] {
        served.send(&message(chunk)).await;
    }
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(served.fake.taken(), 4);
    served.fake.end(2, Ok(())).await;
    served.expect(&ack("c")).await;
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(served.fake.taken(), 5);
    // A client that goes leaves what it sent: all of it is taken.
    served.client.shutdown().await.unwrap();
    for (index, chunk) in [(0, "a"), (1, "b"), (3, "d"), (4, "e"), (5, "f")] {
        served.fake.end(index, Ok(())).await;
        served.expect(&ack(chunk)).await;
    }
    served.expect_end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_was_taken() {
    let mut served = start();
    served.send(&[message("one"), message("two")].concat()).await;
    served.fake.wait_for(2).await;
    served.stop.send(true).unwrap();
    sleep(Duration::from_secs(60)).await;
    served.send(&message("three")).await;
    served.fake.end(1, Ok(())).await;
    served.expect(&ack("two")).await;
    sleep(Duration::from_secs(60)).await;
    served.fake.end(0, Ok(())).await;
    served.expect(&ack("one")).await;
    assert_eq!(served.fake.taken(), 2);
    served.expect_end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_gone_stops_nothing() {
    let mut served = start();
    let (stop, _) = watch::channel(false);
    drop(std::mem::replace(&mut served.stop, stop));
    sleep(Duration::from_secs(1)).await;
    served.send(&message("one")).await;
    served.fake.end(0, Ok(())).await;
    served.expect(&ack("one")).await;
}

#[tokio::test(start_paused = true)]
async fn slow_clients_are_cut_off() {
    let bytes = message(&"x".repeat(500));
    for (pause, after) in [(Duration::from_secs(1), 120), (Duration::from_secs(3600), 31)] {
        let mut served = start();
        let began = Instant::now();
        served.send(&bytes[..1]).await;
        for byte in &bytes[1..] {
            sleep(pause).await;
            if served.client.write_all(&[*byte]).await.is_err() || served.task.is_finished() {
                break;
            }
        }
        assert_eq!(served.fake.refusals(), [Refusal::TimedOut]);
        let refused = served.task.await.unwrap();
        assert!(matches!(refused, Err(SessionError::TimedOut { .. })), "{refused:?}");
        assert!(began.elapsed() >= Duration::from_secs(after - 1), "{:?}", began.elapsed());
        assert!(pause > Duration::from_secs(1) || began.elapsed() < Duration::from_secs(after + 3));
    }
}

#[tokio::test(start_paused = true)]
async fn silence_has_a_bound_while_nothing_is_waited_for() {
    let mut served = start();
    served.send(&message("one")).await;
    sleep(Duration::from_secs(3600)).await;
    served.fake.end(0, Ok(())).await;
    served.expect(&ack("one")).await;
    let began = Instant::now();
    let fake = served.fake.clone();
    assert!(matches!(served.expect_end().await, Err(SessionError::TimedOut { .. })));
    assert!((300..602).contains(&began.elapsed().as_secs()));
    assert_eq!(fake.refusals(), [Refusal::TimedOut]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_answers_is_cut_off() {
    let (client, server) = tokio::io::duplex(64);
    let (fake, (_stop, stopped)) = (Fake::new(), watch::channel(false));
    let task = tokio::spawn(serve(server, Arc::new(Settings::default()), fake.clone(), stopped));
    let (_read, mut write) = tokio::io::split(client);
    for index in 0..2 {
        write.write_all(&message(&"x".repeat(500))).await.unwrap();
        fake.end(index, Ok(())).await;
    }
    assert!(matches!(task.await.unwrap(), Err(SessionError::TimedOut { what: "read its answers", .. })));
}

#[tokio::test(start_paused = true)]
async fn what_is_malformed_is_counted_and_earlier_messages_answered() {
    for (bytes, expected) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), Refusal::Malformed),
        (vec![0x16, 3, 1], Refusal::Malformed),
        (vec![0x92, 0xc1], Refusal::Malformed),
        (vec![0x92, 0xa1, b't', 0xc6, 0x7f, 0, 0, 0], Refusal::TooLarge),
        (array(&[&pack(&json!("t")), &bin(b""), &pack(&json!({"fluent_signal": 1}))]), Refusal::Unsupported),
        (array(&[&pack(&json!("t")), &bin(&[0x92, 1]), &pack(&json!({"chunk": "x"}))]), Refusal::Malformed),
    ] {
        let mut served = start();
        served.send(&[message("one"), bytes].concat()).await;
        served.fake.wait_for(1).await;
        sleep(Duration::from_millis(500)).await;
        assert_eq!(served.fake.taken(), 1);
        served.fake.end(0, Ok(())).await;
        served.expect(&ack("one")).await;
        let fake = served.fake.clone();
        assert!(matches!(served.expect_end().await, Err(SessionError::Message(_))));
        assert_eq!(fake.refusals(), [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn large_messages_hold_room_as_they_grow() {
    let records: Vec<_> = (0..400).map(|index| json!([1, {"i": index, "text": "x".repeat(1000)}])).collect();
    let stream: Vec<u8> = records.iter().flat_map(pack).collect();
    let options = pack(&json!({"chunk": "c", "compressed": "gzip"}));
    for bytes in [
        pack(&json!(["tag", records, {"chunk": "c"}])),
        array(&[&pack(&json!("tag")), &bin(&stream), &pack(&json!({"chunk": "c"}))]),
        array(&[&pack(&json!("tag")), &bin(&gzip(&stream)), &options]),
    ] {
        let mut served = start();
        let behind = message("behind");
        let (mut read, mut write) = tokio::io::split(served.client);
        let both = [bytes, behind].concat();
        let sending = tokio::spawn(async move {
            write.write_all(&both).await.unwrap();
            write
        });
        let first = served.fake.end(0, Ok(())).await;
        assert_eq!(first.documents.len(), 400);
        served.fake.end(1, Ok(())).await;
        let mut came = vec![0; ack("c").len()];
        read.read_exact(&mut came).await.unwrap();
        assert_eq!(came, ack("c"));
        let largest = served.fake.state.lock().unwrap().largest_room;
        assert!((stream.len()..1024 * 1024 + 1).contains(&largest), "{largest}");
        let write = sending.await.unwrap();
        served.client = read.unsplit(write);
        served.expect(&ack("behind")).await;
        served.client.shutdown().await.unwrap();
        served.expect_end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn connections_that_wait_for_memory_do_not_wait_for_each_other() {
    let fake = Fake::new();
    let (_stop, stopped) = watch::channel(false);
    let settings = Arc::new(Settings { max_message: MEMORY, ..Settings::default() });
    let records: Vec<_> = (0..3000).map(|_| json!([1, {"text": "x".repeat(1000)}])).collect();
    let bytes = Arc::new(pack(&json!(["tag", records, {"chunk": "c"}])));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        tokio::spawn(serve(server, Arc::clone(&settings), fake.clone(), stopped.clone()));
        let bytes = Arc::clone(&bytes);
        clients.push(tokio::spawn(async move {
            client.write_all(&bytes).await.unwrap();
            let mut came = vec![0; ack("c").len()];
            client.read_exact(&mut came).await.unwrap();
            assert_eq!(came, ack("c"));
        }));
    }
    for index in 0..4 {
        fake.end(index, Ok(())).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    assert!(fake.all_memory_is_free());
}

#[tokio::test(start_paused = true)]
async fn cancelling_gives_all_room_back() {
    let whole = pack(&json!(["tag", [[1, {"text": "x".repeat(300_000)}]]]));
    for sent in [&whole[..100], &whole[..40_000], &whole[..whole.len() - 1]] {
        let Served { mut client, fake, task, .. } = start();
        client.write_all(sent).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(fake.all_memory_is_free(), sent.len() < FREE_BYTES);
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(fake.all_memory_is_free());
    }
}

#[tokio::test(start_paused = true)]
async fn clients_are_asked_for_the_key() {
    for (key, user, expected) in [
        ("key", Some(("me", "word")), Ok(())),
        ("kez", Some(("me", "word")), Err(Denied::SharedKey)),
        ("key", Some(("me", "world")), Err(Denied::User)),
        ("key", Some(("you", "word")), Err(Denied::User)),
    ] {
        let mut served = start_with(settings(Some("key"), &[("me", "word")]));
        let mut hello = vec![0; 1024];
        let len = served.client.read(&mut hello).await.unwrap();
        hello.truncate(len);
        // A message may come right behind the PING.
        served.send(&[ping(&hello, key, user), message("one")].concat()).await;
        let mut pong = vec![0; 1024];
        let len = served.client.read(&mut pong).await.unwrap();
        let reason = expected.err().map_or_else(String::new, |denied: Denied| denied.to_string());
        assert_eq!(read_pong(&pong[..len], &hello, "key"), (expected.is_ok(), reason, expected.is_ok()));
        if expected.is_ok() {
            served.fake.end(0, Ok(())).await;
            served.expect(&ack("one")).await;
            served.client.shutdown().await.unwrap();
        }
        let fake = served.fake.clone();
        let ended = served.expect_end().await;
        assert_eq!(ended.is_ok(), expected.is_ok());
        assert_eq!(fake.refusals().is_empty(), expected.is_ok());
        assert!(fake.refusals().iter().all(|refusal| *refusal == Refusal::Unauthorized));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_a_bound() {
    for (sent, expected) in [
        (vec![], Refusal::TimedOut),
        (vec![0x96, 0xa4], Refusal::TimedOut),
        (message("one"), Refusal::Malformed),
        (vec![0x96, 0xda, 0x20, 0], Refusal::TooLarge),
    ] {
        let mut served = start_with(settings(Some("key"), &[]));
        let began = Instant::now();
        served.send(&sent).await;
        let fake = served.fake.clone();
        let mut all = Vec::new();
        served.client.read_to_end(&mut all).await.unwrap();
        assert!(began.elapsed() <= Duration::from_secs(12));
        drop(served.client);
        served.task.await.unwrap().unwrap_err();
        assert_eq!((fake.refusals(), fake.taken()), (vec![expected], 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_silent_connections_and_handshakes() {
    for settings in [Settings::default(), settings(Some("key"), &[])] {
        let mut served = start_with(settings);
        sleep(Duration::from_secs(1)).await;
        served.send(&message("one")[..5]).await;
        let began = Instant::now();
        served.stop.send(true).unwrap();
        let mut all = Vec::new();
        served.client.read_to_end(&mut all).await.unwrap();
        drop(served.client);
        served.task.await.unwrap().unwrap();
        assert!(began.elapsed() <= Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_within_a_message_is_no_fault() {
    let mut served = start();
    served.send(&message("one")[..5]).await;
    drop(served.client);
    assert!(matches!(served.task.await.unwrap(), Err(SessionError::Io(_))));
    assert!(served.fake.refusals().is_empty());
}
