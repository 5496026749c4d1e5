//! Families of metrics that are to be described: in 1.0 types, units and help do not go with the samples, but in a field
//! of their own, once a minute for each family.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::time::Instant;
use weir_event::stream::Stream;

/// How often a family is described.
const DESCRIBED_EVERY: Duration = Duration::from_secs(60);
/// Families of which is known when they were described; what goes beyond is not described.
const MAX_FAMILIES: usize = 20_000;

/// When which family was described.
#[derive(Default)]
pub(super) struct Families {
    described: HashMap<Box<str>, Instant>,
    due: Vec<Arc<Stream>>,
}

// === impl Families ===

impl Families {
    /// Looks for families that are to be described now.
    pub fn look_at(&mut self, streams: &[Arc<Stream>], now: Instant) {
        for stream in streams {
            let Some(family) = &stream.attributes().family else { continue };
            if family.kind.is_empty() && family.help.is_empty() && family.unit.is_empty() {
                continue;
            }
            if let Some(described) = self.described.get_mut(family.name.as_str()) {
                if now < *described + DESCRIBED_EVERY {
                    continue;
                }
                *described = now;
            } else {
                if self.described.len() >= MAX_FAMILIES {
                    self.described.retain(|_, described| now < *described + DESCRIBED_EVERY);
                }
                if self.described.len() >= MAX_FAMILIES {
                    continue;
                }
                self.described.insert(family.name.as_str().into(), now);
            }
            self.due.push(Arc::clone(stream));
        }
    }

    /// Those to be described in the next request, which takes them from here.
    pub fn due(&mut self) -> &mut Vec<Arc<Stream>> {
        &mut self.due
    }
}

#[cfg(test)]
mod tests {
    use weir_event::stream::{Attributes, Family};

    use super::*;

    fn stream(name: &str, help: &str) -> Arc<Stream> {
        let family = Family { name: name.into(), help: help.into(), ..Family::default() };
        Stream::new(Attributes { family: Some(Box::new(family)), ..Attributes::default() }, 0)
    }

    #[test]
    fn a_family_is_described_once_a_minute() {
        let (mut families, now) = (Families::default(), Instant::now());
        let streams = [stream("a", "x"), stream("a", "x"), stream("b", "y"), stream("c", "")];
        families.look_at(&streams, now);
        assert_eq!(std::mem::take(families.due()).len(), 2);
        families.look_at(&streams, now + DESCRIBED_EVERY - Duration::from_secs(1));
        assert!(families.due().is_empty());
        families.look_at(&streams, now + DESCRIBED_EVERY);
        assert_eq!(families.due().len(), 2);
    }

    #[test]
    fn more_families_than_can_be_remembered_are_left_out() {
        let (mut families, now) = (Families::default(), Instant::now());
        let many: Vec<Arc<Stream>> = (0..MAX_FAMILIES + 5).map(|n| stream(&format!("m{n}"), "x")).collect();
        families.look_at(&many, now);
        assert_eq!(families.due().len(), MAX_FAMILIES);
        assert!(families.described.len() <= MAX_FAMILIES);
    }
}
