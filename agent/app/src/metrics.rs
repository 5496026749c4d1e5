//! The agent's own metrics, in the Prometheus text format 0.0.4.
//!
//! Numbers are read where they are counted, at each scrape; nothing is kept here. Labels are names of the configuration
//! and reasons of plugins, never anything out of an event, so their number is bounded; so is that of the indices of
//! which some are held.

mod agent;
mod archives;
mod exposition;
pub mod families;
pub mod process;
mod samples;
mod shadows;

use exposition::Exposition;

use crate::state::AgentState;

/// Everything, as one scrape sees it.
pub fn render(state: &AgentState) -> String {
    let mut out = Exposition::default();
    let view = state.view();
    agent::agent(&mut out, state, &view);
    agent::generation(&mut out, &state.reloads.status());
    agent::pipelines(&mut out, state, &view);
    agent::sources(&mut out, &view);
    agent::ledger(&mut out, &state.ledger.statements());
    agent::sinks(&mut out, &view);
    agent::opensearch(&mut out, &view);
    archives::archives(&mut out, &view);
    samples::scrapes(&mut out, &view);
    samples::remote_writes(&mut out, &view);
    samples::guards(&mut out, &view);
    agent::plugins(&mut out, &view);
    shadows::shadows(&mut out, &view);
    process::process(&mut out, state.started);
    out.into_text()
}

#[cfg(test)]
mod tests;
