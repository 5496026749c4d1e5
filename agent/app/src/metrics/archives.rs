//! What the sinks that archive count.

use std::sync::atomic::{AtomicU64, Ordering};

use weir_archive::Metrics;

use super::exposition::{Exposition, Sample};
use super::families as f;
use crate::state::View;

/// Every archive that is written.
pub fn archives(out: &mut Exposition, view: &View) {
    let mut add = |family, number: fn(&Metrics) -> &AtomicU64| {
        let samples = view.archives.iter().map(|(name, metrics)| {
            Sample::count([("sink", name.as_str())], number(metrics).load(Ordering::Relaxed))
        });
        out.add(family, samples);
    };
    add(&f::ARCHIVE_OBJECTS, |metrics| &metrics.objects);
    add(&f::ARCHIVE_OBJECT_BYTES, |metrics| &metrics.object_bytes);
    add(&f::ARCHIVE_RAW_BYTES, |metrics| &metrics.raw_bytes);
    add(&f::ARCHIVE_DUPLICATES, |metrics| &metrics.duplicates);
    add(&f::ARCHIVE_CONFLICTS, |metrics| &metrics.conflicts);
    add(&f::ARCHIVE_OPEN_GROUPS, |metrics| &metrics.open_groups);
    add(&f::ARCHIVE_MEMORY, |metrics| &metrics.memory);
}
