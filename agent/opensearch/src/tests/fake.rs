//! A stand-in for OpenSearch, in the process: an index is a map, and a script says how each request goes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::exchange::{Answer, Exchange};
use crate::outcome::Failure;

/// A document as it arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub index: String,
    pub id: String,
    pub document: Value,
}

/// How an item goes.
#[derive(Clone, Debug)]
pub enum Item {
    /// Taken, or a conflict if it is there.
    Take,
    Refuse(u16, &'static str, String),
}

/// How a request goes.
#[derive(Clone, Debug)]
pub enum Way {
    /// Item by item.
    Items,
    /// All that can be taken is; then the answer is this instead.
    ThenFail(Failure),
    /// Nothing is taken.
    Fail(Failure),
    /// Item by item, but the answer is cut in the middle.
    Cut,
    /// Item by item, but the answer lacks its last item.
    Short,
}

type RequestScript = Box<dyn FnMut(usize, &[Arrived]) -> Way + Send>;
type ItemScript = Box<dyn FnMut(usize, &Arrived) -> Item + Send>;

#[derive(Default)]
pub struct World {
    pub store: BTreeMap<(String, String), Value>,
    /// The requests in order.
    pub requests: Vec<Vec<Arrived>>,
    /// Their sizes before they were unpacked.
    pub sizes: Vec<usize>,
    pub renewed: usize,
    pub under_way: i64,
    pub most_under_way: i64,
}

pub struct Fake {
    pub world: Arc<Mutex<World>>,
    request: Mutex<RequestScript>,
    item: Mutex<ItemScript>,
}

impl Fake {
    pub fn new(
        request: impl FnMut(usize, &[Arrived]) -> Way + Send + 'static,
        item: impl FnMut(usize, &Arrived) -> Item + Send + 'static,
    ) -> Arc<Fake> {
        Arc::new(Fake {
            world: Arc::default(),
            request: Mutex::new(Box::new(request)),
            item: Mutex::new(Box::new(item)),
        })
    }

    /// One that takes everything.
    pub fn willing() -> Arc<Fake> {
        Fake::new(|_, _| Way::Items, |_, _| Item::Take)
    }

    /// The ids in an index.
    pub fn ids(&self, index: &str) -> BTreeSet<String> {
        let world = self.world.lock().unwrap();
        world.store.keys().filter(|(of, _)| of == index).map(|(_, id)| id.clone()).collect()
    }

    /// How many documents each request had.
    pub fn counts(&self) -> Vec<usize> {
        self.world.lock().unwrap().requests.iter().map(Vec::len).collect()
    }

    fn handle(&self, body: &[u8], is_gzip: bool) -> Result<Bytes, Failure> {
        let arrived = parse(&unpacked(body, is_gzip));
        let mut world = self.world.lock().unwrap();
        let number = world.requests.len();
        world.requests.push(arrived.clone());
        world.sizes.push(body.len());
        let way = (self.request.lock().unwrap())(number, &arrived);
        if let Way::Fail(failure) = way {
            return Err(failure);
        }
        let mut items = Vec::new();
        for document in &arrived {
            let key = (document.index.clone(), document.id.clone());
            let item = match (self.item.lock().unwrap())(number, document) {
                // A conflict is found before anything else.
                _ if world.store.contains_key(&key) => {
                    json!({"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "x"}})
                }
                Item::Take => {
                    world.store.insert(key, document.document.clone());
                    json!({"status": 201})
                }
                Item::Refuse(status, kind, reason) => {
                    json!({"status": status, "error": {"type": kind, "reason": reason}})
                }
            };
            items.push(json!({ "create": item }));
        }
        if matches!(way, Way::Short) {
            items.pop();
        }
        let mut answer = json!({"took": 1, "errors": true, "items": items}).to_string();
        match way {
            Way::ThenFail(failure) => return Err(failure),
            Way::Cut => answer.truncate(answer.len() / 2),
            _ => {}
        }
        Ok(answer.into())
    }
}

impl Exchange for Fake {
    fn bulk(&self, body: Bytes, is_gzip: bool) -> Answer {
        let count = |world: &Mutex<World>, change: i64| {
            let mut world = world.lock().unwrap();
            world.under_way += change;
            world.most_under_way = world.most_under_way.max(world.under_way);
        };
        count(&self.world, 1);
        let answer = self.handle(&body, is_gzip);
        let world = Arc::clone(&self.world);
        Box::pin(async move {
            // Time passes between a request and its answer.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            count(&world, -1);
            answer
        })
    }

    fn renew(&self) {
        self.world.lock().unwrap().renewed += 1;
    }
}

pub fn unpacked(body: &[u8], is_gzip: bool) -> Vec<u8> {
    if !is_gzip {
        return body.to_vec();
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}

/// The documents of a request; panics if it is none.
pub fn parse(body: &[u8]) -> Vec<Arrived> {
    assert_eq!(body.last(), Some(&b'\n'), "a request ends with a newline");
    let text = std::str::from_utf8(body).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let pair = |lines: &[&str]| {
        let action: Value = serde_json::from_str(lines[0]).unwrap();
        let member = |name: &str| action["create"][name].as_str().unwrap().to_owned();
        Arrived {
            index: member("_index"),
            id: member("_id"),
            document: serde_json::from_str(lines[1]).unwrap(),
        }
    };
    assert_eq!(lines.len() % 2, 0);
    lines.chunks(2).map(pair).collect()
}
