//! The engine of both sources: finds files, reads them in turns, sends batches.
//!
//! 1. Nothing of a file leaves before the file stands in the checkpoints on disk: what its ids are made of is then
//!    the same after a crash.
//! 2. A batch says of each file how far it brings it. Everything before that offset is in this batch or one before,
//!    or in a part of a record that is read again from `resume_from`.
//! 3. A file is read in order; the files of a chain are read one after another. Between chains the turn goes round,
//!    a bounded read at a time, so that a busy file cannot starve the others.
//! 4. A file whose place another took is left only once it was at its end for a second; its checkpoint is forgotten
//!    only once it is gone and all that was read of it is safe.
//! 5. What fails for one file is counted, said once and tried again; it ends nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use weir_event::stream::Attributes;
use weir_pipeline::checkpoint::{Checkpoints, FileKey};
use weir_pipeline::source::{Mode, SourceContext, SourceMetrics, Stop, Stopped};

use crate::chain::{Chain, ChainNumber, FileTable};
use crate::discovery::Discovery;
use crate::file::{FileId, FileNumber, leads_to};
use crate::layout::{Incarnation, Layout, Order, Place};
use crate::lines::Lines;
use crate::multiline::Grammar;
use crate::now::{Clock, Now};
use crate::outgoing::Outgoing;
use crate::problems::Problems;
use crate::settings::{Format, ReadFrom};
use crate::watch::Watch;

mod admit;
mod copies;
mod cuts;
mod finish;
mod held;
mod known;
mod read;
mod remembered;

pub(crate) use held::HeldLimits;
use read::Tail;
use remembered::Memory;

/// A tick is no longer than this: so often a source must look whether it is to stop.
const LONGEST_TICK: Duration = Duration::from_millis(200);
const SHORTEST_TICK: Duration = Duration::from_millis(10);
/// A file that has long been quiet is looked at this often.
const LONGEST_QUIET: Duration = Duration::from_secs(1);
/// A file is looked at again after this part of the time for which it has been quiet: for two seconds at every tick
/// of 200 ms, then less and less often.
const QUIET_SHARE: u32 = 10;
/// While the pipelines are behind, the engine asks them again after this long, then twice as long and so on.
const FIRST_WAIT: Duration = Duration::from_micros(500);
const LONGEST_WAIT: Duration = Duration::from_millis(20);
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// At most this many files are open at once, and half of what the process may open.
const MAX_OPEN_FILES: usize = 1_024;

/// What the engine is told beside where the files are.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub format: Format,
    pub read_from: ReadFrom,
    pub linger: Duration,
    pub held: HeldLimits,
    /// How lines are joined, where they are.
    pub grammar: Option<Arc<Grammar>>,
}

/// What is to be done after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Another one, at once.
    Busy,
    /// Another one, after this long.
    Idle(Duration),
    /// Nothing: all is read.
    Done,
}

/// When a chain wants to be looked at again.
enum Next {
    Now,
    Later,
    /// After something went wrong.
    Retry,
}

pub(crate) struct Engine {
    layout: Box<dyn Layout>,
    options: Options,
    name: Arc<str>,
    cluster: Arc<str>,
    node: Arc<str>,
    mode: Mode,
    checkpoints: Arc<Checkpoints>,
    stop: Stop,
    metrics: Arc<SourceMetrics>,
    discovery: Discovery,
    problems: Problems,
    outgoing: Outgoing,
    files: FileTable,
    by_id: HashMap<FileId, FileNumber>,
    chains: BTreeMap<ChainNumber, Chain>,
    by_path: HashMap<PathBuf, ChainNumber>,
    /// Chains that may have data, in turn.
    ready: VecDeque<ChainNumber>,
    /// Files that are not in the checkpoints on disk yet.
    unregistered: Vec<FileNumber>,
    next_register: Duration,
    /// Files that are known, and not followed.
    memory: Memory,
    /// Whether any was at the start.
    has_memory: bool,
    /// New files that may be copies, and since when they wait.
    copies: HashMap<FileId, Duration>,
    /// Checkpoints to forget once the batch with this number is safe.
    stale: Vec<(FileKey, u64)>,
    /// Chains with groups of lines that nothing was added to for long enough.
    silent: BTreeSet<ChainNumber>,
    /// Whether files that are found now were there before the source's first start, and are read from their end.
    skips_old: bool,
    /// Whether all that is found was there before the source started.
    is_first_look: bool,
    /// Complete looks through everything so far.
    rounds: u64,
    last_number: u64,
    open_files: usize,
    max_open_files: usize,
    tick: Duration,
    next_tick: Duration,
    next_sweep: Duration,
    wait: Duration,
}

/// Runs an engine until it is stopped or done.
pub(crate) fn run(layout: Box<dyn Layout>, options: Options, context: SourceContext) {
    let stop = context.stop.clone();
    let clock = Clock::start();
    let mut engine = Engine::new(layout, options, context, Watch::new());
    while !stop.is_stopped() {
        match engine.step(clock.now()) {
            Ok(Step::Busy) => {}
            // Who stops it wakes it.
            Ok(Step::Idle(wait)) => std::thread::park_timeout(wait),
            Ok(Step::Done) | Err(Stopped) => return,
        }
    }
    engine.end();
}

// === impl Engine ===

impl Engine {
    pub(crate) fn new(
        layout: Box<dyn Layout>,
        options: Options,
        context: SourceContext,
        watch: Watch,
    ) -> Engine {
        let SourceContext { name, cluster, node, mode, outlet, arenas, checkpoints, stop, metrics } = context;
        // A source of the same name may have been stopped just now, with batches under way.
        let positions = checkpoints.positions_behind(&name, outlet.under_way());
        let skips_old = options.read_from == ReadFrom::End && positions.is_empty();
        let memory = Memory::new(positions);
        Engine {
            layout,
            tick: options.linger.clamp(SHORTEST_TICK, LONGEST_TICK),
            options,
            name,
            cluster,
            node,
            mode,
            checkpoints,
            stop,
            problems: Problems::new(Arc::clone(&metrics)),
            metrics,
            discovery: Discovery::new(watch),
            outgoing: Outgoing::new(outlet, arenas),
            files: FileTable::new(),
            by_id: HashMap::new(),
            chains: BTreeMap::new(),
            by_path: HashMap::new(),
            ready: VecDeque::new(),
            unregistered: Vec::new(),
            next_register: Duration::ZERO,
            has_memory: !memory.is_empty(),
            memory,
            copies: HashMap::new(),
            stale: Vec::new(),
            silent: BTreeSet::new(),
            skips_old,
            is_first_look: true,
            rounds: 0,
            last_number: 0,
            open_files: 0,
            max_open_files: max_open_files(),
            next_tick: Duration::ZERO,
            next_sweep: Duration::ZERO,
            wait: FIRST_WAIT,
        }
    }

    /// Does what is due: at each tick looks for files and asks those that are due for data, and in any case reads
    /// once from each that has some.
    pub(crate) fn step(&mut self, now: Now) -> Result<Step, Stopped> {
        if now.elapsed >= self.next_tick {
            self.next_tick = now.elapsed + self.tick;
            self.discover(now)?;
            self.queue_due(now);
        }
        for _ in 0..self.ready.len() {
            if self.stop.is_stopped() || !self.outgoing.is_ready() {
                break;
            }
            self.look_at_next(now)?;
        }
        self.end_silent_groups(now)?;
        if !self.outgoing.is_ready() {
            let wait = self.wait;
            self.wait = (wait * 2).min(LONGEST_WAIT);
            return Ok(Step::Idle(wait));
        }
        self.wait = FIRST_WAIT;
        let is_waited_for = self.outgoing.is_due(self.next_tick, self.options.linger);
        if is_waited_for && self.ready.is_empty() || self.outgoing.is_due(now.elapsed, self.options.linger) {
            self.outgoing.send(&mut self.files)?;
        }
        if !self.ready.is_empty() {
            return Ok(Step::Busy);
        }
        if self.mode == Mode::Once && self.chains.is_empty() {
            self.outgoing.send(&mut self.files)?;
            return Ok(Step::Done);
        }
        Ok(Step::Idle(self.next_tick.saturating_sub(now.elapsed)))
    }

    /// Sends what is read already, if that goes through at once; what is not sent is read again.
    pub(crate) fn end(&mut self) {
        if self.outgoing.is_ready() {
            let _ = self.outgoing.send(&mut self.files);
        }
    }

    /// Lets fewer files be open at once.
    #[cfg(test)]
    pub(crate) fn set_max_open_files(&mut self, count: usize) {
        self.max_open_files = count;
    }

    /// How many files are open.
    #[cfg(test)]
    pub(crate) fn open_files(&self) -> usize {
        self.files.values().filter(|file| file.handle.is_some()).count()
    }

    /// Whether a file with this inode is open.
    #[cfg(test)]
    pub(crate) fn has_open(&self, inode: u64) -> bool {
        self.files.values().any(|file| file.id.inode == inode && file.handle.is_some())
    }

    fn discover(&mut self, now: Now) -> Result<(), Stopped> {
        let first = self.rounds == 0 && self.files.is_empty();
        if (self.mode == Mode::Follow || first)
            && let Some(round) = self.discovery.round(&*self.layout, &mut self.problems, now)
        {
            self.take_in(round, now)?;
        }
        self.register(now);
        if now.elapsed >= self.next_sweep {
            self.next_sweep = now.elapsed + SWEEP_INTERVAL;
            self.sweep(now);
        }
        Ok(())
    }

    fn queue_due(&mut self, now: Now) {
        for (number, chain) in &mut self.chains {
            if !chain.queued && chain.next_look <= now.elapsed {
                chain.queued = true;
                self.ready.push_back(*number);
            }
        }
    }

    fn look_at_next(&mut self, now: Now) -> Result<(), Stopped> {
        let Some(number) = self.ready.pop_front() else { return Ok(()) };
        let Some(chain) = self.chains.get_mut(&number) else { return Ok(()) };
        chain.queued = false;
        let next = match chain.members.front().copied() {
            Some(head) => self.look(number, head, now)?,
            None => self.end_chain(number, now)?,
        };
        let Some(chain) = self.chains.get_mut(&number) else { return Ok(()) };
        match next {
            Next::Now => {
                chain.queued = true;
                self.ready.push_back(number);
            }
            Next::Later => {
                let quiet = now.elapsed.saturating_sub(chain.data_at) / QUIET_SHARE;
                chain.next_look = now.elapsed + quiet.clamp(self.tick, LONGEST_QUIET.max(self.tick));
            }
            Next::Retry => chain.next_look = now.elapsed + LONGEST_QUIET,
        }
        Ok(())
    }

    /// One look at the file that a chain is read from.
    fn look(&mut self, chain: ChainNumber, head: FileNumber, now: Now) -> Result<Next, Stopped> {
        match self.read(head, Tail::Wait, now)? {
            read::Outcome::More => Ok(Next::Now),
            read::Outcome::End => self.at_end(chain, head, now),
            read::Outcome::Failed => self.at_failure(chain, head, now),
        }
    }

    /// What making rows for a chain works with.
    fn lines(&mut self, chain: ChainNumber, now: Now) -> Option<Lines<'_>> {
        let chain = self.chains.get_mut(&chain)?;
        Some(Lines {
            files: &mut self.files,
            records: &mut chain.records,
            outgoing: &mut self.outgoing,
            problems: &mut self.problems,
            attributes: &chain.attributes,
            metrics: &self.metrics,
            grammar: self.options.grammar.as_deref(),
            now,
        })
    }

    /// Puts a file in its place among those of its chain.
    fn put_in_chain(&mut self, chain: ChainNumber, number: FileNumber, now: Now) {
        let Some(chain) = self.chains.get_mut(&chain) else { return };
        chain.empty_since = None;
        if !chain.members.contains(&number) {
            chain.members.push_back(number);
        }
        // Who lost its place has a name that tells its order, unless nobody saw that.
        let by_name = self.layout.incarnation() == Incarnation::FirstLine;
        let mut before = Order::Rotated(String::new());
        for member in &chain.members {
            let Some(file) = self.files.get_mut(member) else { continue };
            if file.order == Order::Current && (file.path != chain.path || !leads_to(&file.path, file.id)) {
                file.order = match by_name {
                    true => before.clone(),
                    false => Order::since(file.first_seen),
                };
            }
            before = before.max(file.order.clone());
        }
        chain.sort(&mut self.files, now.elapsed);
    }

    /// The chain that a place belongs to, made where there is none.
    fn chain_of(&mut self, place: &Place, now: Now) -> ChainNumber {
        if let Some(number) = self.by_path.get(&place.chain) {
            return *number;
        }
        let attributes = Attributes {
            source: self.name.as_ref().to_owned(),
            cluster: self.cluster.as_ref().to_owned(),
            node: self.node.as_ref().to_owned(),
            ..self.layout.attributes(&place.chain)
        };
        let mut chain = Chain::new(place.chain.clone(), place.restart, attributes, now.elapsed);
        self.note_restarts(&mut chain, now);
        self.last_number += 1;
        let number = ChainNumber(self.last_number);
        self.by_path.insert(place.chain.clone(), number);
        self.chains.insert(number, chain);
        number
    }

    /// Of a container's chains only that of the last restart is still written to.
    fn note_restarts(&mut self, chain: &mut Chain, now: Now) {
        let folder = chain.path.parent().map(Path::to_owned);
        for other in self.chains.values_mut() {
            if other.restart == chain.restart || other.path.parent() != folder.as_deref() {
                continue;
            }
            let ended = if other.restart < chain.restart { &mut *other } else { &mut *chain };
            ended.ended_at.get_or_insert(now.elapsed);
        }
    }
}

fn max_open_files() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let half = limit.and_then(|limit| usize::try_from(limit / 2).ok()).unwrap_or(MAX_OPEN_FILES);
    half.clamp(16, MAX_OPEN_FILES)
}
