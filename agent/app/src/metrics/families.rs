//! All families: their names, types, labels and meanings. docs/OPERATION.md has the same table.

pub mod samples;

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the agent starts again.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A family of metrics.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// The labels that its samples have.
    pub labels: &'static str,
    /// What it counts; one line.
    pub help: &'static str,
}

// === impl Kind ===

impl Kind {
    /// As the text format has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

// === impl Family ===

impl Family {
    /// Whether its samples may have this label.
    pub fn has_label(&self, label: &str) -> bool {
        self.labels.split(", ").any(|known| known == label)
    }
}

const fn counter(name: &'static str, labels: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, help }
}

pub const BUILD: Family = gauge("weir_build_info", "version", "1, for the version that runs.");
pub const CONFIG: Family =
    gauge("weir_config_info", "hash", "1, for the configuration that is live, by the hash of its files.");
pub const CONFIG_GENERATION: Family = gauge(
    "weir_config_generation",
    "",
    "Number of the configuration that is live: 1 after the start, one more with each reload.",
);
pub const CONFIG_RELOAD_SUCCESSFUL: Family = gauge(
    "weir_config_last_reload_successful",
    "",
    "0 while the last reload was rejected and the configuration before it runs on, else 1.",
);
pub const CONFIG_RELOAD_SECONDS: Family =
    gauge("weir_config_last_reload_seconds", "", "How long the last reload took, whatever became of it.");
pub const CONFIG_RELOAD_SUCCESS_TIME: Family = gauge(
    "weir_config_last_reload_success_timestamp_seconds",
    "",
    "When a reload last succeeded, or the agent started, in seconds since the Unix epoch.",
);
pub const CONFIG_RELOADS: Family = counter(
    "weir_config_reloads_total",
    "outcome",
    "Reloads by what became of them: reloaded, unchanged or rejected.",
);
pub const CONFIG_NEXT_TRY: Family = gauge(
    "weir_config_next_try_timestamp_seconds",
    "",
    "When a configuration that was not taken is tried again by itself, in seconds since the Unix epoch; 0 while none is.",
);
pub const READY: Family =
    gauge("weir_ready", "", "1 while the agent does its work, 0 while it starts or drains.");

pub const PIPELINE_HELD: Family = gauge(
    "weir_pipeline_held",
    "pipeline",
    "1 while the pipeline stands still with a batch that a plugin cannot handle (on_error: hold).",
);
pub const WORKER_PANICS: Family = counter(
    "weir_worker_panics_total",
    "",
    "Faults of the agent itself while it handled a batch, which stays unacked.",
);

pub const SOURCE_BYTES: Family = counter("weir_source_read_bytes_total", "source", "Bytes read.");
pub const SOURCE_EVENTS: Family =
    counter("weir_source_events_total", "source", "Events handed to the pipelines.");
pub const SOURCE_FILES: Family = gauge("weir_source_files", "source", "Files followed now.");
pub const SOURCE_MALFORMED: Family = counter(
    "weir_source_malformed_lines_total",
    "source",
    "Lines that are not what the format prescribes, kept as text.",
);
pub const SOURCE_TRUNCATED: Family =
    counter("weir_source_truncated_events_total", "source", "Events cut at the size limit.");
pub const SOURCE_MULTILINE_CUT: Family = counter(
    "weir_source_multiline_cut_events_total",
    "source",
    "Joined events cut at their bound of lines or bytes; what follows is an event of its own.",
);
pub const SOURCE_TRUNCATED_FILES: Family = counter(
    "weir_source_truncated_files_total",
    "source",
    "Files found shorter than what was read of them, and begun anew.",
);
pub const SOURCE_HELD_FILES: Family =
    gauge("weir_source_held_files", "source", "Deleted files that are held open to read their rest.");
pub const SOURCE_HELD_BYTES: Family = gauge(
    "weir_source_held_bytes",
    "source",
    "Bytes of deleted files that are held open; max_held_bytes is their bound.",
);
pub const SOURCE_ERRORS: Family =
    counter("weir_source_errors_total", "source", "Files or folders that could not be opened or read.");

pub const SOURCE_CONNECTIONS: Family =
    gauge("weir_source_connections", "source", "Connections that are open, of a source that is pushed to.");
pub const SOURCE_MESSAGES: Family = counter(
    "weir_source_messages_total",
    "source",
    "Messages that came whole and could be read, of a source that is pushed to.",
);
pub const SOURCE_REPEATED: Family = counter(
    "weir_source_repeated_messages_total",
    "source",
    "Messages that were known: sent again by clients that had not heard an answer. Nothing of them is read again.",
);
pub const SOURCE_REFUSED: Family = counter(
    "weir_source_refused_total",
    "source, reason",
    "What was refused to clients; reason is malformed, unsupported, too_large, timed_out, unauthorized, tls or connections.",
);

pub const LEDGER_EVENTS: Family = counter(
    "weir_ledger_events_total",
    "pipeline, sink, state, reason",
    "Events by what became of them; state is read, created, delivered, sampled, dropped, dead_lettered or lost, the last four with a reason. Goes on after a restart.",
);
pub const LEDGER_BYTES: Family = counter(
    "weir_ledger_bytes_total",
    "pipeline, sink, state, reason",
    "The same in bytes of the events as they were read.",
);
pub const LEDGER_WAITING_EVENTS: Family = gauge(
    "weir_ledger_waiting_events",
    "pipeline, sink, place",
    "Events on their way; place is in_flight (between source and buffer) or a tier of the buffer.",
);
pub const LEDGER_WAITING_BYTES: Family = gauge(
    "weir_ledger_waiting_bytes",
    "pipeline, sink, place",
    "The same in bytes of the events as they were read.",
);
pub const LEDGER_BALANCED: Family = gauge(
    "weir_ledger_balanced",
    "pipeline, sink",
    "1 while everything that came in is somewhere; 0 is a fault of the agent.",
);

pub const BUFFER_USED: Family = gauge(
    "weir_buffer_used_bytes",
    "sink, tier",
    "Bytes of documents that wait for a sink: memory, with the room set aside for more, files on disk, and objects.",
);
pub const BUFFER_BOUND: Family = gauge("weir_buffer_bound_bytes", "sink, tier", "The most that it may be.");

pub const BUFFER_FILES: Family =
    gauge("weir_buffer_files", "sink", "Files of the sink's buffer on disk; a file holds up to 64 segments.");
pub const BUFFER_OLDEST: Family = gauge(
    "weir_buffer_oldest_seconds",
    "sink",
    "Age of the oldest segment that waits for a sink, in memory or on disk; 0 when none does.",
);
pub const BUFFER_WRITTEN: Family =
    counter("weir_buffer_written_files_total", "sink", "Files written to the sink's buffer on disk.");
pub const BUFFER_WRITE_ERRORS: Family = counter(
    "weir_buffer_write_errors_total",
    "sink",
    "Files that could not be written; their events stay in memory.",
);
pub const BUFFER_READ_ERRORS: Family =
    counter("weir_buffer_read_errors_total", "sink", "Reads of the sink's buffer on disk that failed.");
pub const BUFFER_DAMAGED: Family = counter(
    "weir_buffer_damaged_files_total",
    "sink",
    "Files of the sink's buffer in which something was damaged; what was lost by it is in the ledger.",
);
pub const BUFFER_STALLED: Family = counter(
    "weir_buffer_stalled_reads_total",
    "sink",
    "Waits of 10 s each for a read of the sink's buffer that the disk did not answer.",
);
pub const BUFFER_STORED_EVENTS: Family =
    counter("weir_buffer_stored_events_total", "sink", "Events written to the sink's buffer on disk.");
pub const BUFFER_STORED_BYTES: Family =
    counter("weir_buffer_stored_bytes_total", "sink", "The same in bytes of the events as they were read.");
pub const BUFFER_REPLAYED_EVENTS: Family =
    counter("weir_buffer_replayed_events_total", "sink", "Events read back from the sink's buffer on disk.");
pub const BUFFER_REPLAYED_BYTES: Family =
    counter("weir_buffer_replayed_bytes_total", "sink", "The same in bytes of the events as they were read.");
pub const BUFFER_OBJECTS: Family =
    gauge("weir_buffer_objects", "sink", "Files of the sink's buffer that lie in its object store.");
pub const BUFFER_MOVED: Family = counter(
    "weir_buffer_moved_files_total",
    "sink",
    "Files of the sink's buffer that were moved from disk to its object store.",
);
pub const BUFFER_MOVED_BYTES: Family =
    counter("weir_buffer_moved_bytes_total", "sink", "Bytes of these files.");
pub const BUFFER_REMOVED_OBJECTS: Family = counter(
    "weir_buffer_removed_objects_total",
    "sink",
    "Objects removed from the object store since nobody needs them any more.",
);
pub const BUFFER_OBJECT_ERRORS: Family = counter(
    "weir_buffer_object_errors_total",
    "sink",
    "Requests to the object store that failed, after all their tries.",
);
pub const BUFFER_OBJECT_FAILING: Family = gauge(
    "weir_buffer_object_store_failing",
    "sink",
    "1 while the last request to the object store failed; the disk's bound holds then.",
);

pub const SINK_SEGMENTS: Family = counter("weir_sink_segments_total", "sink", "Segments delivered.");
pub const SINK_EVENTS: Family = counter("weir_sink_events_total", "sink", "Documents delivered.");
pub const SINK_BYTES: Family =
    counter("weir_sink_written_bytes_total", "sink", "Bytes of documents delivered, newlines included.");
pub const SINK_RETRIES: Family =
    counter("weir_sink_retries_total", "sink", "Deliveries that failed and were tried again.");
pub const SINK_FAILING: Family = gauge("weir_sink_failing", "sink", "1 while the last delivery failed.");

pub const OPENSEARCH_REQUESTS: Family = counter(
    "weir_opensearch_requests_total",
    "sink, outcome",
    "Requests: answered item by item, failed as a whole, or split because they were too large.",
);
pub const OPENSEARCH_ITEMS: Family = counter(
    "weir_opensearch_items_total",
    "sink, outcome",
    "What was answered about documents, one count for each answer; a document that is sent again counts again.",
);
pub const OPENSEARCH_SENT: Family =
    counter("weir_opensearch_sent_bytes_total", "sink", "Bytes of requests, compressed as they were sent.");
pub const OPENSEARCH_CONCURRENCY: Family = gauge(
    "weir_opensearch_concurrency",
    "sink",
    "Requests that may be under way at once now; less than configured while OpenSearch is busy.",
);
pub const OPENSEARCH_IN_FLIGHT: Family = gauge("weir_opensearch_in_flight", "sink", "Requests under way.");
pub const OPENSEARCH_UNAUTHORIZED: Family = gauge(
    "weir_opensearch_unauthorized",
    "sink",
    "1 while OpenSearch does not accept who the agent is; documents wait.",
);
pub const OPENSEARCH_HELD: Family = gauge(
    "weir_opensearch_held_events",
    "sink, index",
    "Events that wait because their index takes nothing for now.",
);
pub const OPENSEARCH_OVERFLOW: Family = counter(
    "weir_opensearch_overflow_events_total",
    "sink",
    "Events that share the overflow index, for there were too many others within an hour.",
);

pub const ARCHIVE_OBJECTS: Family =
    counter("weir_archive_objects_total", "sink", "Objects stored and named in an index.");
pub const ARCHIVE_OBJECT_BYTES: Family =
    counter("weir_archive_object_bytes_total", "sink", "Bytes of these objects, compressed.");
pub const ARCHIVE_RAW_BYTES: Family = counter(
    "weir_archive_raw_bytes_total",
    "sink",
    "Bytes of the events in them before they were compressed, ids and times included.",
);
pub const ARCHIVE_DUPLICATES: Family = counter(
    "weir_archive_duplicate_events_total",
    "sink",
    "Events that came twice for one object and are in it once.",
);
pub const ARCHIVE_CONFLICTS: Family = counter(
    "weir_archive_index_conflicts_total",
    "sink",
    "Writes of an index that another writer came before, done again.",
);
pub const ARCHIVE_OPEN_GROUPS: Family =
    gauge("weir_archive_open_groups", "sink", "Namespaces and hours for which an object gathers now.");
pub const ARCHIVE_MEMORY: Family = gauge(
    "weir_archive_memory_bytes",
    "sink",
    "Memory of the events that are not stored yet: those that gather, and those under way.",
);

pub const PLUGIN: Family = gauge(
    "weir_plugin_info",
    "plugin, name, version, digest",
    "1, for each plugin that is loaded, by its own name and version and the SHA-256 of its artefact.",
);
pub const PLUGIN_ARTIFACT: Family = gauge(
    "weir_plugin_artifact_info",
    "plugin, reference, digest, key, from",
    "1, for each plugin from a registry: its reference, the digest that this stands for, who signed it, and whether it came from the registry or the cache.",
);
pub const PLUGIN_ARTIFACT_STALE: Family = gauge(
    "weir_plugin_artifact_stale",
    "plugin",
    "1 while a tag could not be looked up the last time, and stands for what it stood for before.",
);
pub const PLUGIN_CALLS: Family = counter("weir_plugin_calls_total", "plugin", "Batches handed to it.");
pub const PLUGIN_EVENTS: Family = counter("weir_plugin_events_total", "plugin", "Events handed to it.");
pub const PLUGIN_CPU: Family = counter(
    "weir_plugin_cpu_seconds_total",
    "plugin",
    "CPU time that it cost, copying and checking included.",
);
pub const PLUGIN_WALL: Family = counter("weir_plugin_wall_seconds_total", "plugin", "The same by the clock.");
pub const PLUGIN_ERRORS: Family = counter("weir_plugin_errors_total", "plugin, cause", "Faults, by cause.");
pub const PLUGIN_RETRIES: Family = counter(
    "weir_plugin_retries_total",
    "plugin",
    "Tries after a fault: the whole batch once more, then parts of it.",
);
pub const PLUGIN_SUSPECTS: Family = counter(
    "weir_plugin_failed_events_total",
    "plugin",
    "Events that it could not handle; they met its on_error.",
);
pub const PLUGIN_STATE: Family = gauge(
    "weir_plugin_state",
    "plugin, state",
    "1 for the state that the plugin is in: healthy, degraded, half_open or quarantined (every event meets its \
     on_error).",
);
pub const PLUGIN_QUARANTINES: Family =
    counter("weir_plugin_quarantines_total", "plugin", "How often it was quarantined.");
pub const PLUGIN_RECYCLES: Family =
    counter("weir_plugin_recycled_instances_total", "plugin", "Instances replaced for their age or size.");
pub const PLUGIN_MEMORY: Family = gauge("weir_plugin_memory_bytes", "plugin", "Memory of its instances.");
pub const PLUGIN_MEMORY_PEAK: Family =
    gauge("weir_plugin_memory_peak_bytes", "plugin", "The most that it ever was.");
pub const PLUGIN_MEMORY_LIMIT: Family = gauge(
    "weir_plugin_memory_limit_bytes",
    "plugin",
    "The most that one instance may have; there is one for each worker.",
);

pub const SHADOW: Family = gauge(
    "weir_plugin_shadow_info",
    "plugin, name, version, digest",
    "1, for each shadow that is loaded, by its own name and version and the SHA-256 of its artefact.",
);
pub const SHADOW_STATE: Family = gauge(
    "weir_plugin_shadow_state",
    "plugin, state",
    "1 for the state that the plugin's shadow is in: running, off (it kept failing and is asked no more) or failed \
     (it could not be loaded).",
);
pub const SHADOW_BATCHES: Family = counter(
    "weir_plugin_shadow_batches_total",
    "plugin, outcome",
    "Batches that were due to be compared: compared, or skipped because batches waited for a worker (skipped_queue), \
     the one before was still being compared (skipped_busy), or it was too large (skipped_large).",
);
pub const SHADOW_EVENTS: Family = counter(
    "weir_plugin_shadow_events_total",
    "plugin, result",
    "Events that were compared, by how the shadow treated them against the plugin: same, kept_to_dropped, \
     dropped_to_kept, other_reason, other_edits, other_events, faulted (the shadow could not handle it) or \
     live_faulted (the plugin itself could not).",
);
pub const SHADOW_CPU: Family = counter(
    "weir_plugin_shadow_cpu_seconds_total",
    "plugin",
    "CPU time that the shadow cost, without comparing.",
);
pub const SHADOW_ERRORS: Family =
    counter("weir_plugin_shadow_errors_total", "plugin, cause", "Faults of the shadow, by cause.");
pub const SHADOW_MEMORY: Family =
    gauge("weir_plugin_shadow_memory_bytes", "plugin", "Memory of the shadow's instance.");

pub const PROCESS_CPU: Family = counter("process_cpu_seconds_total", "", "CPU time of the agent.");
pub const PROCESS_RESIDENT: Family =
    gauge("process_resident_memory_bytes", "", "Memory of the agent in RAM.");
pub const PROCESS_RESIDENT_PEAK: Family =
    gauge("process_resident_memory_peak_bytes", "", "The most that it ever was.");
pub const PROCESS_VIRTUAL: Family = gauge(
    "process_virtual_memory_bytes",
    "",
    "Address space of the agent; the room for plugins is most of it and costs nothing.",
);
pub const PROCESS_THREADS: Family = gauge("process_threads", "", "Threads of the agent.");
pub const PROCESS_FDS: Family = gauge("process_open_fds", "", "Open file descriptors.");
pub const PROCESS_MAX_FDS: Family = gauge("process_max_fds", "", "The most that may be open.");
pub const PROCESS_START: Family =
    gauge("process_start_time_seconds", "", "When the agent started, in seconds since the Unix epoch.");

/// All of them, in the order in which they are rendered.
#[cfg(test)]
const ALL: &[&Family] = &[
    &BUILD,
    &CONFIG,
    &CONFIG_GENERATION,
    &CONFIG_RELOAD_SUCCESSFUL,
    &CONFIG_RELOAD_SECONDS,
    &CONFIG_RELOAD_SUCCESS_TIME,
    &CONFIG_RELOADS,
    &CONFIG_NEXT_TRY,
    &READY,
    &PIPELINE_HELD,
    &WORKER_PANICS,
    &SOURCE_BYTES,
    &SOURCE_EVENTS,
    &SOURCE_FILES,
    &SOURCE_MALFORMED,
    &SOURCE_TRUNCATED,
    &SOURCE_MULTILINE_CUT,
    &SOURCE_TRUNCATED_FILES,
    &SOURCE_HELD_FILES,
    &SOURCE_HELD_BYTES,
    &SOURCE_ERRORS,
    &SOURCE_CONNECTIONS,
    &SOURCE_MESSAGES,
    &SOURCE_REPEATED,
    &SOURCE_REFUSED,
    &LEDGER_EVENTS,
    &LEDGER_BYTES,
    &LEDGER_WAITING_EVENTS,
    &LEDGER_WAITING_BYTES,
    &LEDGER_BALANCED,
    &BUFFER_USED,
    &BUFFER_BOUND,
    &BUFFER_FILES,
    &BUFFER_OLDEST,
    &BUFFER_WRITTEN,
    &BUFFER_WRITE_ERRORS,
    &BUFFER_READ_ERRORS,
    &BUFFER_DAMAGED,
    &BUFFER_STALLED,
    &BUFFER_STORED_EVENTS,
    &BUFFER_STORED_BYTES,
    &BUFFER_REPLAYED_EVENTS,
    &BUFFER_REPLAYED_BYTES,
    &BUFFER_OBJECTS,
    &BUFFER_MOVED,
    &BUFFER_MOVED_BYTES,
    &BUFFER_REMOVED_OBJECTS,
    &BUFFER_OBJECT_ERRORS,
    &BUFFER_OBJECT_FAILING,
    &SINK_SEGMENTS,
    &SINK_EVENTS,
    &SINK_BYTES,
    &SINK_RETRIES,
    &SINK_FAILING,
    &OPENSEARCH_REQUESTS,
    &OPENSEARCH_ITEMS,
    &OPENSEARCH_SENT,
    &OPENSEARCH_CONCURRENCY,
    &OPENSEARCH_IN_FLIGHT,
    &OPENSEARCH_UNAUTHORIZED,
    &OPENSEARCH_HELD,
    &OPENSEARCH_OVERFLOW,
    &ARCHIVE_OBJECTS,
    &ARCHIVE_OBJECT_BYTES,
    &ARCHIVE_RAW_BYTES,
    &ARCHIVE_DUPLICATES,
    &ARCHIVE_CONFLICTS,
    &ARCHIVE_OPEN_GROUPS,
    &ARCHIVE_MEMORY,
    &PLUGIN,
    &PLUGIN_ARTIFACT,
    &PLUGIN_ARTIFACT_STALE,
    &PLUGIN_CALLS,
    &PLUGIN_EVENTS,
    &PLUGIN_CPU,
    &PLUGIN_WALL,
    &PLUGIN_ERRORS,
    &PLUGIN_RETRIES,
    &PLUGIN_SUSPECTS,
    &PLUGIN_STATE,
    &PLUGIN_QUARANTINES,
    &PLUGIN_RECYCLES,
    &PLUGIN_MEMORY,
    &PLUGIN_MEMORY_PEAK,
    &PLUGIN_MEMORY_LIMIT,
    &SHADOW,
    &SHADOW_STATE,
    &SHADOW_BATCHES,
    &SHADOW_EVENTS,
    &SHADOW_CPU,
    &SHADOW_ERRORS,
    &SHADOW_MEMORY,
    &PROCESS_CPU,
    &PROCESS_RESIDENT,
    &PROCESS_RESIDENT_PEAK,
    &PROCESS_VIRTUAL,
    &PROCESS_THREADS,
    &PROCESS_FDS,
    &PROCESS_MAX_FDS,
    &PROCESS_START,
];

/// All of them, those of samples too.
#[cfg(test)]
pub fn all() -> impl Iterator<Item = &'static Family> {
    ALL.iter().copied().chain(samples::ALL)
}
