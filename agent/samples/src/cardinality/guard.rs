//! The guard as who configures it and who looks at it sees it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use super::stage::Stage;

/// What a guard counts and how much it may have.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The labels by whose values samples are in groups: `["job", "instance"]` for targets, `["namespace"]` for namespaces.
    /// A sample without one of them has the empty value. Without any label all samples are one group.
    pub group_by: Vec<String>,
    /// How long a series counts after it came. Default 1 h.
    pub window: Duration,
    /// Series that a group may have. Default 100,000.
    pub limit: usize,
    /// What becomes of samples of series beyond that. Default [`OnLimit::Report`].
    pub on_limit: OnLimit,
    /// For which reason samples are cut.
    pub reason: Arc<str>,
    /// Groups that are counted apart. Default 10,000.
    pub max_groups: usize,
    /// Series that are known, over all groups. Default 4,000,000, which are at most 64 MB.
    pub max_series: usize,
    /// Names of metrics that are counted apart. Default 10,000.
    pub max_names: usize,
}

/// What becomes of samples of series beyond the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLimit {
    /// They go on, and the group is told of.
    #[default]
    Report,
    /// They end here.
    Cut,
}

/// A group went over its limit, or came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The group's labels.
    pub labels: Vec<(String, String)>,
    /// Series that it has now.
    pub series: u64,
    /// Series that it may have.
    pub limit: u64,
    /// Whether it went over the limit.
    pub is_over: bool,
}

/// What is told of a crossing: it is called once for each, from a worker's thread or from who takes a [`Snapshot`], without any
/// lock. It logs, and does not wait.
pub type Notify = Box<dyn Fn(&Crossing) + Send + Sync>;

/// Counts series by group. A copy is the same guard.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Shared>);

/// What a guard counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The groups with the most series, those with more first.
    pub groups: Vec<GroupView>,
    /// The names with the most series over all groups, those with more first; series beyond a limit are not among them.
    pub names: Vec<NameView>,
    /// Groups that there are.
    pub groups_total: u64,
    /// Those of them that are over their limits.
    pub groups_over: u64,
    /// The groups that found no place, taken together; `None` while there are none.
    pub overflow: Option<GroupView>,
    /// Series of all groups.
    pub series: u64,
    /// Series with names that found no place.
    pub series_of_other_names: u64,
    /// Samples that came since the start.
    pub samples: u64,
    /// Those of them that were cut.
    pub cut: u64,
    /// Bytes that the known series take.
    pub bytes: u64,
}

/// What was counted of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Its labels, in the order of [`Settings::group_by`]; none for the groups that found no place.
    pub labels: Vec<(String, String)>,
    /// Series that it has now.
    pub series: u64,
    /// Whether that is exact, and not partly an estimate.
    pub is_exact: bool,
    /// Samples that came since it is known.
    pub samples: u64,
    /// Those of them that were cut.
    pub cut: u64,
    /// Whether it is over its limit.
    pub is_over: bool,
}

/// What was counted of a metric's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameView {
    /// The name.
    pub name: String,
    /// Series that have it now.
    pub series: u64,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            group_by: vec!["job".to_owned(), "instance".to_owned()],
            window: Duration::from_secs(3600),
            limit: 100_000,
            on_limit: OnLimit::Report,
            reason: "cardinality".into(),
            max_groups: 10_000,
            max_series: 4_000_000,
            max_names: 10_000,
        }
    }
}

// === impl Guard ===

impl Guard {
    /// A guard. `notify` is told when a group goes over its limit and when it comes back.
    pub fn new(settings: Settings, notify: Notify) -> Guard {
        Guard(Arc::new(Shared::new(settings, notify)))
    }

    /// The stage for one worker.
    pub fn stage(&self) -> Stage {
        Stage::new(self.0.clone())
    }

    /// What was counted, at `now` in nanoseconds since the Unix epoch: at most `top` groups and `top` names. Takes the lock of
    /// each group for a moment, and forgets groups whose window has passed: to be called every few seconds at most.
    pub fn snapshot(&self, top: usize, now: i64) -> Snapshot {
        self.0.snapshot(top, now)
    }
}

// === impl Crossing ===

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("samples with {")?;
        for (index, (name, value)) in self.labels.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{name}={value:?}")?;
        }
        let (series, limit) = (self.series, self.limit);
        match self.is_over {
            true => write!(f, "}} have {series} series, which is over the limit of {limit}"),
            false => write!(f, "}} are within the limit of {limit} series again, with {series}"),
        }
    }
}
