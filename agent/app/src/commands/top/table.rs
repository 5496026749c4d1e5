//! Tables in columns: numbers to the right, cut to the width of the screen.

use crate::output::{Painter, Style};

/// A column of a table, by its heading. A number stands to the right.
pub struct Column(pub &'static str, pub Align);

/// Where a cell stands in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A row, and how it is set off; or lines below it.
pub struct Row {
    pub cells: Vec<String>,
    pub style: Option<Style>,
    pub notes: Vec<String>,
}

/// The lines of a table.
pub fn draw(columns: &[Column], rows: &[Row], width: usize, painter: Painter) -> Vec<String> {
    let heading = columns.iter().map(|Column(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    let wide = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(index)).chain(heading.get(index));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns.len()).map(wide).collect();
    let line = |cells: &[String]| {
        let mut line = String::new();
        for ((cell, width), Column(_, align)) in cells.iter().zip(&widths).zip(columns) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}")),
                Align::Right => line.push_str(&format!("{cell:>width$}")),
            }
        }
        cut(line.trim_end(), width)
    };
    let mut lines = vec![painter.paint(Style::Bold, line(&heading))];
    for row in rows {
        let text = line(&row.cells);
        lines.push(row.style.map_or(text.clone(), |style| painter.paint(style, &text)));
        lines
            .extend(row.notes.iter().map(|note| painter.paint(Style::Dim, cut(&format!("  {note}"), width))));
    }
    lines
}

/// A picture: its head, then the tables that have rows, each behind a blank line, cut to the height of the screen. Each
/// line ends with a newline.
pub fn picture(head: Vec<String>, tables: impl IntoIterator<Item = Vec<String>>, height: usize) -> String {
    let mut lines = head;
    for table in tables.into_iter().filter(|table| table.len() > 1) {
        lines.push(String::new());
        lines.extend(table);
    }
    if lines.len() > height {
        let hidden = lines.len() - height.saturating_sub(1);
        lines.truncate(height.saturating_sub(1));
        lines.push(format!("… {hidden} more lines"));
    }
    lines.join("\n") + "\n"
}

/// A line that is no longer than the screen is wide; without control characters, which a fault of a plugin may have.
pub fn cut(line: &str, width: usize) -> String {
    let plain = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    match line.chars().count() > width {
        true => plain.take(width.saturating_sub(1)).chain(['…']).collect(),
        false => plain.collect(),
    }
}
