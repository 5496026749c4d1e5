//! Asks Prometheus' own relabelling whether this one does the same: random rules over random label sets, and every character
//! in lower and upper case, and in every class of Unicode that has a name.
//!
//! ```text
//! go build -C integration-tests/oracles/relabel -o ORACLE .
//! cargo run --release -p weir-samples --example relabel_oracle -- ORACLE [RULE_SETS] [SEED]
//! cargo run --release -p weir-samples --example relabel_oracle -- speed
//! ```
//!
//! The second form measures what a series costs that the stages know, and one that they do not.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use weir_samples::cardinality::{Guard, Settings};
use weir_samples::labels::{LabelSet, LabelsBuilder};
use weir_samples::relabel::{Limits, Lists, Problem, Relabel, Rule, RuleError, Rules};
use weir_samples::stage::SampleStage;

type Pairs = Vec<(String, String)>;

/// Label sets that each list of rules is applied to.
const SETS: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("speed") => speed(),
        Some(oracle) => {
            let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
            let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let seed = number(2).unwrap_or_else(|| clock.map_or(1, |time| time.as_nanos() as u64));
            compare(oracle, number(1).unwrap_or(30_000), seed);
        }
        None => println!("usage: relabel_oracle ORACLE [RULE_SETS] [SEED], or relabel_oracle speed"),
    }
}

// === random cases ===

/// SplitMix64.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick(&mut self, from: &[&str]) -> String {
        from[self.below(from.len())].to_owned()
    }

    fn join(&mut self, from: &[&str], most: usize) -> String {
        (0..self.below(most + 1)).map(|_| self.pick(from)).collect()
    }
}

const NAMES: [&str; 12] =
    ["__name__", "a", "b", "ab", "ba", "job", "A", "a_1", "ü", "__meta_x", "__tmp_a", "none"];
const ACTIONS: [&str; 14] = [
    "replace",
    "replace",
    "replace",
    "Keep",
    "DROP",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
];
const VALUES: [&str; 22] = [
    "a", "b", "ab", "A", "-", "1", "12", "_", ";", " ", "\n", "ü", "Σ", "ß", "😀", "x", "\t", ".", "a;b",
    "{", "$1", "ſ",
];
/// What expressions are made of, wrong ones too.
#[rustfmt::skip]
const ATOMS: [&str; 66] = [
    "a", "b", "A", "ab", "1", "_", ";", "-", "ü", "σ", ".", ".*", ".+", "(.*)", "(a)", "(a|b)", "(?:ab|a)",
    "(?P<n>a)", "(?<m>b)?", "(a*)", "(b+?)", "[ab]", "[^a]", "[a-z]", "[[:alpha:]]", "[^[:^digit:]_]", r"\d", r"\D",
    r"\w", r"\W", r"\s", r"\S", r"\b", r"\B", "^", "$", r"\A", r"\z", "(?i)", "(?i:A)", "(?-s:.)", "(?s)", "(?m)",
    "(?U)", "(?U:a*)", r"\.", r"\n", r"\x41", r"\x{3c3}", r"\141", r"\Qa.\E", r"\pL", r"\PN", r"\p{Greek}",
    r"\p{^lu}", r"[\p{Lu}_]", r"[^\P{ASCII}a]", r"\p{Grek}", r"\p{Cs}", r"[\w-]", "[a&&b]", "[]a]", "[a-]", "()",
    "(|a)", "(a|)",
];
const SYNTAX: [&str; 30] = [
    "*",
    "+",
    "?",
    "*?",
    "{2}",
    "{0,1}",
    "{1,}",
    "{,2}",
    "{",
    "}",
    "|",
    "(",
    ")",
    "[",
    "]",
    "\\",
    "(?",
    "(?P<",
    "-",
    "{1001}",
    "**",
    "[b-a]",
    r"\8",
    r"\C",
    "[:alpha:]",
    "^",
    "$",
    "(?-)",
    "(?i-s)",
    "&",
];
const REPEATS: [&str; 10] = ["*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,}?", "{1,2}"];
const TEMPLATES: [&str; 20] = [
    "$1", "${1}", "$2", "$0", "$n", "${n}", "${m}", "$$", "$", "${", "}", "a", "b", "_", "ü", "$1a", "${01}",
    "-", "$9", "__meta_x",
];

fn expression(random: &mut Random) -> String {
    match random.below(8) {
        0 => "(.*)".to_owned(),
        1 => random.join(&ATOMS, 1),
        2 => random.join(&SYNTAX, 2) + &random.join(&ATOMS, 2) + &random.join(&SYNTAX, 2),
        _ => tree(random, 3),
    }
}

/// An expression that is well made, mostly.
fn tree(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.one_in(4) {
        return random.pick(&ATOMS);
    }
    let (one, other) = (tree(random, depth - 1), tree(random, depth - 1));
    match random.below(6) {
        0 => format!("{one}|{other}"),
        1 => format!("({one})"),
        2 => format!("(?:{one}){}", random.pick(&REPEATS)),
        3 => format!("({one}){}{other}", random.pick(&REPEATS)),
        4 => format!("({one}|{other})"),
        _ => format!("{one}{other}"),
    }
}

fn rule(random: &mut Random) -> (Value, Result<Rule, Problem>) {
    let plain = Rule::default();
    let action = if random.one_in(300) { "mangle".to_owned() } else { random.pick(&ACTIONS) };
    let is = |names: &[&str]| names.contains(&&*action.to_lowercase());
    let strange = random.one_in(40);
    let (by_name, equal) = (is(&["labeldrop", "labelkeep"]), is(&["keepequal", "dropequal"]));
    let sources = if by_name && !strange { 0 } else { random.below(4) };
    let mut source_labels: Vec<String> = (0..sources).map(|_| random.pick(&NAMES)).collect();
    if random.one_in(500) {
        source_labels.push(String::new());
    }
    let free = strange || !(by_name || equal);
    let target = match is(&["replace"]) && random.one_in(4) {
        true => random.join(&TEMPLATES, 2),
        false => random.pick(&NAMES),
    };
    let rule = Rule {
        source_labels,
        separator: if free && random.one_in(3) {
            random.join(&[";", "", "-", "ab", "ü"], 2)
        } else {
            plain.separator
        },
        regex: if equal && !strange { plain.regex } else { expression(random) },
        modulus: if is(&["hashmod"]) || strange { random.below(20) as u64 } else { 0 },
        target_label: if strange && random.one_in(2) || by_name && !strange { String::new() } else { target },
        replacement: match strange || is(&["replace", "labelmap"]) && !random.one_in(3) {
            true => random.join(&TEMPLATES, 3),
            false => plain.replacement,
        },
        action: plain.action,
    };
    let question = json!({
        "source_labels": rule.source_labels, "separator": rule.separator, "regex": rule.regex, "modulus": rule.modulus,
        "target_label": rule.target_label, "replacement": rule.replacement, "action": action,
    });
    (question, action.parse().map(|action| Rule { action, ..rule }))
}

fn labels(random: &mut Random) -> Pairs {
    let mut labels = BTreeMap::new();
    for _ in 0..random.below(7) {
        labels.insert(random.pick(&NAMES[..11]), random.join(&VALUES, 3));
    }
    labels.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// Rules, compiled or refused, and label sets; and the same as the oracle reads it.
struct Case {
    question: Value,
    rules: Result<Rules, RuleError>,
    sets: Vec<Pairs>,
    /// The class of Unicode that the names of all characters are looked up in.
    class: Option<String>,
}

fn case(random: &mut Random) -> Case {
    let (questions, rules): (Vec<Value>, Vec<_>) = (0..=random.below(3)).map(|_| rule(random)).unzip();
    let sets: Vec<Pairs> = (0..SETS).map(|_| labels(random)).collect();
    // A rule without an action cannot be built, so the first thing wrong is looked for rule by rule.
    let mut good = Vec::new();
    let mut wrong = None;
    for (index, rule) in rules.into_iter().enumerate() {
        match rule {
            Ok(rule) => good.push(rule),
            Err(problem) => {
                wrong = Some(RuleError { index, problem });
                break;
            }
        }
    }
    let rules = Rules::new(&good).and_then(|rules| wrong.map_or(Ok(rules), Err));
    Case { question: json!({ "rules": questions, "sets": sets }), rules, sets, class: None }
}

/// All characters, a thousand a value, in lower and upper case.
fn letters() -> Vec<Case> {
    let all: Vec<char> = ('\u{0}'..=char::MAX).collect();
    let rule = |action: &str| {
        let member = |target: &str| {
            json!({
                "source_labels": ["a"], "separator": ";", "regex": "(.*)", "replacement": "$1", "action": action, "target_label": target,
            })
        };
        let rule = Rule {
            source_labels: vec!["a".into()],
            target_label: "b".into(),
            action: action.parse().expect("an action"),
            ..Rule::default()
        };
        (member("b"), rule)
    };
    let mut cases = Vec::new();
    for action in ["lowercase", "uppercase"] {
        let (question, rule) = rule(action);
        let sets: Vec<Pairs> =
            all.chunks(1000).map(|chunk| vec![("a".to_owned(), chunk.iter().collect())]).collect();
        cases.push(Case {
            question: json!({ "rules": [question], "sets": sets }),
            rules: Rules::new(&[rule]),
            sets,
            class: None,
        });
    }
    cases
}

/// Other spellings of names of classes, and what is none.
const SPELLINGS: &str = "any ascii lc lL ^Lu ^any uppercase-letter UPPERCASELETTER _L- g_r-EEK Grek Latn Zyyy Qaai Garay \
    Todhri Kirat_Rai Alphabetic White_Space Emoji Age=6.0 sc=Greek scx=Greek gc=Lu Script=Greek isGreek InGreek L& Xan \
    Katakana_Or_Hiragana Unknown Zzzz ^ ^^L Gr\u{fc}ek";

/// The names that the oracle knows, `Cn` first, which tells what its Unicode does not have yet, and those above.
fn names(oracle: &str) -> Vec<String> {
    let output = Command::new(oracle).arg("classes").output().expect("the oracle starts");
    let known = String::from_utf8(output.stdout).expect("names");
    assert!(known.lines().count() > 200, "the oracle knows classes");
    let names = ["Cn"].into_iter().chain(known.lines()).chain(SPELLINGS.split_ascii_whitespace());
    names.map(str::to_owned).collect()
}

/// Every character and every class, with and without case.
fn classes(names: Vec<String>) -> impl Iterator<Item = Case> {
    // Unassigned planes are left out, but for their beginning.
    let some = ('\u{1}'..='\u{33fff}').chain('\u{e0000}'..='\u{e01ff}').chain('\u{f0000}'..='\u{f000f}');
    let all: Vec<char> = some.collect();
    let sets: Vec<Pairs> = all.chunks(1000).map(|chunk| vec![(chunk.iter().collect(), "v".into())]).collect();
    let of_name = |name: String| {
        [format!("\\p{{{name}}}"), format!("(?i:\\p{{{name}}})"), format!("(?i:[^\\P{{{name}}}])")]
    };
    names.into_iter().flat_map(of_name).map(move |class| {
        // It leads out of its anchors, so that each character is replaced for itself.
        let rule = Rule {
            action: "labelmap".parse().expect("an action"),
            regex: format!("\0)|{class}|(?:\0"),
            replacement: "\u{1}".into(),
            ..Rule::default()
        };
        let question = json!({
            "separator": ";", "regex": rule.regex, "replacement": rule.replacement, "action": "labelmap",
        });
        let question = json!({ "rules": [question], "sets": sets });
        Case { question, rules: Rules::new(&[rule]), sets: sets.clone(), class: Some(class) }
    })
}

fn apply(rules: &Rules, labels: &Pairs) -> Option<Pairs> {
    let mut builder = LabelsBuilder::new();
    labels.iter().for_each(|(name, value)| builder.push(name, value));
    if !rules.apply(&mut builder) {
        return None;
    }
    let mut bytes = Vec::new();
    builder.finish(&mut bytes).expect("no name is there twice");
    Some(LabelSet::new(&bytes).iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

// === comparing ===

#[derive(Debug, Default)]
struct Counts {
    rule_sets: u64,
    refused_by_both: u64,
    label_sets: u64,
    kept: u64,
    changed: u64,
    explained: BTreeMap<&'static str, u64>,
    different: u64,
    classes: u64,
    /// Characters that the oracle's Unicode does not have.
    unassigned: BTreeSet<char>,
}

fn compare(oracle: &str, rule_sets: u64, seed: u64) {
    println!("seed {seed}");
    let mut child =
        Command::new(oracle).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the oracle starts");
    let mut to = BufWriter::new(child.stdin.take().expect("piped"));
    let from = BufReader::new(child.stdout.take().expect("piped"));
    let names = names(oracle);
    let cases = move || {
        let mut random = Random(seed);
        letters()
            .into_iter()
            .chain(classes(names.clone()))
            .chain((0..rule_sets).map(move |_| case(&mut random)))
    };
    let writing = cases.clone();
    let writer = std::thread::spawn(move || {
        for case in writing() {
            writeln!(to, "{}", case.question).expect("the oracle reads");
        }
    });
    let mut counts = Counts::default();
    for (case, line) in cases().zip(from.lines()) {
        let answer: Value = serde_json::from_str(&line.expect("the oracle answers")).expect("JSON");
        judge(&case, &answer, &mut counts);
    }
    writer.join().expect("the writer ends");
    child.wait().expect("the oracle ends");
    println!(
        "{} characters are new since the oracle's Unicode",
        std::mem::take(&mut counts.unassigned).len()
    );
    println!("{counts:#?}");
    assert!(
        counts.rule_sets == rule_sets + 2 + counts.classes && counts.different == 0,
        "differences, or answers missing"
    );
}

fn judge(case: &Case, answer: &Value, counts: &mut Counts) {
    counts.rule_sets += 1;
    counts.classes += u64::from(case.class.is_some());
    let refusal = answer.get("error").and_then(Value::as_str);
    let rules = match (&case.rules, refusal) {
        (Ok(rules), None) => rules,
        (Err(error), Some(theirs)) if theirs.starts_with(&format!("rule {}:", error.index)) => {
            counts.refused_by_both += 1;
            return;
        }
        (ours, theirs) => {
            let ours = ours.as_ref().err().map(ToString::to_string);
            return differ(case, counts, &format!("ours: {ours:?}, theirs: {theirs:?}"));
        }
    };
    for (set, theirs) in case.sets.iter().zip(answer["sets"].as_array().expect("sets")) {
        counts.label_sets += 1;
        let ours = apply(rules, set);
        counts.kept += u64::from(ours.is_some());
        counts.changed += u64::from(ours.as_ref().is_some_and(|ours| ours != set));
        let theirs: Option<Pairs> = serde_json::from_value(theirs.clone()).expect("labels");
        if let Some(class) = &case.class {
            compare_class(class, set, ours.as_deref(), theirs.as_deref(), counts);
            continue;
        }
        if ours != theirs {
            if is_new_letters(ours.as_ref(), theirs.as_ref(), set) {
                *counts.explained.entry("letters newer than the oracle's Unicode").or_default() += 1;
                continue;
            }
            differ(case, counts, &format!("over {set:?}\n  ours:   {ours:?}\n  theirs: {theirs:?}"));
        }
    }
}

/// A vowel sign that went from one category of marks to another, letters that have got capitals, and a mark that with `(?i)`
/// is a letter by its other cases, which Go passes over.
const MOVED: [char; 4] = ['\u{1171e}', '\u{19b}', '\u{264}', '\u{345}'];

/// A set of one label, whose name has the characters, and of a second, where those of the class are replaced.
fn compare_class(
    class: &str,
    set: &Pairs,
    ours: Option<&[(String, String)]>,
    theirs: Option<&[(String, String)]>,
    counts: &mut Counts,
) {
    let name = &set[0].0;
    let replaced = |labels: Option<&[(String, String)]>| -> Vec<char> {
        let found = labels.into_iter().flatten().find(|(other, _)| other != name);
        found.map_or(name, |(other, _)| other).chars().collect()
    };
    let all = name.chars().zip(replaced(ours)).zip(replaced(theirs));
    for ((before, ours), theirs) in all {
        if class == r"\p{Cn}" && theirs != before {
            counts.unassigned.insert(before);
        }
        if ours == theirs {
            continue;
        }
        if counts.unassigned.contains(&before) {
            *counts.explained.entry("characters of a class newer than the oracle's Unicode").or_default() +=
                1;
        } else if MOVED.contains(&before) {
            *counts.explained.entry("characters that Unicode or Go has elsewhere").or_default() += 1;
        } else {
            counts.different += 1;
            println!("{class}: {before:?} is {}", if ours == before { "theirs alone" } else { "ours alone" });
        }
    }
}

fn differ(case: &Case, counts: &mut Counts, what: &str) {
    const BEHIND_FLAGS: &str = "follows flags or an empty";
    const NO_CLASS: &str = "invalid character class range";
    let is_of_words = |class: &str| class.contains('_') || class.contains("SignWriting");
    if what.contains("ours: None")
        && what.contains(NO_CLASS)
        && case.class.as_deref().is_some_and(is_of_words)
    {
        *counts.explained.entry("a script of more than one word").or_default() += 1;
        return;
    }
    if what.contains(BEHIND_FLAGS) {
        *counts.explained.entry("a repetition behind flags or an empty \\Q\\E").or_default() += 1;
        return;
    }
    counts.different += 1;
    if counts.different <= 20 {
        println!("{}\n  {what}", case.question["rules"]);
    }
}

/// Whether two results of a change of case differ only in letters that the oracle leaves alone.
fn is_new_letters(ours: Option<&Pairs>, theirs: Option<&Pairs>, set: &Pairs) -> bool {
    let value = |pairs: Option<&Pairs>| {
        pairs.and_then(|pairs| pairs.last().map(|(_, value)| value.chars().collect::<Vec<_>>()))
    };
    let (Some(ours), Some(theirs), Some(before)) = (value(ours), value(theirs), value(Some(set))) else {
        return false;
    };
    let differing: Vec<_> =
        ours.iter().zip(&theirs).zip(&before).filter(|((one, other), _)| one != other).collect();
    if before.len() >= 100 {
        let letters: Vec<String> =
            differing.iter().map(|(_, before)| format!("{:04x}", u32::from(**before))).collect();
        println!("letters that are new since the oracle's Unicode: {}", letters.join(" "));
    }
    before.len() >= 100
        && ours.len() == theirs.len()
        && differing.iter().all(|((_, other), before)| other == before)
}

// === speed ===

fn speed() {
    let lists = Lists {
        drop_metrics: vec!["go_.*".into()],
        drop_labels: vec!["pod_ip|uid".into()],
        ..Lists::default()
    };
    for series in [1_000usize, 10_000, 100_000] {
        for (what, changed) in [("kept", false), ("changed", true)] {
            let sets: Vec<(Vec<u8>, u64)> = (0..series).map(|n| example(n, changed)).collect();
            let rules = Rules::new(&lists.rules().expect("good lists")).expect("good rules");
            let mut stage = Relabel::new(rules, "rules".into(), "invalid".into(), Limits::default());
            measure(&format!("relabelling, {what}"), &sets, &mut stage);
        }
        let sets: Vec<(Vec<u8>, u64)> = (0..series).map(|n| example(n, false)).collect();
        let guard = Guard::new(Settings::default(), Box::new(|crossing| println!("{crossing}")));
        measure("guard", &sets, &mut guard.stage());
    }
}

fn measure(what: &str, sets: &[(Vec<u8>, u64)], stage: &mut dyn SampleStage) {
    let series = sets.len();
    let mut round = || {
        let start = Instant::now();
        for (labels, hash) in sets {
            black_box(stage.look(LabelSet::new(black_box(labels)), *hash, 1));
        }
        start.elapsed().as_nanos() as f64 / series as f64
    };
    let first = round();
    let known = (0..2_000_000 / series + 5).map(|_| round()).fold(f64::INFINITY, f64::min);
    let bytes = sets.first().map_or(0, |(labels, _)| labels.len());
    println!(
        "{what}: {series} series, {bytes} bytes of labels: {first:.0} ns the first time, {known:.1} ns when known"
    );
}

fn example(n: usize, with_ip: bool) -> (Vec<u8>, u64) {
    let mut builder = LabelsBuilder::new();
    let number = n.to_string();
    for (name, value) in [
        ("__name__", "http_requests_total"),
        ("cluster", "dev-1"),
        ("code", "200"),
        ("instance", "10.0.12.7:9100"),
        ("job", "kubernetes-pods"),
        ("namespace", "checkout"),
        ("pod", "checkout-7d9f8b6c5-x2x9p"),
        ("path", &number),
    ] {
        builder.push(name, value);
    }
    if with_ip {
        builder.push("pod_ip", "10.0.12.7");
    }
    let mut bytes = Vec::new();
    builder.finish(&mut bytes).expect("good labels");
    let hash = LabelSet::new(&bytes).hash();
    (bytes, hash)
}
