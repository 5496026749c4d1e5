//! The ledger as a table: one block for each account, one line for each state and reason.

use weir_buffer::ledger::{Amount, Statement};

use crate::output::{Painter, Style, grouped};

/// One line: what became of the events, why, and how many.
struct Line<'a> {
    state: &'a str,
    reason: &'a str,
    amount: Amount,
}

/// Draws all accounts.
pub fn draw(statements: &[Statement], painter: Painter) -> String {
    let mut text = String::new();
    for statement in statements {
        draw_one(statement, painter, &mut text);
    }
    text
}

fn draw_one(statement: &Statement, painter: Painter, text: &mut String) {
    let name = painter.paint(Style::Bold, format!("{} → {}", statement.pipeline, statement.sink));
    let balanced = match statement.balanced {
        true => painter.paint(Style::Green, "balanced"),
        false => painter.paint(Style::Red, "NOT BALANCED"),
    };
    *text += &format!("{name}  {balanced}\n");
    let lines = lines(statement);
    let reason_width = lines.iter().map(|line| line.reason.chars().count()).max().unwrap_or_default();
    for line in &lines {
        let (events, bytes) = (grouped(line.amount.events), grouped(line.amount.bytes));
        let state = format!("{:<13}", line.state);
        let state = match line.state {
            "lost" | "dead-lettered" => painter.paint(Style::Red, state),
            _ => state,
        };
        *text += &format!("  {state} {:<reason_width$} {events:>15} events {bytes:>19} bytes\n", line.reason);
    }
    text.push('\n');
}

/// What came in, then where it is. States without events are left out, but for the two that are always asked for.
fn lines(statement: &Statement) -> Vec<Line<'_>> {
    let counts = &statement.counts;
    let mut lines = vec![
        Line { state: "read", reason: "", amount: counts.read },
        Line { state: "delivered", reason: "", amount: counts.delivered },
    ];
    if counts.created != Amount::default() {
        lines.insert(1, Line { state: "created", reason: "", amount: counts.created });
    }
    if counts.adopted != Amount::default() {
        let at = lines.len() - 1;
        lines.insert(at, Line { state: "adopted", reason: "", amount: counts.adopted });
    }
    if counts.handed_over != Amount::default() {
        lines.push(Line { state: "handed over", reason: "", amount: counts.handed_over });
    }
    let groups = [
        ("sampled", &counts.sampled),
        ("dropped", &counts.dropped),
        ("dead-lettered", &counts.dead_lettered),
        ("lost", &counts.lost),
        ("buffered", &statement.buffered),
    ];
    for (state, reasons) in groups {
        for (reason, amount) in reasons.iter().filter(|(_, amount)| **amount != Amount::default()) {
            lines.push(Line { state, reason, amount: *amount });
        }
    }
    if statement.in_flight != Amount::default() {
        lines.push(Line { state: "in flight", reason: "", amount: statement.in_flight });
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weir_buffer::ledger::Counts;

    use super::*;

    #[test]
    fn every_state_that_holds_events_has_a_line() {
        let amount = |events| Amount { events, bytes: events * 10 };
        let counts = Counts {
            read: amount(1_000_000),
            delivered: amount(999_994),
            sampled: BTreeMap::from([("log-sampler.debug".to_owned(), amount(3))]),
            lost: BTreeMap::from([("rotation".to_owned(), amount(1)), ("other".to_owned(), amount(0))]),
            ..Counts::default()
        };
        let statement = Statement {
            pipeline: "app-logs".into(),
            sink: "local".into(),
            counts,
            buffered: BTreeMap::from([("memory".to_owned(), amount(2))]),
            in_flight: amount(0),
            balanced: true,
        };
        let expected = "\
app-logs → local  balanced
  read                                  1 000 000 events          10 000 000 bytes
  delivered                               999 994 events           9 999 940 bytes
  sampled       log-sampler.debug               3 events                  30 bytes
  lost          rotation                        1 events                  10 bytes
  buffered      memory                          2 events                  20 bytes

";
        assert_eq!(draw(&[statement], Painter::plain()), expected);
    }
}
