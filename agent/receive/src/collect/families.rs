//! The streams of samples: one for each family of metrics, and one for samples of which nobody said what they are.

use std::collections::HashMap;
use std::sync::Arc;

use weir_event::batch::BatchBuilder;
use weir_event::stream::{Attributes, Family, Stream};
use weir_pipeline::source::SourceContext;

/// Streams that are kept at the most. When there are more, all are made anew as they are needed.
const MAX_STREAMS: usize = 10_000;

/// The streams that were made so far.
#[derive(Debug, Default)]
pub(super) struct FamilyStreams {
    made: HashMap<Option<Arc<Family>>, Arc<Stream>>,
    /// Which index the families of the message have in the batch: first that of none, then each of its own, plus one; 0
    /// for one that has not been seen there.
    indices: Vec<u32>,
}

// === impl FamilyStreams ===

impl FamilyStreams {
    /// A message with so many families begins, or goes on in another batch.
    pub(super) fn begin(&mut self, families: usize) {
        self.indices.clear();
        self.indices.resize(families + 1, 0);
    }

    /// The index of a family's stream in the batch.
    #[inline]
    pub(super) fn index(
        &mut self,
        families: &[Arc<Family>],
        family: Option<u32>,
        batch: &mut BatchBuilder,
        context: &SourceContext,
    ) -> u32 {
        let at = family.map_or(0, |family| family as usize + 1);
        if let Some(index) = self.indices.get(at).and_then(|index| index.checked_sub(1)) {
            return index;
        }
        let family = family.and_then(|family| families.get(family as usize));
        let index = batch.add_stream(&self.stream(family, context));
        if let Some(known) = self.indices.get_mut(at) {
            *known = index + 1;
        }
        index
    }

    fn stream(&mut self, family: Option<&Arc<Family>>, context: &SourceContext) -> Arc<Stream> {
        let family = family.cloned();
        if let Some(stream) = self.made.get(&family) {
            return Arc::clone(stream);
        }
        if self.made.len() >= MAX_STREAMS {
            self.made.clear();
        }
        let attributes = Attributes {
            source: context.name.to_string(),
            cluster: context.cluster.to_string(),
            node: context.node.to_string(),
            family: family.as_deref().cloned().map(Box::new),
            ..Attributes::default()
        };
        // The id of a sample is made of its series and its time alone.
        let stream = Stream::new(attributes, 0);
        self.made.insert(family, Arc::clone(&stream));
        stream
    }
}
