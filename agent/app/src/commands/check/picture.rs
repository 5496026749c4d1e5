//! The pipelines as a picture: from top to bottom, sources, stages, sinks.

use super::view::{PipelineView, PluginView, SinkView, SourceView, StageView};
use crate::output::{Painter, Style};

/// Digits of a digest that people compare.
const SHOWN_DIGEST: usize = 12;
/// A longer list is cut and counted.
const SHOWN_ITEMS: usize = 8;

/// The names' column is as wide as the longest name needs.
struct Canvas {
    painter: Painter,
    width: usize,
    text: String,
}

/// Draws all pipelines.
pub fn draw(pipelines: &[PipelineView], painter: Painter) -> String {
    let width = pipelines.iter().flat_map(names).map(|name| name.chars().count()).max().unwrap_or_default();
    let mut canvas = Canvas { painter, width, text: String::new() };
    for pipeline in pipelines {
        canvas.pipeline(pipeline);
    }
    canvas.text
}

fn names(pipeline: &PipelineView) -> impl Iterator<Item = &str> {
    let sources = pipeline.sources.iter().map(|source| source.name.as_str());
    let stages = pipeline.stages.iter().map(StageView::name);
    sources.chain(stages).chain(pipeline.sinks.iter().map(|sink| sink.name.as_str()))
}

// === impl Canvas ===

impl Canvas {
    fn pipeline(&mut self, pipeline: &PipelineView) {
        let name = self.painter.paint(Style::Bold, &pipeline.name);
        let weight =
            if pipeline.weight == 1 { String::new() } else { format!(", weight {}", pipeline.weight) };
        let durability = match pipeline.durability {
            "on_pressure" => String::new(),
            other => format!(", durability {other}"),
        };
        self.text += &format!("pipeline {name}{weight}{durability}\n");
        for source in &pipeline.sources {
            self.line(&source.name, &describe_source(source));
        }
        for stage in &pipeline.stages {
            self.arrow();
            match stage {
                StageView::Plugin(plugin) => self.plugin(plugin),
                StageView::Native { name, r#type, what } => self.line(name, &format!("{type}: {what}")),
            }
        }
        self.arrow();
        for sink in &pipeline.sinks {
            self.line(&sink.name, &describe_sink(sink));
        }
        self.text.push('\n');
    }

    fn plugin(&mut self, stage: &PluginView) {
        let digest: String = stage.digest.chars().take(SHOWN_DIGEST).collect();
        let digest = self.painter.paint(Style::Dim, format!("sha256:{digest}"));
        self.line(&stage.name, &format!("plugin {} {} {digest}", stage.plugin, stage.version));
        self.detail("reads", &stage.reads);
        self.detail("sees", &stage.attributes);
        self.detail("writes", &stage.writes);
        self.detail("edits", &stage.edits);
        let drops: Vec<String> =
            stage.drops.iter().map(|drop| format!("{} ({})", drop.reason, drop.booked)).collect();
        self.detail("drops", &drops);
        let limits = format!(
            "{}, {} MiB a worker, {} ms a call",
            stage.on_error.replace('_', " "),
            stage.memory_bytes >> 20,
            stage.deadline_seconds * 1e3
        );
        self.detail("on error", &[limits]);
    }

    fn line(&mut self, name: &str, text: &str) {
        let padding = " ".repeat(self.width.saturating_sub(name.chars().count()));
        let name = self.painter.paint(Style::Bold, name);
        self.text += &format!("  {name}{padding}  {text}\n");
    }

    fn detail(&mut self, what: &str, items: &[String]) {
        if items.is_empty() {
            return;
        }
        let mut text = items.iter().take(SHOWN_ITEMS).map(String::as_str).collect::<Vec<_>>().join(", ");
        if items.len() > SHOWN_ITEMS {
            text += &format!(" and {} more", items.len() - SHOWN_ITEMS);
        }
        let padding = " ".repeat(self.width);
        let what = self.painter.paint(Style::Dim, format!("{what:<8}"));
        self.text += &format!("  {padding}    {what}  {text}\n");
    }

    fn arrow(&mut self) {
        self.text += "    ↓\n";
    }
}

fn describe_source(source: &SourceView) -> String {
    match source.parse {
        Some(parse) => format!("{} {}, parse {parse}", source.r#type, source.paths.join(" ")),
        None => format!("{} {}", source.r#type, source.paths.join("; ")),
    }
}

fn describe_sink(sink: &SinkView) -> String {
    let mut text = sink.r#type.to_owned();
    if let Some(path) = &sink.path {
        text += &format!(" {path}");
    }
    if sink.best_effort {
        text += ", best effort: may lose events, holds nobody back";
    }
    if let Some(buffer) = &sink.buffer {
        text += &format!(
            ", buffer {}: {} of memory, {} on disk, when full {}",
            buffer.name, buffer.memory, buffer.disk, buffer.when_full
        );
        if buffer.order != "oldest_first" {
            text += &format!(", {}", buffer.order);
        }
        if let Some(store) = &buffer.object_store {
            text += &format!(", then the bucket {store}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::view::{BufferView, DropView};
    use super::*;

    #[test]
    fn a_pipeline_is_drawn_from_its_sources_to_its_sinks() {
        let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let sampler = PluginView {
            name: "sampler".into(),
            plugin: "log-sampler".into(),
            version: "1.2.0".into(),
            digest: "0123456789abcdef".into(),
            reads: texts(&["level", "trace_id"]),
            attributes: texts(&["namespace"]),
            writes: texts(&["sample_rate"]),
            edits: (1..=10).map(|n| format!("remove f{n}")).collect(),
            drops: vec![DropView { reason: "debug".into(), booked: "sampled" }],
            on_error: "dead_letter",
            memory_bytes: 32 << 20,
            deadline_seconds: 0.1,
        };
        let pods = SourceView {
            name: "pods".into(),
            r#type: "kubernetes_logs",
            paths: texts(&["/var/log/pods"]),
            parse: Some("auto"),
        };
        let sink = |name: &str, r#type, path: Option<&str>, best_effort| SinkView {
            name: name.into(),
            r#type,
            path: path.map(Into::into),
            best_effort,
            buffer: path.map(|_| BufferView {
                name: "durable".into(),
                memory: "64MiB".into(),
                disk: "2GiB".into(),
                when_full: "block",
                object_store: Some("weir-buffer at http://minio:9000".into()),
                order: "newest_first",
            }),
        };
        let pipeline = PipelineView {
            name: "app-logs".into(),
            weight: 10,
            durability: "always",
            sources: vec![pods],
            stages: vec![
                StageView::Native { name: "relabel".into(), r#type: "relabel", what: "1 rule".into() },
                StageView::Plugin(Box::new(sampler)),
            ],
            sinks: vec![sink("local", "file", Some("/out"), false), sink("screen", "console", None, true)],
        };
        let expected = "\
pipeline app-logs, weight 10, durability always
  pods     kubernetes_logs /var/log/pods, parse auto
    ↓
  relabel  relabel: 1 rule
    ↓
  sampler  plugin log-sampler 1.2.0 sha256:0123456789ab
             reads     level, trace_id
             sees      namespace
             writes    sample_rate
             edits     remove f1, remove f2, remove f3, remove f4, remove f5, remove f6, remove f7, remove f8 and 2 more
             drops     debug (sampled)
             on error  dead letter, 32 MiB a worker, 100 ms a call
    ↓
  local    file /out, buffer durable: 64MiB of memory, 2GiB on disk, when full block, newest_first, then the bucket weir-buffer at http://minio:9000
  screen   console, best effort: may lose events, holds nobody back

";
        assert_eq!(draw(&[pipeline], Painter::plain()), expected);
    }
}
