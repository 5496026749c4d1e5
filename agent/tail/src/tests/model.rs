//! Whatever writers, rotation and restarts do, every line comes, and again only under the same id.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use weir_event::identity::EventId;
use weir_pipeline::source::Mode;

use super::rig::{CONTAINER, Event, Rig, cri};
use crate::settings::Format;

#[derive(Clone, Debug)]
enum Action {
    /// A whole line on one of the two outputs.
    Line(usize),
    /// A part of a record that goes on.
    Part(usize),
    /// Many whole lines on both outputs: more than a batch takes.
    Burst(u16),
    /// The first bytes of a line; whatever is written next begins with its rest.
    Start,
    Rotate,
    Pass(u16),
    /// So many batches become safe.
    Release(usize),
    /// So many become safe, then the process is killed.
    Restart(usize),
    /// The pipelines fall behind, or have caught up.
    Ready(bool),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => (0..2usize).prop_map(Action::Line),
        4 => (0..2usize).prop_map(Action::Part),
        2 => Just(Action::Start),
        1 => (1..9_000u16).prop_map(Action::Burst),
        1 => Just(Action::Rotate),
        4 => (1..3_000u16).prop_map(Action::Pass),
        2 => (0..4usize).prop_map(Action::Release),
        1 => (0..4usize).prop_map(Action::Restart),
        1 => any::<bool>().prop_map(Action::Ready),
    ];
    proptest::collection::vec(action, 1..60)
}

/// What writes, and knows what must come.
struct Writer {
    next: usize,
    /// What of a line was not written yet.
    rest: String,
    /// The parts of each output's record so far.
    pending: [String; 2],
    expected: Vec<String>,
    rotations: u32,
    format: Format,
}

const OUTPUTS: [&str; 2] = ["stdout", "stderr"];

impl Writer {
    fn new(format: Format) -> Writer {
        let (rest, pending, expected) = (String::new(), Default::default(), Vec::new());
        Writer { next: 0, rest, pending, expected, rotations: 0, format }
    }

    fn line(&mut self, output: usize, is_part: bool) -> String {
        self.next += 1;
        let text = format!("<{}:{}>", OUTPUTS[output], self.next);
        if self.format != Format::Cri {
            self.expected.push(text.clone());
            return text + "\n";
        }
        self.pending[output] += &text;
        if !is_part {
            self.expected.push(std::mem::take(&mut self.pending[output]));
        }
        cri(self.next as u32, OUTPUTS[output], if is_part { "P" } else { "F" }, &text)
    }

    fn write(&mut self, rig: &Rig, name: &str, text: &str) {
        let rest = std::mem::take(&mut self.rest);
        rig.append(name, rest + text);
    }

    /// Ends everything that was begun.
    fn end(&mut self, rig: &Rig, name: &str) {
        let last: String = (0..2).map(|output| self.line(output, false)).collect();
        self.write(rig, name, &last);
    }
}

fn run(actions: &[Action], mut rig: Rig, name: &str, format: Format) -> Result<(), TestCaseError> {
    let mut writer = Writer::new(format);
    let mut runs: Vec<Vec<Event>> = Vec::new();
    rig.start(Mode::Follow);
    for action in actions {
        match *action {
            Action::Line(output) => {
                let line = writer.line(output, false);
                writer.write(&rig, name, &line);
            }
            Action::Part(output) => {
                let line = writer.line(output, true);
                writer.write(&rig, name, &line);
            }
            Action::Burst(count) => {
                let lines = |n: u16| writer.line(usize::from(n % 2), n % 100 == 99);
                let lines: String = (0..count).map(lines).collect();
                writer.write(&rig, name, &lines);
            }
            Action::Start => {
                let line = writer.line(0, false);
                let (start, rest) = line.split_at(line.len() / 2);
                writer.write(&rig, name, start);
                writer.rest = rest.to_owned();
            }
            // Runtimes rotate between lines.
            Action::Rotate if writer.rest.is_empty() && rig.path(name).is_file() => {
                writer.rotations += 1;
                rig.rename(name, &format!("{name}.20261122-{:06}", writer.rotations));
            }
            Action::Rotate => {}
            Action::Pass(milliseconds) => rig.pass(Duration::from_millis(milliseconds.into())),
            Action::Release(count) => rig.release(count),
            Action::Restart(count) => {
                rig.release(count);
                rig.kill();
                runs.push(rig.take());
                rig.start(Mode::Follow);
            }
            Action::Ready(ready) => rig.set_ready(ready),
        }
    }
    writer.end(&rig, name);
    rig.set_ready(true);
    rig.pass_seconds(30 + 2 * u64::from(writer.rotations));
    runs.push(rig.take());
    check(&writer, &runs)?;
    rig.release_all();
    rig.kill();
    rig.follow();
    prop_assert_eq!(rig.texts(), Vec::<String>::new(), "all is safe, nothing comes again");
    Ok(())
}

fn check(writer: &Writer, runs: &[Vec<Event>]) -> Result<(), TestCaseError> {
    let mut ids: HashMap<EventId, &Event> = HashMap::new();
    for event in runs.iter().flatten() {
        if let Some(known) = ids.insert(event.id, event) {
            prop_assert_eq!(&known.content, &event.content);
            prop_assert_eq!(&known.raw, &event.raw);
            prop_assert_eq!(known.time, event.time);
        }
        prop_assert_eq!(event.flags.0, 0, "{}", event.text());
    }
    let mut texts: Vec<String> = ids.values().map(|event| event.text()).collect();
    texts.sort();
    let mut expected = writer.expected.clone();
    expected.sort();
    prop_assert_eq!(texts, expected);
    for run in runs {
        check_order(writer, run)?;
    }
    Ok(())
}

/// Within a run, what was written to one output of a container, or to one file, comes in the order of writing.
fn check_order(writer: &Writer, run: &[Event]) -> Result<(), TestCaseError> {
    let order: HashMap<&str, usize> =
        writer.expected.iter().enumerate().map(|(n, text)| (&**text, n)).collect();
    let mut last: HashMap<(&str, &str), usize> = HashMap::new();
    for event in run {
        let place = order.get(&*event.text()).copied().unwrap_or(usize::MAX);
        let before = last.insert((&event.attributes.path, &event.attributes.stream), place);
        prop_assert!(before.is_none_or(|before| before < place), "{} came too late", event.text());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_container_line_comes_once_by_id(actions in actions()) {
        run(&actions, Rig::kubernetes(), &format!("{CONTAINER}/0.log"), Format::Cri)?;
    }

    #[test]
    fn every_line_of_a_file_comes_once_by_id(actions in actions()) {
        run(&actions, Rig::files(&["app.log*"], Format::Text), "app.log", Format::Text)?;
    }
}
