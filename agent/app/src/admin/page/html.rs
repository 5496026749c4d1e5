//! Writes HTML: tags are this module's and its callers' own words, every other text is escaped.

use crate::output::grouped;

/// A document under way.
#[derive(Debug)]
pub struct Html {
    text: String,
}

// === impl Html ===

impl Html {
    /// A document that a browser asks for again after `refresh` seconds.
    pub fn new(title: &str, refresh: &str, css: &str) -> Html {
        let mut html = Html { text: String::with_capacity(16 * 1024) };
        html.text += "<!doctype html>\n<html lang=en><head><meta charset=utf-8>";
        html.text += "<meta name=viewport content=\"width=device-width, initial-scale=1\">";
        html.text += &format!("<meta http-equiv=refresh content={refresh}><title>");
        html.escaped(title);
        html.text += &format!("</title><style>{css}</style></head><body>\n");
        html
    }

    /// The whole document.
    pub fn finish(mut self) -> String {
        self.text += "</body></html>\n";
        self.text
    }

    /// Opens an element; `tag` may have attributes.
    pub fn open(&mut self, tag: &str) {
        self.text += &format!("<{tag}>");
    }

    /// Closes an element.
    pub fn close(&mut self, tag: &str) {
        self.text += &format!("</{tag}>\n");
    }

    pub fn heading(&mut self, level: u8, text: &str) {
        self.element(&format!("h{level}"), "", text);
    }

    pub fn text(&mut self, text: &str) {
        self.element("p", "", text);
    }

    pub fn badge(&mut self, class: &str, text: &str) {
        self.element("strong", class, text);
    }

    /// Things that stand for one another's equals, one above the other.
    pub fn boxes(&mut self, kind: &str, names: &[String]) {
        self.open("div class=group");
        for name in names {
            self.open("div class=box");
            self.element("small", "", kind);
            self.escaped(name);
            self.close("div");
        }
        self.close("div");
    }

    pub fn arrow(&mut self) {
        self.text += "<span>→</span>";
    }

    /// Opens a table with these headings. One with `#` in front is of a column of numbers.
    pub fn table(&mut self, headings: &[&str]) {
        self.text += "<table><tr>";
        for heading in headings {
            match heading.strip_prefix('#') {
                Some(heading) => self.element("th", "number", heading),
                None => self.element("th", "", heading),
            }
        }
        self.text += "</tr>\n";
    }

    /// Opens a row.
    pub fn row(&mut self, name: &str) {
        self.text += "<tr>";
        self.cell("", name);
    }

    pub fn cell(&mut self, class: &str, text: &str) {
        self.element("td", class, text);
    }

    pub fn number(&mut self, number: u64, class: &str) {
        self.element("td", &format!("number {class}"), &grouped(number));
    }

    pub fn end_row(&mut self) {
        self.text += "</tr>\n";
    }

    /// Links to other answers of the same address.
    pub fn links(&mut self, paths: &[&str]) {
        self.open("nav");
        for path in paths {
            self.text += &format!("<a href=\"{path}\">{path}</a>");
        }
        self.close("nav");
    }

    fn element(&mut self, tag: &str, class: &str, text: &str) {
        match class.trim() {
            "" => self.text += &format!("<{tag}>"),
            class => self.text += &format!("<{tag} class=\"{class}\">"),
        }
        self.escaped(text);
        self.text += &format!("</{tag}>");
    }

    fn escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                '\'' => self.text.push_str("&#39;"),
                other => self.text.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_wherever_they_stand() {
        let evil = "<script>\"&'";
        let mut html = Html::new(evil, "5", "");
        html.heading(1, evil);
        html.text(evil);
        html.badge("good", evil);
        html.boxes("sink", &[evil.to_owned()]);
        html.table(&[evil]);
        html.row(evil);
        html.cell("bad", evil);
        let text = html.finish();
        assert!(!text.contains("<script>"), "{text}");
        assert_eq!(text.matches("&lt;script&gt;&quot;&amp;&#39;").count(), 8);
    }
}
