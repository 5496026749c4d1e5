//! What was released of the plugin boundary stays: each text in `wit/released/` is held against the one in `wit/`.
//!
//! 1. What a released interface or world has is there, word for word. A record with one more field is another record.
//! 2. An interface that a world exports has no function more, and a world no export: plugins that are there lack it.
//! 3. What the agent offers to plugins may grow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::{
    check::Problem,
    error::{IoContext, Result},
    repository::Repository,
};

const PRESENT: &str = "wit";
const RELEASED: &str = "wit/released";
/// Where a component of each released world lies.
const COMPONENTS: &str = "integration-tests/abi";

/// Everything that was released and is not there as it was.
pub fn problems(repository: &Repository) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let present = texts(&repository.root().join(PRESENT))?;
    for version in folders(&repository.root().join(RELEASED))? {
        for (name, released) in texts(&repository.root().join(RELEASED).join(&version))? {
            let place = format!("{RELEASED}/{version}/{name}");
            let mut tell = |text| problems.push(Problem { place: place.clone(), text });
            match present.get(&name) {
                None => tell(format!("{PRESENT}/{name} is not there")),
                Some(present) => compare(&released, present).into_iter().for_each(&mut tell),
            }
            let component = format!("{COMPONENTS}/{}-{version}.wat", name.trim_end_matches(".wit"));
            if !repository.root().join(&component).is_file() {
                tell(format!("{component} is not there: a plugin of this version that must load for ever"));
            }
        }
    }
    Ok(problems)
}

fn folders(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).while_doing("read", folder)? {
        let entry = entry.while_doing("read", folder)?;
        if entry.path().is_dir() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn texts(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir(folder).while_doing("read", folder)? {
        let path = entry.while_doing("read", folder)?.path();
        if path.extension().is_some_and(|extension| extension == "wit") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            texts.insert(name, fs::read_to_string(&path).while_doing("read", &path)?);
        }
    }
    Ok(texts)
}

/// What a text says: the package, and the items of each interface and world by their names.
#[derive(Debug, Default, PartialEq)]
struct Said {
    package: String,
    version: String,
    /// `interface types` and `world transform`, each with its items, such as `record batch`.
    blocks: BTreeMap<String, BTreeMap<String, String>>,
}

fn compare(released: &str, present: &str) -> Vec<String> {
    let (released, present) = (read(released), read(present));
    if released.package != present.package {
        return vec![format!("the package is {} now, not {}", present.package, released.package)];
    }
    if line_of(&released.version) != line_of(&present.version) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (block, items) in &released.blocks {
        let Some(now) = present.blocks.get(block) else {
            problems.push(format!("{block} is gone"));
            continue;
        };
        for (name, text) in items {
            match now.get(name) {
                None => problems.push(format!("{block}: {name} is gone")),
                Some(other) if other != text => {
                    problems.push(format!("{block}: {name} is another: `{other}`, not `{text}`"))
                }
                Some(_) => {}
            }
        }
        let added = now.keys().filter(|name| !items.contains_key(*name));
        for name in added.filter(|name| must_not_grow(block, name, &released)) {
            problems.push(format!("{block}: {name} is new, and plugins of {} lack it; give it an interface of its own that a new world exports", released.version));
        }
    }
    problems
}

/// Whether plugins would have to have it.
fn must_not_grow(block: &str, item: &str, released: &Said) -> bool {
    if block.starts_with("world ") {
        return item.starts_with("export ");
    }
    let name = block.trim_start_matches("interface ");
    let export = format!("export {name}");
    let is_exported = released.blocks.values().any(|items| items.contains_key(&export));
    is_exported && item.starts_with("func ")
}

/// Versions of one line understand each other: the same major number, below 1 the same minor.
fn line_of(version: &str) -> String {
    let parts: Vec<&str> = version.split('.').collect();
    match parts.as_slice() {
        ["0", minor, ..] => format!("0.{minor}"),
        [major, ..] => (*major).to_owned(),
        [] => String::new(),
    }
}

// === reading WIT ===

fn read(text: &str) -> Said {
    let tokens = tokens(text);
    let mut said = Said::default();
    let mut at = 0;
    while at < tokens.len() {
        let end = statement(&tokens, at);
        let words = tokens.get(at..end).unwrap_or_default();
        match words {
            [first, rest @ ..] if first == "package" => {
                let name: String = rest.iter().filter(|word| *word != ";").map(String::as_str).collect();
                let (package, version) = name.split_once('@').unwrap_or((&name, ""));
                (said.package, said.version) = (package.to_owned(), version.to_owned());
            }
            [kind, name, open, body @ ..] if open == "{" && (kind == "interface" || kind == "world") => {
                said.blocks.insert(format!("{kind} {name}"), items(body));
            }
            _ => {}
        }
        at = end.max(at + 1);
    }
    said
}

/// The items of a block by kind and name, without the brace that ends it.
fn items(body: &[String]) -> BTreeMap<String, String> {
    let body = body.split_last().map_or(body, |(_, rest)| rest);
    let mut items = BTreeMap::new();
    let mut at = 0;
    while at < body.len() {
        let end = statement(body, at);
        let words = body.get(at..end).unwrap_or_default();
        // Names that are brought in are compared where they are used.
        if words.first().is_some_and(|word| word != "use") {
            items.insert(item_name(words), words.join(" "));
        }
        at = end.max(at + 1);
    }
    items
}

fn item_name(words: &[String]) -> String {
    match words {
        [name, colon, ..] if colon == ":" => format!("func {name}"),
        [kind, rest @ ..] if kind == "import" || kind == "export" => {
            let name: Vec<&str> = rest.iter().map(String::as_str).take_while(|word| *word != ";").collect();
            format!("{kind} {}", name.concat())
        }
        [kind, name, ..] => format!("{kind} {name}"),
        _ => words.concat(),
    }
}

/// Behind the semicolon or the closing brace that ends what begins at `at`.
fn statement(tokens: &[String], at: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.as_str() {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                // `use types.{a};` goes on behind its brace.
                let goes_on = tokens.get(index + 1).is_some_and(|next| next == ";");
                if depth == 0 && !goes_on {
                    return index + 1;
                }
            }
            ";" if depth == 0 => return index + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Words and punctuation, without comments and without the commas behind last members.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or_default();
        let mut word = String::new();
        for character in code.chars().chain([' ']) {
            if character.is_alphanumeric() || "-_%".contains(character) {
                word.push(character);
                continue;
            }
            if !word.is_empty() {
                tokens.push(std::mem::take(&mut word));
            }
            if !character.is_whitespace() {
                if character == '}' && tokens.last().is_some_and(|last| last == ",") {
                    tokens.pop();
                }
                tokens.push(character.to_string());
            }
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASED_TEXT: &str = "
        package made:up@0.3.0;
        /// Shared.
        interface types {
            record row { id: u32, name: string }
            enum class { good, bad }
        }
        interface store { use types.{row}; get: func(id: u32) -> option<row>; }
        interface run { use types.{row}; all: func(rows: list<row>) -> u32; }
        world plugin { import store; export run; }
    ";

    fn check(from: &str, to: &str) -> Vec<String> {
        assert!(RELEASED_TEXT.contains(from), "{from}");
        compare(RELEASED_TEXT, &RELEASED_TEXT.replace(from, to))
    }

    #[test]
    fn the_repository_keeps_what_it_released() {
        let problems = problems(&Repository::find().unwrap()).unwrap();
        assert!(problems.is_empty(), "{problems:#?}");
    }

    #[test]
    fn the_present_text_is_read_whole() {
        let repository = Repository::find().unwrap();
        let text = fs::read_to_string(repository.root().join("wit/transform.wit")).unwrap();
        let said = read(&text);
        assert_eq!(said.package, "weir:plugin");
        let names: Vec<&String> = said.blocks.keys().collect();
        assert_eq!(names, ["interface transformer", "interface types", "world transform"]);
        assert!(said.blocks["interface types"].contains_key("record outcome"));
        assert!(said.blocks["interface transformer"].contains_key("func configure"));
        assert!(said.blocks["world transform"].contains_key("export transformer"));
        assert_eq!(compare(&text, &text), Vec::<String>::new());
    }

    #[test]
    fn what_the_agent_offers_may_grow() {
        for (from, to) in [
            ("@0.3.0", "@0.3.1"),
            ("// Shared.", "// Other words."),
            ("name: string }", "name: string, }"),
            ("get: func", "put: func(row: row);\n get: func"),
            ("import store;", "import store; import clock;"),
            ("world plugin", "interface clock { now: func() -> u64; }\n world plugin"),
            ("enum class", "record another { id: u32 }\n enum class"),
            ("use types.{row}; all", "use types.{row, class}; all"),
            ("world plugin", "world later { export run; export store; }\n world plugin"),
        ] {
            assert_eq!(check(from, to), Vec::<String>::new(), "{from} → {to}");
        }
    }

    #[test]
    fn what_is_gone_or_another_is_found() {
        for (from, to, expected) in [
            ("name: string }", "name: string, age: u8 }", "interface types: record row is another"),
            ("good, bad", "good, bad, unknown", "interface types: enum class is another"),
            ("enum class { good, bad }", "", "interface types: enum class is gone"),
            ("option<row>", "list<row>", "interface store: func get is another"),
            ("get: func(id: u32) -> option<row>;", "", "interface store: func get is gone"),
            ("import store;", "", "world plugin: import store is gone"),
            ("all: func", "some: func(); all: func", "interface run: func some is new"),
            ("export run;", "export run; export store;", "world plugin: export store is new"),
            ("world plugin", "world other", "world plugin is gone"),
            ("made:up", "made:down", "the package is made:down now"),
        ] {
            let found = check(from, to);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{from} → {to}: {found:?}");
        }
    }

    #[test]
    fn another_line_of_versions_begins_anew() {
        let broken = RELEASED_TEXT.replace("name: string }", "}").replace("@0.3.0", "@0.4.0");
        assert_eq!(compare(RELEASED_TEXT, &broken), Vec::<String>::new());
    }
}
