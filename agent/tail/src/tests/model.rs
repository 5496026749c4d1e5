//! Whatever writers, rotation and restarts do, every line comes, and again only under the same id.
//!
//! What no agent can do is left out, and nothing else (docs/adr/0006-rotation.md): a line may be missing if its bytes
//! were destroyed before they were safe and either nobody had looked at the file, or the agent that held it open was
//! killed or replaced, or they were truncated in place without a copy. What was one event with such a line may come as
//! another one.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
use weir_pipeline::source::Mode;

use super::rig::{CONTAINER, Event, Rig};
use crate::settings::{Format, Joining, Multiline, Preset};

mod cases;
mod check;
mod writer;

use check::lines_of;
use writer::{Destroyed, Line, Writer};

#[derive(Clone, Copy, Debug)]
enum Action {
    /// A whole line on one of the two outputs.
    Line(usize),
    /// A part of a record that goes on.
    Part(usize),
    /// Many whole lines on both outputs: more than a batch takes.
    Burst(u16),
    /// The first bytes of a line; whatever is written next begins with its rest.
    Start,
    /// The first line of a stack trace.
    Exception(usize),
    /// Another one, or what looks like it.
    Frame(usize),
    /// The lines of a stack trace, with a pause between them or not.
    Trace(usize, u16),
    Rotate,
    /// The writer had the file open when it was renamed.
    Late(usize),
    /// One of the rotated files becomes a compressed one, counted from the newest.
    Compress(usize),
    /// One of the rotated files is deleted, counted from the oldest.
    Delete(usize),
    /// The file is deleted and written anew at once, often with the same inode.
    Recreate,
    /// The file is truncated in place.
    Truncate,
    /// The file is copied, and so much later truncated in place.
    CopyTruncate(u16),
    /// All is read, and safe.
    Settle,
    Pass(u16),
    /// So many batches become safe.
    Release(usize),
    /// A batch becomes safe before those that were sent earlier.
    ReleaseAt(usize),
    /// So many become safe, then the process is killed: just after the checkpoints were written, or not.
    Restart(usize, bool),
    /// The source is replaced by another of its name, with batches under way.
    Reload,
    /// The pipelines fall behind, or have caught up.
    Ready(bool),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => (0..2usize).prop_map(Action::Line),
        4 => (0..2usize).prop_map(Action::Part),
        2 => Just(Action::Start),
        1 => (1..9_000u16).prop_map(Action::Burst),
        2 => (0..2usize).prop_map(Action::Exception),
        3 => (0..2usize).prop_map(Action::Frame),
        1 => (0..2usize, 0..1_500u16).prop_map(|(output, pause)| Action::Trace(output, pause)),
        4 => Just(Action::Rotate),
        1 => (0..2usize).prop_map(Action::Late),
        3 => (0..3usize).prop_map(Action::Compress),
        1 => (0..2usize).prop_map(Action::Delete),
        1 => Just(Action::Recreate),
        1 => Just(Action::Truncate),
        1 => (0..3_000u16).prop_map(|pause| Action::CopyTruncate(pause.saturating_sub(1_500))),
        1 => Just(Action::Settle),
        4 => (1..3_000u16).prop_map(Action::Pass),
        1 => (3_000..15_000u16).prop_map(Action::Pass),
        2 => (0..4usize).prop_map(Action::Release),
        1 => (0..4usize).prop_map(Action::ReleaseAt),
        2 => (0..4usize, any::<bool>()).prop_map(|(count, saved)| Action::Restart(count, saved)),
        1 => Just(Action::Reload),
        1 => any::<bool>().prop_map(Action::Ready),
    ];
    proptest::collection::vec(action, 1..60)
}

const OUTPUTS: [&str; 2] = ["stdout", "stderr"];

/// One run of the model.
struct Model {
    rig: Rig,
    writer: Writer,
    /// What came out, by run.
    runs: Vec<Vec<Event>>,
    /// Lines whose bytes are no longer there.
    destroyed: HashSet<Line>,
    /// Those of them that the agent can still read as long as it is not killed.
    held: HashSet<Line>,
    /// Lines that nobody could read.
    unreadable: HashSet<Line>,
}

impl Model {
    fn new(rig: Rig, writer: Writer) -> Model {
        Model {
            rig,
            writer,
            runs: Vec::new(),
            destroyed: HashSet::new(),
            held: HashSet::new(),
            unreadable: HashSet::new(),
        }
    }

    fn act(&mut self, action: Action) {
        let Model { rig, writer, .. } = self;
        match action {
            Action::Line(output) => writer.put(rig, output, false, ""),
            Action::Part(output) => writer.put(rig, output, true, ""),
            Action::Burst(count) => writer.burst(rig, count),
            Action::Start => writer.start(rig),
            Action::Exception(output) => writer.put(rig, output, false, "java.lang.Exception: "),
            Action::Frame(output) => writer.put(rig, output, false, "\tat A.b"),
            Action::Trace(output, pause) => {
                for begin in ["java.lang.Exception: ", "\tat A.b", "\tat A.c"] {
                    writer.put(rig, output, false, begin);
                    rig.pass(Duration::from_millis(pause.into()));
                }
            }
            Action::Rotate => writer.rotate(rig),
            Action::Late(output) => writer.put_late(rig, output),
            Action::Compress(place) => writer.compress(rig, place),
            Action::Delete(place) => {
                let destroyed = writer.delete(rig, place);
                self.note_destroyed(destroyed);
            }
            Action::Recreate => {
                let destroyed = writer.recreate(rig);
                self.note_destroyed(destroyed);
            }
            Action::Truncate => {
                let destroyed = writer.truncate(rig);
                self.note_destroyed(destroyed);
            }
            Action::CopyTruncate(pause) => writer.copy_and_truncate(rig, pause),
            Action::Settle => settle(rig),
            Action::Pass(milliseconds) => rig.pass(Duration::from_millis(milliseconds.into())),
            Action::Release(count) => rig.release(count),
            Action::ReleaseAt(place) => {
                rig.release_at(place);
            }
            Action::Restart(count, saved) => {
                rig.release(count);
                self.end_run();
                match saved {
                    true => self.rig.kill(),
                    false => self.rig.kill_unsaved(),
                }
                self.rig.start(Mode::Follow);
            }
            Action::Reload => {
                self.end_run();
                self.rig.reload();
            }
            Action::Ready(ready) => rig.set_ready(ready),
        }
    }
    /// What was not delivered is read again, where it still is.
    fn end_run(&mut self) {
        self.runs.push(self.rig.take());
        let delivered: HashSet<Line> = self.rig.delivered().iter().flat_map(lines_of).collect();
        self.unreadable.extend(self.held.drain().filter(|line| !delivered.contains(line)));
    }

    fn note_destroyed(&mut self, Destroyed { lines, is_held }: Destroyed) {
        if is_held {
            self.held.extend(&lines);
        } else {
            let sent: HashSet<Line> = self.rig.sent().iter().flat_map(lines_of).collect();
            let (sent, unsent): (Vec<Line>, Vec<Line>) = lines.iter().partition(|line| sent.contains(line));
            self.unreadable.extend(unsent);
            // Sent, and gone should the agent be killed before it is delivered.
            self.held.extend(sent);
        }
        self.destroyed.extend(lines);
    }
}

/// Lets everything be read, and makes it safe.
fn settle(rig: &mut Rig) {
    rig.set_ready(true);
    rig.pass_seconds(12);
    rig.release_all();
}

fn run(actions: &[Action], rig: Rig, writer: Writer) -> Result<(), TestCaseError> {
    let mut model = Model::new(rig, writer);
    model.rig.start(Mode::Follow);
    for action in actions {
        model.act(*action);
    }
    let Model { rig, writer, .. } = &mut model;
    writer.end(rig);
    rig.set_ready(true);
    rig.pass_seconds(40 + 2 * writer.rotations);
    rig.release_all();
    model.runs.push(model.rig.take());
    check::check(&model)?;
    let rig = &mut model.rig;
    rig.kill();
    rig.follow();
    rig.pass_seconds(10);
    prop_assert_eq!(rig.texts(), Vec::<String>::new(), "all is safe, nothing comes again");
    Ok(())
}

fn joining() -> Multiline {
    Multiline {
        joining: Joining::Presets(vec![Preset::Java, Preset::Python, Preset::Go, Preset::Dotnet]),
        timeout: Duration::from_secs(1),
        max_lines: 500,
        max_bytes: 1024 * 1024,
    }
}

/// What a run is of.
#[derive(Clone, Copy)]
enum Kind {
    Container,
    File,
}

fn run_kind(kind: Kind, joined: bool, actions: &[Action]) -> Result<(), TestCaseError> {
    let (rig, name, format) = match kind {
        Kind::Container => (Rig::kubernetes(), format!("{CONTAINER}/0.log"), Format::Cri),
        Kind::File => (Rig::files(&["app.log*"], Format::Text), "app.log".to_owned(), Format::Text),
    };
    let rig = if joined { rig.multiline(joining()) } else { rig };
    run(actions, rig, Writer::new(&name, format))
}

/// Runs so many random cases; `PROPTEST_CASES` asks for more, `WEIR_MODEL_SEED` for the same again.
fn check_random(kind: Kind, joined: bool) {
    let asked = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    let cases = asked("PROPTEST_CASES").and_then(|cases| u32::try_from(cases).ok()).unwrap_or(CASES);
    let seed = asked("WEIR_MODEL_SEED").unwrap_or_else(random_seed);
    println!("WEIR_MODEL_SEED={seed}, {cases} cases");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let failed = runner.run(&actions(), |actions| run_kind(kind, joined, &actions));
    match failed {
        Err(TestError::Fail(reason, actions)) => {
            panic!("WEIR_MODEL_SEED={seed}: {reason}\nminimal case: {actions:?}")
        }
        other => other.unwrap(),
    }
}

/// Another one each time.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}

const CASES: u32 = 64;

#[test]
fn every_container_line_comes_once_by_id() {
    check_random(Kind::Container, false);
}

#[test]
fn every_container_line_comes_once_by_id_where_lines_are_joined() {
    check_random(Kind::Container, true);
}

#[test]
fn every_line_of_a_file_comes_once_by_id() {
    check_random(Kind::File, false);
}

#[test]
fn every_line_of_a_file_comes_once_by_id_where_lines_are_joined() {
    check_random(Kind::File, true);
}
