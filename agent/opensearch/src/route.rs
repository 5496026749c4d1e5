//! Indices: the name that a document's stream and time give.
//!
//! 1. A name is one that OpenSearch takes: small letters, none of its forbidden characters, at most 255 bytes.
//! 2. Within an hour of the clock only so many different names are given out; documents of further ones go to one
//!    shared index. A stream of nonsense cannot fill a cluster with shards.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use weir_buffer::segment::{Documents, Route, Targets};
use weir_event::name_template::{NAME_GRAIN, NameTemplate};
use weir_event::stream::Attributes;

/// Longest name that OpenSearch takes.
const MAX_NAME_BYTES: usize = 255;
/// Of a name that is too long, this much of its end is kept: the date stands there.
const KEPT_END_BYTES: usize = 16;
/// What OpenSearch does not take in a name.
const FORBIDDEN: [char; 12] = ['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':'];

/// Says which index documents go to.
pub struct IndexRoute {
    template: NameTemplate,
    overflow: Arc<str>,
    max_per_hour: usize,
    seen: Mutex<Seen>,
    overflowed: AtomicU64,
}

/// The names given out in the last hours.
#[derive(Default)]
struct Seen {
    /// By name, with the hour in which it was last given out.
    names: HashMap<Arc<str>, u64>,
    /// Names that are new in this hour or were given out in it.
    in_hour: usize,
    hour: u64,
}

// === impl IndexRoute ===

impl IndexRoute {
    /// A route by this template.
    pub fn new(template: NameTemplate, max_per_hour: usize) -> IndexRoute {
        let prefix = clean(template.prefix());
        let prefix = prefix.trim_end_matches(['-', '_', '.']);
        let overflow = if prefix.is_empty() { "weir-overflow".into() } else { format!("{prefix}-overflow") };
        IndexRoute {
            template,
            overflow: overflow.into(),
            max_per_hour,
            seen: Mutex::default(),
            overflowed: AtomicU64::new(0),
        }
    }

    /// Documents that went to the shared index because there were too many others.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// The name of the shared index.
    pub fn overflow(&self) -> &Arc<str> {
        &self.overflow
    }

    fn name(&self, attributes: &Attributes, time: i64, now_hour: u64) -> Arc<str> {
        let mut rendered = String::new();
        self.template.render(attributes, time, &mut rendered);
        let name = clean(&rendered);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.turn(now_hour);
        if let Some((known, hour)) = seen.names.get_key_value(name.as_str()) {
            if *hour == now_hour {
                return Arc::clone(known);
            }
            let known = Arc::clone(known);
            if seen.in_hour < self.max_per_hour {
                seen.in_hour += 1;
                seen.names.insert(Arc::clone(&known), now_hour);
            }
            // A name of the hour before stays good: an index that is in use is not left.
            return known;
        }
        if seen.in_hour >= self.max_per_hour {
            return Arc::clone(&self.overflow);
        }
        let name: Arc<str> = name.into();
        seen.in_hour += 1;
        seen.names.insert(Arc::clone(&name), now_hour);
        name
    }

    fn route_at(&self, documents: &Documents, now_hour: u64) -> Targets {
        let mut targets = Targets { names: Vec::new(), of: Vec::with_capacity(documents.records.len()) };
        // Few streams and hours meet in a segment, so names are asked for once each.
        let mut known: BTreeMap<(u32, i64), u16> = BTreeMap::new();
        let mut last = None;
        for record in &documents.records {
            let key = (record.stream, record.time.div_euclid(NAME_GRAIN));
            if let Some((last_key, index)) = last
                && last_key == key
            {
                targets.of.push(index);
                self.count_overflow(&targets, index);
                continue;
            }
            let index = *known.entry(key).or_insert_with(|| {
                let nothing = Attributes::default();
                let stream = documents.streams.get(record.stream as usize);
                let attributes = stream.map_or(&nothing, |stream| stream.attributes());
                add(&mut targets.names, self.name(attributes, record.time, now_hour))
            });
            last = Some((key, index));
            targets.of.push(index);
            self.count_overflow(&targets, index);
        }
        targets
    }

    fn count_overflow(&self, targets: &Targets, index: u16) {
        if targets.names.get(index as usize).is_some_and(|name| Arc::ptr_eq(name, &self.overflow)) {
            self.overflowed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Route for IndexRoute {
    fn route(&self, documents: &Documents) -> Targets {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.route_at(documents, now / 3600)
    }
}

// === impl Seen ===

impl Seen {
    /// Forgets what was not given out since the hour before this one.
    fn turn(&mut self, hour: u64) {
        if hour == self.hour {
            return;
        }
        self.names.retain(|_, last| *last + 1 >= hour);
        self.hour = hour;
        self.in_hour = 0;
    }
}

/// The index of a name in the list, where it is put if need be. A segment has fewer names than rows, and those fewer
/// than an index can count.
fn add(names: &mut Vec<Arc<str>>, name: Arc<str>) -> u16 {
    let at = names.iter().position(|known| *known == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    });
    u16::try_from(at).unwrap_or(u16::MAX)
}

/// A name that OpenSearch takes.
pub(crate) fn clean(name: &str) -> String {
    let mut clean = String::with_capacity(name.len());
    for character in name.chars() {
        if FORBIDDEN.contains(&character) || character.is_control() {
            clean.push('_');
        } else {
            // The small form of a character may be several; none of them is forbidden.
            clean.extend(character.to_lowercase());
        }
    }
    let trimmed = clean.trim_start_matches(['-', '_', '+', '.']);
    if trimmed.is_empty() {
        return "weir".to_owned();
    }
    shortened(trimmed)
}

fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME_BYTES {
        return name.to_owned();
    }
    let mut end = name.len() - KEPT_END_BYTES;
    while !name.is_char_boundary(end) {
        end += 1;
    }
    let tail = name.get(end..).unwrap_or_default();
    let mut start = MAX_NAME_BYTES - 1 - tail.len();
    while !name.is_char_boundary(start) {
        start -= 1;
    }
    format!("{}_{tail}", name.get(..start).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use weir_buffer::segment::Record;
    use weir_event::identity::EventId;
    use weir_event::stream::Stream;

    use super::*;

    fn documents(namespaces: &[&str], times: &[(u32, i64)]) -> Documents {
        let stream = |namespace: &&str| {
            Stream::new(Attributes { namespace: (*namespace).into(), ..Attributes::default() }, 0)
        };
        let record = |(stream, time): &(u32, i64)| Record {
            id: EventId([0; 20]),
            time: *time,
            stream: *stream,
            bytes: 1,
            end: 0,
        };
        Documents {
            ndjson: Vec::new(),
            records: times.iter().map(record).collect(),
            streams: namespaces.iter().map(stream).collect(),
        }
    }

    fn names(targets: &Targets) -> Vec<&str> {
        (0..targets.of.len()).map(|index| &**targets.name(index).unwrap()).collect()
    }

    fn route(max_per_hour: usize) -> IndexRoute {
        IndexRoute::new(NameTemplate::parse("logs-{namespace}-%Y.%m.%d").unwrap(), max_per_hour)
    }

    const DAY: i64 = 86_400 * 1_000_000_000;

    #[test]
    fn the_events_own_time_and_stream_say_where() {
        let documents = documents(&["Shop", "a:b"], &[(0, 0), (0, 1), (1, 0), (0, DAY), (1, -1)]);
        let targets = route(10).route_at(&documents, 5);
        let expected = ["logs-shop-1970.01.01", "logs-shop-1970.01.01", "logs-a_b-1970.01.01"];
        assert_eq!(names(&targets)[..3], expected);
        assert_eq!(names(&targets)[3..], ["logs-shop-1970.01.02", "logs-a_b-1969.12.31"]);
        assert_eq!(targets.names.len(), 4);
    }

    #[test]
    fn beyond_so_many_names_in_an_hour_documents_share_one() {
        let route = route(2);
        let documents = documents(&["a", "b", "c"], &[(0, 0), (1, 0), (2, 0), (2, 1), (0, 5)]);
        let targets = route.route_at(&documents, 7);
        assert_eq!(names(&targets)[2..4], ["logs-overflow", "logs-overflow"]);
        assert_eq!(names(&targets)[4], "logs-a-1970.01.01");
        assert_eq!(route.overflowed(), 2);
        // What was in use stays in use in the next hour, and a quiet name makes room.
        assert_eq!(names(&route.route_at(&documents, 8))[0], "logs-a-1970.01.01");
        assert_eq!(names(&route.route_at(&documents, 10))[2], "logs-overflow");
        let late = self::documents(&["c"], &[(0, 0)]);
        assert_eq!(names(&route.route_at(&late, 12)), ["logs-c-1970.01.01"]);
    }

    #[test]
    fn names_are_what_opensearch_takes() {
        let cases = [
            ("Logs ÄB", "logs_äb"),
            ("--_+x", "x"),
            ("a\\b/c*d?e\"f<g>h|i,j#k:l", "a_b_c_d_e_f_g_h_i_j_k_l"),
            (".hidden", "hidden"),
            ("..", "weir"),
            ("a\nb", "a_b"),
        ];
        for (name, expected) in cases {
            assert_eq!(clean(name), expected);
        }
        let long = clean(&format!("{}-2026.11.22", "ä".repeat(300)));
        assert!(long.len() <= MAX_NAME_BYTES && long.ends_with("-2026.11.22"), "{long}");
    }
}
