//! Edits, compiled: what the stages of a pipeline do to events, laid out for the scanner and the splicer.
//!
//! Every edit that a plan holds for all kept events is a *pass*. Passes that cannot see each other's work are applied
//! together, in one splice, by the encoder; where one could (a rename of what another sets, a keep-only), the event
//! is spliced in between and scanned again. Edits of single rows wait for the encoder in the same way.
//!
//! 1. A stage sees the edits of the stages before it: before it reads, whatever it could see is applied.
//! 2. Order counts: what is applied together gives the same result as one after the other.

use crate::path::{Node, PathError, PathTree, ROOT};
use crate::stream::ENVELOPE_NAMES;
use crate::transform::{Edit, Plan, ReasonClass};

/// Most passes of one pipeline.
const MAX_PASSES: usize = 64;

/// Why the plans of a pipeline's stages cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Not a path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Too many edits.
    #[error("the stages of one pipeline make {0} edits to every event; at most {MAX_PASSES} are possible")]
    TooManyEdits(usize),
}

/// What an edit does, by nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Remove(Node),
    Set(Node, Value),
    /// The nodes that stay.
    KeepOnly(Vec<Node>),
}

/// A value to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// JSON text.
    Json(Box<[u8]>),
    /// The event's own value at a node, which is removed there.
    MovedFrom(Node),
}

/// What happens to the members of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Action {
    #[default]
    Stay,
    Remove,
    /// Written by the set operation with this index, if that has a value.
    Set(u16),
    /// Removed if the set operation with this index takes the value along.
    MovedBy(u16),
    /// Something inside is kept: an object stays, to be looked at inside; anything else is removed, an array too.
    Through,
}

/// Operations that are applied in one splice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    /// By node.
    pub actions: Vec<Action>,
    pub sets: Vec<(Node, Value)>,
    /// Members that match no node are removed.
    pub removes_others: bool,
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
    /// Rows to which fewer passes are applied must be spliced before the stage reads.
    pub reads_need: usize,
    /// The same for rows on which edits of their own wait.
    pub reads_need_row_edits: bool,
    /// The same before the stage's edits of single rows are noted.
    pub writes_need: usize,
    /// Edits of single rows cannot wait for the encoder.
    pub writes_at_once: bool,
    pub reasons: Vec<(String, ReasonClass)>,
}

/// The stages of a pipeline, ready to be applied.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub(crate) tree: PathTree,
    pub(crate) stages: Vec<StageParts>,
    passes: Vec<Operation>,
    /// `programs[from][count - 1]`, as far as passes from `from` on can be applied together.
    programs: Vec<Vec<Program>>,
    pub(crate) nothing: Program,
    /// By node: whether it is one of the envelope's names or below one.
    pub(crate) reserved: Vec<bool>,
}

// === impl Compiled ===

impl Compiled {
    /// Compiles the plans of a pipeline's stages, in their order. No stage at all is fine.
    pub fn new(plans: &[&Plan]) -> Result<Compiled, CompileError> {
        let mut tree = PathTree::default();
        for name in ENVELOPE_NAMES {
            tree.add_recorded(name)?;
        }
        let (mut stages, mut passes) = (Vec::new(), Vec::new());
        for plan in plans {
            let first_pass = passes.len();
            for edit in &plan.edits {
                passes.push(operation(&mut tree, edit)?);
            }
            stages.push(StageParts::new(&mut tree, plan, first_pass)?);
        }
        if passes.len() > MAX_PASSES {
            return Err(CompileError::TooManyEdits(passes.len()));
        }
        let reserved_tops: Vec<Node> = ENVELOPE_NAMES.iter().filter_map(|name| tree.find(name)).collect();
        let reserved = (0..tree.len() as Node)
            .map(|node| node != ROOT && reserved_tops.contains(&tree.top(node)))
            .collect();
        let nothing = Program { actions: vec![Action::Stay; tree.len()], ..Program::default() };
        let mut compiled = Compiled { tree, stages, passes, programs: Vec::new(), nothing, reserved };
        compiled.find_needs(plans);
        compiled.programs = (0..compiled.passes.len()).map(|from| compiled.programs_from(from)).collect();
        Ok(compiled)
    }

    /// How many passes there are.
    pub(crate) fn passes(&self) -> usize {
        self.passes.len()
    }

    /// The most passes from `from` on, but none from `to` on, that can be applied together, and up to where they go.
    pub(crate) fn program(&self, from: usize, to: usize) -> (&Program, usize) {
        let count = to.saturating_sub(from);
        let programs = self.programs.get(from).map(Vec::as_slice).unwrap_or_default();
        let count = count.min(programs.len());
        match count.checked_sub(1).and_then(|last| programs.get(last)) {
            Some(program) => (program, from + count),
            None => (&self.nothing, from),
        }
    }

    fn programs_from(&self, from: usize) -> Vec<Program> {
        let mut programs = Vec::new();
        for to in from + 1..=self.passes.len() {
            let together = &self.passes[from..to];
            let (last, before) = (&together[together.len() - 1], &together[..together.len() - 1]);
            if before.iter().any(|pass| self.sees(pass, last)) {
                break;
            }
            programs.push(Program::new(&self.tree, together));
        }
        programs
    }

    /// Whether one operation could see what another one did.
    fn sees(&self, one: &Operation, other: &Operation) -> bool {
        if matches!((one, other), (Operation::Remove(_), Operation::Remove(_))) {
            return false;
        }
        one.touches(&self.tree, &other.nodes()) || other.touches(&self.tree, &one.nodes())
    }

    fn find_needs(&mut self, plans: &[&Plan]) {
        for stage in 0..self.stages.len() {
            let reads = self.nodes_of(&plans[stage].reads);
            let writes = self.nodes_of(&plans[stage].writes);
            let first = self.stages[stage].first_pass;
            let touching = |nodes: &[Node], passes: std::ops::Range<usize>| {
                let mut passes = passes.rev();
                passes.find(|pass| self.passes[*pass].touches(&self.tree, nodes)).map_or(0, |pass| pass + 1)
            };
            let reads_need = touching(&reads, 0..first);
            let writes_need = touching(&writes, 0..first);
            let writes_at_once = touching(&writes, first..self.passes.len()) > 0;
            let reads_need_row_edits = (0..stage).any(|earlier| {
                let written = self.nodes_of(&plans[earlier].writes);
                overlap(&self.tree, &written, &reads)
            });
            let parts = &mut self.stages[stage];
            parts.reads_need = reads_need;
            parts.writes_need = writes_need;
            parts.writes_at_once = writes_at_once;
            parts.reads_need_row_edits = reads_need_row_edits;
        }
    }

    /// The nodes of paths; `*` is the event itself.
    fn nodes_of(&self, paths: &[String]) -> Vec<Node> {
        let node = |path: &String| if path == "*" { Some(ROOT) } else { self.tree.find(path) };
        paths.iter().filter_map(node).collect()
    }
}

fn overlap(tree: &PathTree, ones: &[Node], others: &[Node]) -> bool {
    ones.iter().any(|one| others.iter().any(|other| tree.covers(*one, *other) || tree.covers(*other, *one)))
}

/// The operation of an edit, with its paths added to the tree. A rename is a set of a moved value.
pub(crate) fn operation(tree: &mut PathTree, edit: &Edit) -> Result<Operation, PathError> {
    Ok(match edit {
        Edit::Remove(path) => Operation::Remove(tree.add_recorded(path)?),
        Edit::Set(path, json) => {
            let node = add_with_parents(tree, path)?;
            Operation::Set(node, Value::Json(json.as_bytes().into()))
        }
        Edit::Rename(from, to) => {
            let from = tree.add_recorded(from)?;
            let to = add_with_parents(tree, to)?;
            Operation::Set(to, Value::MovedFrom(from))
        }
        Edit::KeepOnly(paths) => {
            tree.record_others(ROOT);
            let mut nodes = Vec::new();
            for path in paths {
                let node = add_with_parents(tree, path)?;
                let mut parent = tree.parent(node);
                while parent != ROOT {
                    tree.record_others(parent);
                    parent = tree.parent(parent);
                }
                nodes.push(node);
            }
            Operation::KeepOnly(nodes)
        }
    })
}

/// Records the path and everything on the way to it, so that a member can be added inside an object that is there.
fn add_with_parents(tree: &mut PathTree, path: &str) -> Result<Node, PathError> {
    let node = tree.add_recorded(path)?;
    let mut parent = tree.parent(node);
    while parent != ROOT {
        tree.record(parent);
        parent = tree.parent(parent);
    }
    Ok(node)
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
            reads_need: 0,
            reads_need_row_edits: false,
            writes_need: 0,
            writes_at_once: false,
            reasons: plan.reasons.iter().map(|reason| (reason.name.clone(), reason.class)).collect(),
        })
    }
}

// === impl Operation ===

impl Operation {
    /// The nodes that it reads or writes.
    fn nodes(&self) -> Vec<Node> {
        match self {
            Operation::Remove(node) | Operation::Set(node, Value::Json(_)) => vec![*node],
            Operation::Set(node, Value::MovedFrom(from)) => vec![*node, *from],
            Operation::KeepOnly(_) => vec![ROOT],
        }
    }

    /// Whether it changes anything at, above or below one of the nodes.
    fn touches(&self, tree: &PathTree, nodes: &[Node]) -> bool {
        overlap(tree, &self.nodes(), nodes)
    }
}

// === impl Program ===

impl Program {
    /// The program of operations that do not see each other.
    pub(crate) fn new(tree: &PathTree, operations: &[Operation]) -> Program {
        let mut program = Program { actions: vec![Action::Stay; tree.len()], ..Program::default() };
        for operation in operations {
            match operation {
                Operation::Remove(node) => program.act(tree, *node, Action::Remove, Action::Remove),
                Operation::Set(node, value) => {
                    let index = program.sets.len() as u16;
                    program.sets.push((*node, value.clone()));
                    program.act(tree, *node, Action::Set(index), Action::Remove);
                    if let Value::MovedFrom(from) = value {
                        if let Some(action) = program.actions.get_mut(*from as usize) {
                            *action = Action::MovedBy(index);
                        }
                    }
                }
                Operation::KeepOnly(kept) => program.keep_only(tree, kept),
            }
        }
        program
    }

    /// `node` gets an action, everything below it another one.
    fn act(&mut self, tree: &PathTree, node: Node, here: Action, below: Action) {
        for (other, action) in self.actions.iter_mut().enumerate() {
            let other = other as Node;
            if other == node {
                *action = here;
            } else if tree.covers(node, other) {
                *action = below;
            }
        }
    }

    /// Only these, what is below them, and the way to them stays.
    fn keep_only(&mut self, tree: &PathTree, kept: &[Node]) {
        self.removes_others = true;
        for (node, action) in self.actions.iter_mut().enumerate() {
            let node = node as Node;
            if kept.iter().any(|kept| tree.covers(*kept, node)) {
                continue;
            }
            let leads_on = kept.iter().any(|kept| tree.covers(node, *kept));
            *action = if leads_on { Action::Through } else { Action::Remove };
        }
    }
}
