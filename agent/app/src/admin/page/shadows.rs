//! How the shadows of plugins compare, in numbers. The events themselves are for who may read the agent's data folder:
//! `weir plugin shadow`.

use weir_pipeline::shadow::{Counts, Difference, Skipped};

use super::html::Html;
use crate::output::grouped;
use crate::shadows::{Candidate, State};
use crate::state::View;

/// Draws them, where there are any.
pub fn draw(html: &mut Html, view: &View) {
    if view.shadows.is_empty() {
        return;
    }
    html.heading(2, "Shadows");
    html.table(&[
        "plugin",
        "shadow",
        "state",
        "share",
        "#batches compared",
        "#skipped",
        "#events compared",
        "#the same",
        "differently",
    ]);
    for candidate in &view.shadows {
        row(html, candidate);
    }
    html.close("table");
    html.text("weir plugin shadow NAME shows events that were treated differently");
}

fn row(html: &mut Html, candidate: &Candidate) {
    html.row(candidate.name());
    let version = candidate.plugin().map(|plugin| {
        let (manifest, digest) = (plugin.manifest(), plugin.digest());
        let digest: String = digest.chars().take(12).collect();
        format!("{} {} {digest}, ", manifest.name, manifest.version)
    });
    html.cell("", &format!("{}{}", version.unwrap_or_default(), candidate.reference()));
    match candidate.state() {
        State::Running => html.cell("good", "is compared"),
        State::Off => html.cell("bad", "kept failing, is asked no more"),
        State::Failed => {
            html.cell("bad", &format!("not loaded: {}", candidate.error().unwrap_or_default()));
        }
    }
    html.cell("", &candidate.share());
    let shadow = candidate.shadow();
    let counts = shadow.as_deref().map(|shadow| shadow.counts());
    let number = |number: fn(&Counts) -> u64| counts.map_or(0, number);
    html.number(number(Counts::compared), "");
    html.number(number(|counts| Skipped::ALL.into_iter().map(|why| counts.skipped(why)).sum()), "");
    html.number(number(Counts::all_events), "");
    html.number(number(|counts| counts.events(Difference::Same)), "");
    let different = Difference::ALL.into_iter().filter(|kind| *kind != Difference::Same).filter_map(|kind| {
        let events = counts.map_or(0, |counts| counts.events(kind));
        (events > 0).then(|| format!("{} {}", kind.name(), grouped(events)))
    });
    let different: Vec<String> = different.collect();
    match different.as_slice() {
        [] => html.cell("", "none"),
        some => html.cell("warn", &some.join(", ")),
    }
    html.end_row();
}
