//! docs/CONFIGURATION.md: its tables are made from the schema, so that it knows every key and nothing else.

use std::fmt::Write;

use serde_json::Value;

use crate::common::{self, resolve};

const FILE: &str = "../../../docs/CONFIGURATION.md";

/// Replaces what is between `<!-- keys: NAME -->` and `<!-- end -->` by the table of that definition.
#[test]
fn the_reference_is_that_of_the_schema() {
    let schema = weir_config::schema();
    let file = common::folder().join(FILE);
    let kept = std::fs::read_to_string(&file).unwrap();
    let mut made = String::new();
    let mut described = Vec::new();
    let mut rest = kept.as_str();
    while let Some((before, after)) = rest.split_once("<!-- keys: ") {
        let (name, after) = after.split_once(" -->").unwrap();
        let (_, after) = after.split_once("<!-- end -->").unwrap();
        write!(made, "{before}<!-- keys: {name} -->\n{}<!-- end -->", table(&schema, name)).unwrap();
        described.push(name);
        rest = after;
    }
    made += rest;
    described.sort_unstable();
    assert_eq!(described, all_names(&schema));
    common::assert_kept(FILE, &made);
}

/// The example in the reference is a valid configuration.
#[test]
fn the_examples_are_valid() {
    let text = std::fs::read_to_string(common::folder().join(FILE)).unwrap();
    let mut tried = 0;
    for block in text.split("```yaml\n").skip(1) {
        let example = block.split("```").next().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weir.yaml");
        std::fs::write(&file, example).unwrap();
        for secret in ["hash.key", "ca.pem", "password", "access.key", "token"] {
            std::fs::write(folder.path().join(secret), "secret").unwrap();
        }
        let (_, warnings) =
            weir_config::load_on(&file, &common::host()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(warnings, []);
        tried += 1;
    }
    assert_eq!(tried, 4);
}

/// What has a table: the top level, the parsers, the formats, and every definition with keys.
fn all_names(schema: &Value) -> Vec<String> {
    let mut names = vec!["Config".to_string()];
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        match definition["oneOf"].as_array() {
            None if definition.get("properties").is_some() => names.push(name.clone()),
            Some(choices) => names.extend(choices.iter().filter_map(tag).map(|tag| format!("{name} {tag}"))),
            None => {}
        }
    }
    names.extend(["Parser", "NativeStage", "values"].map(str::to_string));
    names.sort_unstable();
    names
}

fn tag(choice: &Value) -> Option<&str> {
    choice.pointer("/properties/type/const")?.as_str()
}

fn table(schema: &Value, name: &str) -> String {
    match name {
        "values" => return values(schema),
        "Parser" => return parsers(schema),
        "NativeStage" => return stages(schema),
        _ => {}
    }
    let object = match name.split_once(' ') {
        _ if name == "Config" => schema,
        None => &schema["$defs"][name],
        Some((definition, wanted)) => {
            let choices = schema["$defs"][definition]["oneOf"].as_array().unwrap();
            choices.iter().find(|choice| tag(choice) == Some(wanted)).unwrap()
        }
    };
    let required = object["required"].as_array().cloned().unwrap_or_default();
    let mut table = format!("{}\n\n| key | value | default | |\n|---|---|---|---|\n", text(object));
    for (key, property) in object["properties"].as_object().unwrap() {
        let value = match property.get("const").and_then(Value::as_str) {
            Some(word) => format!("`{word}`"),
            None => value(schema, property),
        };
        let default = match property.get("default") {
            _ if required.contains(&Value::from(key.as_str())) => "required".to_string(),
            Some(Value::String(word)) => format!("`{word}`"),
            Some(other) => format!("`{other}`"),
            None => String::new(),
        };
        let meaning = text(property).to_string() + &words(schema, property);
        writeln!(table, "| `{key}` | {value} | {default} | {meaning} |").unwrap();
    }
    table
}

/// What kind of value a key takes.
fn value(schema: &Value, property: &Value) -> String {
    if let Some(names) = property.get("patternProperties").and_then(Value::as_object) {
        return format!("map of {}", value(schema, names.values().next().unwrap()));
    }
    let definition = resolve(schema, property);
    let name = property.get("$ref").and_then(Value::as_str).and_then(|at| at.rsplit('/').next());
    // Text that may be written as a number is text.
    let kind = definition["type"].as_str().or_else(|| definition["type"].get(0)?.as_str());
    match (kind, name) {
        (Some("number"), _) => "number".to_string(),
        (Some("array"), _) => format!("list of {}", value(schema, &definition["items"])),
        (Some("boolean"), _) => "true or false".to_string(),
        (Some("integer"), _) if definition["minimum"] == definition["maximum"] => {
            format!("{}", definition["minimum"])
        }
        (Some("integer"), _) => format!("{} to {}", definition["minimum"], definition["maximum"]),
        (Some("string"), _) => {
            let format = definition["format"].as_str().unwrap();
            format!("[{format}](#values)")
        }
        (Some("object"), Some(name)) => format!("[{name}](#{})", name.to_lowercase()),
        (None, Some("Stage")) => "[Name](#values) or [native stage](#stages)".to_string(),
        (None, Some("Parser")) => "[Parser](#parser)".to_string(),
        (None, Some(name))
            if definition["oneOf"].as_array().unwrap().iter().any(|choice| tag(choice).is_some()) =>
        {
            format!("[{name}](#{}s)", name.to_lowercase())
        }
        (None, Some(_)) => {
            let choices = definition["oneOf"].as_array().unwrap().iter();
            choices.map(|choice| form(schema, choice)).collect::<Vec<_>>().join(", ")
        }
        _ => "any value".to_string(),
    }
}

/// A word, or a map with one key.
fn form(schema: &Value, choice: &Value) -> String {
    match choice["const"].as_str() {
        Some(word) => format!("`{word}`"),
        None => {
            let (key, inner) = choice["properties"].as_object().unwrap().iter().next().unwrap();
            format!("`{{{key}: `{}`}}`", value(schema, inner))
        }
    }
}

/// What each word means that a key may have.
fn words(schema: &Value, property: &Value) -> String {
    let mut meanings = String::new();
    if property["$ref"] == "#/$defs/Parser" {
        return meanings;
    }
    for choice in resolve(schema, property)["oneOf"].as_array().into_iter().flatten() {
        let key = || choice["properties"].as_object().and_then(|keys| keys.keys().next());
        if let Some(word) = choice["const"].as_str().or_else(|| key().map(String::as_str)) {
            write!(meanings, "<br>`{word}`: {}", text(choice)).unwrap();
        }
    }
    meanings
}

/// The parsers, which have a table of their own.
fn parsers(schema: &Value) -> String {
    let parser = &schema["$defs"]["Parser"];
    let mut table = format!("{}\n\n| | |\n|---|---|\n", text(parser));
    for choice in parser["oneOf"].as_array().unwrap() {
        let key = || choice["properties"].as_object().unwrap().keys().next().unwrap();
        let shown = choice["const"].as_str().map_or_else(|| format!("{{{}: …}}", key()), str::to_string);
        writeln!(table, "| `{shown}` | {} |", text(choice)).unwrap();
    }
    table
}

/// The native stages, which have a table of their own.
fn stages(schema: &Value) -> String {
    let mut table = "| stage | value | |\n|---|---|---|\n".to_string();
    for choice in schema["$defs"]["NativeStage"]["oneOf"].as_array().unwrap() {
        let (key, property) = choice["properties"].as_object().unwrap().iter().next().unwrap();
        writeln!(table, "| `{key}` | {} | {} |", value(schema, property), text(choice)).unwrap();
    }
    table
}

/// The formats of text.
fn values(schema: &Value) -> String {
    let mut table = "| | |\n|---|---|\n".to_string();
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        if definition["type"] == "string" || definition["type"].is_array() {
            writeln!(table, "| {name} | {} |", text(definition)).unwrap();
        }
    }
    table
}

fn text(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}
