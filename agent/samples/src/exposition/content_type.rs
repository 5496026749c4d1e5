//! Which format a header `Content-Type` says (RFC 9110, section 8.3; Prometheus, model/textparse: `New`).

use super::Format;

impl Format {
    /// The format that a header says. Its parameters only have to be well-formed: Prometheus looks at none of them.
    /// `fallback` (`fallback_scrape_protocol` of the configuration) is for a header that is missing (empty), malformed or
    /// of something else; without one the scrape fails.
    pub fn of_content_type(header: &str, fallback: Option<Format>) -> Option<Format> {
        let (media_type, parameters) = header.split_at(header.find(';').unwrap_or(header.len()));
        let format = match media_type.trim().to_ascii_lowercase().as_str() {
            "application/openmetrics-text" => Format::OpenMetrics,
            "application/vnd.google.protobuf" => Format::Protobuf,
            "text/plain" => Format::Text,
            _ => return fallback,
        };
        if are_well_formed(parameters) { Some(format) } else { fallback }
    }
}

/// Whether this is `; name=value` any number of times, no name twice, perhaps with a semicolon at the end.
fn are_well_formed(mut text: &str) -> bool {
    let mut names: Vec<String> = Vec::new();
    while !text.trim_start().is_empty() {
        if text.trim() == ";" {
            return true;
        }
        let Some((name, rest)) = parameter(text.trim_start()) else { return false };
        let name = name.to_ascii_lowercase();
        if names.contains(&name) {
            return false;
        }
        names.push(name);
        text = rest;
    }
    true
}

/// The name of the parameter that the text begins with, and what follows it.
fn parameter(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = token(text.strip_prefix(';')?.trim_start())?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let rest = match rest.strip_prefix('"') {
        Some(quoted) => behind_quotes(quoted)?,
        None => token(rest)?.1,
    };
    Some((name, rest))
}

fn token(text: &str) -> Option<(&str, &str)> {
    let is_in = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?=".contains(c);
    let end = text.find(|c| !is_in(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at_checked(end)).flatten()
}

fn behind_quotes(text: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\r' | '\n' => return None,
            '"' if !escaped => return text.get(at + 1..),
            c => escaped = c == '\\' && !escaped,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_the_format() {
        let protobuf =
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
        let cases = [
            ("text/plain; version=0.0.4; charset=utf-8", Some(Format::Text)),
            ("text/plain", Some(Format::Text)),
            (" Text/Plain ;", Some(Format::Text)),
            ("text/plain; escaping=\"allow;utf-8\"", Some(Format::Text)),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", Some(Format::OpenMetrics)),
            (protobuf, Some(Format::Protobuf)),
            ("text/html", None),
            ("", None),
            ("text/plain; version", None),
            ("text/plain; a=1; a=2", None),
            ("text/plain; a=\"1", None),
            ("text/plain;;", None),
        ];
        for (header, wanted) in cases {
            assert_eq!(Format::of_content_type(header, None), wanted, "{header}");
            let fallback = Some(Format::OpenMetrics);
            assert_eq!(Format::of_content_type(header, fallback), wanted.or(fallback), "{header}");
        }
    }
}
