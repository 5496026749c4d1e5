//! Edits, compiled: what the stages of a pipeline do to events, laid out for the scanner and the splicer.
//!
//! What an edit does, on the members of an event in every spelling of its paths (see [`crate::path`]):
//!
//! - **remove**: every member at the path goes, and what lies beyond it.
//! - **set**: every member at the path takes the value, and what lies beyond the path goes. Where there is none, every
//!   object at the nearest path on the way to it gets a new member; where something else than objects is there (a number,
//!   an array), an object that holds the rest of the path takes its place, because the write says that it is one. Where
//!   nothing is there, the event itself gets the member. Copies of one value take at most [`MAX_COPIED_BYTES`]: where
//!   there are more places for it, only the last takes it, and the other members go.
//! - **rename**: the last member's value is set at the other path, and every member at the first path goes. Nothing
//!   happens where there is none, and what lies beyond the first path stays. A path renamed to itself stays as it is.
//! - **keep-only**: what is not at, below or beyond one of the paths goes. On the way to them only objects stay: of an
//!   array nothing can be kept but the whole.
//!
//! A path means a member of the event's own, also where the envelope has one of its name: `set event.kind` writes to the
//! event's own `event`, which the document has as `event.event`.
//!
//! What a plan does to every kept event is done in *passes*. Passes that cannot see each other's work are applied
//! together, in one splice, by the encoder; where one could (a rename of what another sets, a keep-only), the event is
//! spliced in between and scanned again. Edits of single rows wait for the encoder in the same way.
//!
//! 1. A stage sees the edits of the stages before it: before it reads, whatever it could see is applied.
//! 2. Order counts: what is applied together gives the same result as one after the other. Of one stage the edits of
//!    single rows come before the plan's.

mod needs;
mod operation;
mod program;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::path::{Node, PathError, PathTree, ROOT};
use crate::stream::ENVELOPE_NAMES;
use crate::transform::{Edit, Plan, ReasonClass};

pub(crate) use needs::{Needs, Ways};
pub(crate) use operation::{Nodes, Operation, Value, are_apart, one_line};
pub(crate) use program::{Action, Program};

use operation::{add_with_parents, is_json};

/// Most passes of one pipeline.
const MAX_PASSES: usize = 64;
/// Copies of one value in one event take at most so many bytes, names included: a text made of nothing but duplicates
/// must not make a document of any size.
pub const MAX_COPIED_BYTES: usize = 256 * 1024;

/// Why the plans of a pipeline's stages cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Not a path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Too many edits that depend on each other.
    #[error(
        "the stages of one pipeline edit every event in {0} steps, one upon the other; at most {MAX_PASSES} are \
         possible"
    )]
    TooManyEdits(usize),
    /// A value that is none.
    #[error("the value for \"{0}\" is not JSON text")]
    NotJson(String),
}

/// What a stage reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Field(u16),
    Whole,
}

/// One stage's part.
#[derive(Clone, Debug)]
pub(crate) struct StageParts {
    pub reads: Vec<Read>,
    pub attributes: Vec<String>,
    /// By index of `plan.writes`; `None` for `*`.
    pub writes: Vec<Option<Node>>,
    /// The first of the stage's own passes; those before it belong to earlier stages.
    pub first_pass: usize,
    /// By [`Ways`].
    needs: [Needs; 2],
    pub reasons: Vec<(String, ReasonClass)>,
}

/// Operations that may be applied together in any event.
type Pass = Vec<Operation>;

/// The stages of a pipeline, ready to be applied.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub(crate) tree: PathTree,
    pub(crate) stages: Vec<StageParts>,
    passes: Vec<Pass>,
    /// `programs[from][count - 1]`, as far as passes from `from` on can be applied together.
    programs: Vec<Vec<Program>>,
    /// By `from`: how many of them can be in an event whose paths go through arrays.
    through_arrays: Vec<usize>,
    pub(crate) nothing: Program,
    /// By node: whether it is one of the envelope's names or below one.
    pub(crate) reserved: Vec<bool>,
    /// Whether anything is set below the top level.
    pub(crate) sets_below: bool,
    /// Tells it from every other one but its clones.
    pub(crate) id: u64,
}

// === impl Compiled ===

impl Compiled {
    /// Compiles the plans of a pipeline's stages, in their order. No stage at all is fine.
    pub fn new(plans: &[&Plan]) -> Result<Compiled, CompileError> {
        Ok(Compiled::with_times(plans, &[])?.0)
    }

    /// The same, with the paths where sources look for an event's time. Gives their fields, in their order.
    pub fn with_times(plans: &[&Plan], times: &[&str]) -> Result<(Compiled, Vec<u16>), CompileError> {
        let mut tree = PathTree::default();
        for name in ENVELOPE_NAMES {
            tree.add_recorded(name)?;
        }
        let (mut stages, mut passes) = (Vec::new(), Vec::new());
        for plan in plans {
            let first_pass = passes.len();
            add_passes(&mut tree, plan, &mut passes)?;
            stages.push(StageParts::new(&mut tree, plan, first_pass)?);
        }
        if passes.len() > MAX_PASSES {
            return Err(CompileError::TooManyEdits(passes.len()));
        }
        let times = times.iter().map(|path| tree.add_field(path)).collect::<Result<_, _>>()?;
        let nothing = Program::new(&tree, &[]);
        let reserved = reserved(&tree);
        let sets_below = needs::set_below(&tree, &passes, &stages);
        let (programs, through_arrays) = (Vec::new(), Vec::new());
        let id = next_id();
        let mut compiled =
            Compiled { tree, stages, passes, programs, through_arrays, nothing, reserved, sets_below, id };
        compiled.find_needs();
        compiled.build_programs();
        Ok((compiled, times))
    }

    /// How many passes there are.
    pub(crate) fn passes(&self) -> usize {
        self.passes.len()
    }

    /// The most passes from `from` on, but none from `to` on, that can be applied together, and up to where they go.
    pub(crate) fn program(&self, from: usize, to: usize, ways: Ways) -> (&Program, usize) {
        let programs = self.programs.get(from).map(Vec::as_slice).unwrap_or_default();
        let most = match ways {
            Ways::Objects => programs.len(),
            Ways::Arrays => self.through_arrays.get(from).copied().unwrap_or_default(),
        };
        let count = to.saturating_sub(from).min(most);
        match count.checked_sub(1).and_then(|last| programs.get(last)) {
            Some(program) => (program, from + count),
            None => (&self.nothing, from),
        }
    }

    fn build_programs(&mut self) {
        self.through_arrays = self.counts_together(Ways::Arrays);
        for (from, count) in self.counts_together(Ways::Objects).into_iter().enumerate() {
            let first = |count| self.passes.iter().skip(from).take(count).flatten().collect::<Vec<_>>();
            let programs = (1..=count).map(|count| Program::new(&self.tree, &first(count))).collect();
            self.programs.push(programs);
        }
    }

    /// For each pass, how many from it on do not see each other's work.
    fn counts_together(&self, ways: Ways) -> Vec<usize> {
        let sees = |one: &Pass, other: &Pass| {
            one.iter().any(|one| other.iter().any(|other| one.sees(other, &self.tree, ways)))
        };
        // By pass, the last one before it whose work it sees, and one more.
        let seen: Vec<usize> = (self.passes.iter().enumerate())
            .map(|(at, pass)| {
                self.passes.iter().take(at).rposition(|before| sees(before, pass)).map_or(0, |at| at + 1)
            })
            .collect();
        let count = |from: usize| seen.iter().skip(from).take_while(|seen| **seen <= from).count();
        (0..seen.len()).map(count).collect()
    }
}

/// Adds a plan's edits as passes: an edit joins the one before it where they never see each other's work, so that a
/// list of a hundred paths to remove is one pass.
fn add_passes(tree: &mut PathTree, plan: &Plan, passes: &mut Vec<Pass>) -> Result<(), CompileError> {
    let first = passes.len();
    for edit in &plan.edits {
        if let Edit::Set(path, json) = edit
            && !is_json(json)
        {
            return Err(CompileError::NotJson(path.clone()));
        }
        let operation = Operation::new(tree, edit)?;
        let last = passes.get_mut(first..).and_then(<[Pass]>::last_mut);
        match last.filter(|pass| pass.iter().all(|one| !one.sees(&operation, tree, Ways::Arrays))) {
            Some(pass) => pass.push(operation),
            None => passes.push(vec![operation]),
        }
    }
    Ok(())
}

fn reserved(tree: &PathTree) -> Vec<bool> {
    let tops: Vec<Node> = ENVELOPE_NAMES.iter().filter_map(|name| tree.find(name)).collect();
    let is_reserved = |node| node != ROOT && tops.contains(&tree.top(node));
    (0..tree.len() as Node).map(is_reserved).collect()
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

// === impl StageParts ===

impl StageParts {
    fn new(tree: &mut PathTree, plan: &Plan, first_pass: usize) -> Result<StageParts, PathError> {
        let mut reads = Vec::new();
        for path in &plan.reads {
            reads.push(if path == "*" { Read::Whole } else { Read::Field(tree.add_field(path)?) });
        }
        let mut writes = Vec::new();
        for path in &plan.writes {
            writes.push(if path == "*" { None } else { Some(add_with_parents(tree, path)?) });
        }
        Ok(StageParts {
            reads,
            attributes: plan.attributes.clone(),
            writes,
            first_pass,
            needs: Default::default(),
            reasons: plan.reasons.iter().map(|reason| (reason.name.clone(), reason.class)).collect(),
        })
    }

    /// What must be applied to an event before the stage's part.
    #[inline]
    pub fn needs(&self, ways: Ways) -> &Needs {
        let [objects, arrays] = &self.needs;
        match ways {
            Ways::Objects => objects,
            Ways::Arrays => arrays,
        }
    }
}
