//! A few events, as they were read and as they came out.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use serde_json::Value;

use super::recorded;
use crate::{
    error::{IoContext, Result},
    ui::{Stream, Style, paint},
};

/// Text is wrapped at this width, and cut after so many lines.
const WIDTH: usize = 104;
const MAX_WRAPPED: usize = 4;
const INDENT: &str = "      ";

/// An event worth showing: which one, and what there is to see.
struct Wanted {
    title: &'static str,
    is: fn(&Value) -> bool,
}

/// They follow configs/quickstart.yaml: what it redacts, renames and samples.
const WANTED: [Wanted; 3] = [
    Wanted {
        title: "a registry's request: logfmt became members, addresses are redacted",
        is: |document| {
            document["http.request.remoteaddr"].as_str().is_some_and(|it| it.starts_with("x.x.x.x"))
        },
    },
    Wanted {
        title: "a Kubernetes component's line: klog became members, and a sampled event says what it stands for",
        is: |document| {
            namespace(document) == "kube-system"
                && !document["sample_rate"].is_null()
                && container(document) == "kube-apiserver"
        },
    },
    Wanted {
        title: "a warning of etcd: its JSON keeps its bytes, `caller` is now called `source`, and it is never sampled",
        is: |document| container(document) == "etcd" && document["level"] == "warn",
    },
];

/// An event before and after.
#[derive(Debug)]
pub struct Example {
    title: &'static str,
    before: String,
    after: Value,
}

/// Looks for each wanted event in the agent's output.
pub fn find(output: &Path, pods: &Path) -> Result<Vec<Example>> {
    let mut found: Vec<Option<Example>> = WANTED.iter().map(|_| None).collect();
    let documents = BufReader::new(File::open(output).while_doing("open", output)?);
    for line in documents.lines() {
        let line = line.while_doing("read", output)?;
        let Ok(after) = serde_json::from_str::<Value>(&line) else { continue };
        for (wanted, slot) in WANTED.iter().zip(&mut found) {
            if slot.is_none()
                && (wanted.is)(&after)
                && let Some(before) = recorded::line_of(pods, &after)
            {
                *slot = Some(Example { title: wanted.title, before, after: after.clone() });
            }
        }
    }
    Ok(found.into_iter().flatten().collect())
}

impl Example {
    /// The example as lines for a terminal. A member is set off if neither it nor its value stands in the line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("    {}", paint(Stream::Stdout, Style::Bold, self.title))];
        for part in wrap(&self.before) {
            lines.push(format!("{INDENT}{}", paint(Stream::Stdout, Style::Dim, part)));
        }
        let members = self.after.as_object().into_iter().flatten();
        for (name, value) in members {
            let text = value.to_string();
            let is_as_read = self.before.contains(name.as_str()) && self.before.contains(bare(&text));
            let style = if is_as_read { Style::Cyan } else { Style::Green };
            for (index, part) in wrap(&text).into_iter().enumerate() {
                let name = if index == 0 { format!("{name}: ") } else { "  ".to_owned() };
                lines.push(format!("{INDENT}{}{part}", paint(Stream::Stdout, style, name)));
            }
        }
        lines
    }
}

fn namespace(document: &Value) -> &str {
    document["kubernetes"]["namespace"].as_str().unwrap_or_default()
}

fn container(document: &Value) -> &str {
    document["kubernetes"]["container"].as_str().unwrap_or_default()
}

/// A string's text without its quotes.
fn bare(json: &str) -> &str {
    json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(json)
}

fn wrap(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut lines: Vec<String> = characters.chunks(WIDTH).map(|line| line.iter().collect()).collect();
    if lines.len() > MAX_WRAPPED {
        lines.truncate(MAX_WRAPPED);
        if let Some(last) = lines.last_mut() {
            last.push('…');
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Repository;

    #[test]
    fn long_text_is_wrapped_and_cut() {
        assert_eq!(wrap("short"), ["short"]);
        assert_eq!(wrap(&"ä".repeat(WIDTH + 1)).len(), 2);
        let cut = wrap(&"x".repeat(WIDTH * (MAX_WRAPPED + 1)));
        assert_eq!(cut.len(), MAX_WRAPPED);
        assert!(cut[MAX_WRAPPED - 1].ends_with('…'));
    }

    #[test]
    fn examples_show_the_line_and_the_document() {
        let pods = Repository::find().unwrap().root().join("configs/recorded/pods");
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out.ndjson");
        let document = r#"{"level":"warn","source":"embed/config.go:1207","kubernetes":{"namespace":"kube-system",
            "pod":"etcd-node1","uid":"d96fb816-2444-26a1-f24a-3eef2f498873","container":"etcd"},"log":{"offset":0}}"#;
        std::fs::write(&output, document.replace('\n', "")).unwrap();

        let examples = find(&output, &pods).unwrap();

        let [example] = examples.as_slice() else { panic!("{examples:?}") };
        let lines = example.lines();
        assert!(lines[1].contains("stderr F {\"level\":\"warn\""), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("source: \"embed/config.go:1207\"")), "{lines:#?}");
    }
}
