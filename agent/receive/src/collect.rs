//! From messages to batches: the documents and samples of each are copied into the arena of a batch, as many messages to a
//! batch as wait.

mod families;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use rand::Rng as _;
use weir_event::batch::{BatchBuilder, Flags, MAX_BATCH_BYTES, Row};
use weir_event::identity::{message_incarnation, receipt_incarnation};
use weir_event::stream::{Attributes, Stream};
use weir_pipeline::checkpoint::OnDurable;
use weir_pipeline::source::{SourceContext, Stopped};
use weir_samples::receive::Samples;

use self::families::FamilyStreams;
use crate::documents::Origin;
use crate::gate::{Arrived, Duty};
use crate::intake::{Message, Parcel};

/// Fills batches and sends them.
pub(crate) struct Collector {
    context: SourceContext,
    batch: Option<BatchBuilder>,
    /// Of the messages that have documents in the batch.
    duties: Vec<Duty>,
    /// Tells this run of the source from all others: messages without a key are nothing else.
    run: u64,
    received: u64,
    families: FamilyStreams,
}

// === impl Collector ===

impl Collector {
    pub fn new(context: SourceContext) -> Collector {
        Collector {
            context,
            batch: None,
            duties: Vec::new(),
            run: rand::rng().random(),
            received: 0,
            families: FamilyStreams::default(),
        }
    }

    /// Takes a message up. Full batches are sent, and block while a pipeline has no room.
    pub fn take(&mut self, arrived: Arrived) -> Result<(), Stopped> {
        let Arrived { parcel, duty, room } = arrived;
        match parcel {
            Parcel::Events(message) => self.take_events(&message, &duty)?,
            Parcel::Samples(message) => self.take_samples(&message.samples, &duty)?,
        }
        duty.release();
        drop(room);
        Ok(())
    }

    fn take_events(&mut self, message: &Message, duty: &Duty) -> Result<(), Stopped> {
        self.received += 1;
        let incarnation = match message.key {
            Some(key) => message_incarnation(key),
            None => receipt_incarnation(self.run, self.received),
        };
        let now = nanoseconds_now();
        let mut streams = Streams::new(message, incarnation);
        let mut is_in_batch = false;
        for (index, (entry, text)) in message.documents.iter().enumerate() {
            if self.is_full_for(text.len()) {
                self.send()?;
                streams.forget();
                is_in_batch = false;
            }
            let batch = self.batch.get_or_insert_with(|| BatchBuilder::new(self.context.arenas.take()));
            let stream = streams.index(entry.origin, batch, &self.context);
            let content = batch.arena.append(text);
            batch.push(Row {
                content,
                raw: content,
                offset: index as u64,
                time: entry.time.unwrap_or(now),
                stream,
                flags: entry.flags,
            });
            if !is_in_batch {
                self.duties.push(duty.share());
                is_in_batch = true;
            }
        }
        Ok(())
    }

    fn take_samples(&mut self, samples: &Samples, duty: &Duty) -> Result<(), Stopped> {
        let mut is_in_batch = false;
        for row in samples.rows() {
            if self.is_full_for(row.bytes()) {
                self.send()?;
                is_in_batch = false;
            }
            let batch = self.batch.get_or_insert_with(|| BatchBuilder::new(self.context.arenas.take()));
            if !is_in_batch {
                self.families.begin(samples.families().len());
                self.duties.push(duty.share());
                is_in_batch = true;
            }
            let stream = self.families.index(samples.families(), row.family, batch, &self.context);
            let mut content = batch.arena.append(row.labels);
            for part in [row.point, row.exemplars] {
                content.len += batch.arena.append(part).len;
            }
            let flags = Flags::default();
            batch.push(Row { content, raw: content, offset: row.series, time: row.time, stream, flags });
        }
        Ok(())
    }

    /// Sends what there is.
    pub fn send(&mut self) -> Result<(), Stopped> {
        let Some(batch) = self.batch.take() else { return Ok(()) };
        let duties = std::mem::take(&mut self.duties);
        let metrics = &self.context.metrics;
        metrics.events.fetch_add(batch.rows() as u64, Ordering::Relaxed);
        metrics.bytes.fetch_add(batch.arena.len() as u64, Ordering::Relaxed);
        let on_durable = OnDurable::new(move || duties.into_iter().for_each(Duty::release));
        self.context.outlet.push(batch.finish(&self.context.arenas), on_durable)
    }

    fn is_full_for(&self, bytes: usize) -> bool {
        let Some(batch) = &self.batch else { return false };
        batch.is_full() || batch.arena.len() + bytes > MAX_BATCH_BYTES
    }
}

/// The streams of one message, one for each of its origins.
struct Streams<'a> {
    message: &'a Message,
    incarnation: u64,
    /// By origin.
    made: Vec<Option<Arc<Stream>>>,
    /// The last that was added to the batch: its origin and its index there.
    last: Option<(u32, u32)>,
}

impl Streams<'_> {
    fn new(message: &Message, incarnation: u64) -> Streams<'_> {
        Streams { message, incarnation, made: vec![None; message.documents.origins().len()], last: None }
    }

    /// Another batch begins.
    fn forget(&mut self) {
        self.last = None;
    }

    fn index(&mut self, origin: u32, batch: &mut BatchBuilder, context: &SourceContext) -> u32 {
        if let Some((known, index)) = self.last
            && known == origin
        {
            return index;
        }
        let (message, incarnation) = (self.message, self.incarnation);
        let make = || {
            let origin = message.documents.origins().get(origin as usize);
            Stream::new(attributes(origin.cloned().unwrap_or_default(), &message.tag, context), incarnation)
        };
        let index = match self.made.get_mut(origin as usize) {
            Some(made) => batch.add_stream(made.get_or_insert_with(make)),
            None => batch.add_stream(&make()),
        };
        self.last = Some((origin, index));
        index
    }
}

fn attributes(origin: Origin, tag: &str, context: &SourceContext) -> Attributes {
    let Origin { namespace, pod, container, uid } = origin;
    Attributes {
        source: context.name.to_string(),
        cluster: context.cluster.to_string(),
        node: context.node.to_string(),
        namespace,
        pod,
        container,
        uid,
        tag: tag.to_owned(),
        ..Attributes::default()
    }
}

fn nanoseconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
