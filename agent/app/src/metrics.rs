//! The agent's own metrics, in the Prometheus text format 0.0.4.
//!
//! Numbers are read where they are counted, at each scrape; nothing is kept here. Labels are names of the configuration
//! and reasons of plugins, never anything out of an event, so their number is bounded; so is that of the indices of
//! which some are held.

mod agent;
mod exposition;
pub mod families;
mod process;

use exposition::Exposition;

use crate::state::AgentState;

/// Everything, as one scrape sees it.
pub fn render(state: &AgentState) -> String {
    let mut out = Exposition::default();
    agent::agent(&mut out, state);
    agent::pipelines(&mut out, state);
    agent::sources(&mut out, state);
    agent::ledger(&mut out, &state.ledger.statements());
    agent::sinks(&mut out, state);
    agent::opensearch(&mut out, state);
    agent::plugins(&mut out, state);
    process::process(&mut out, state.started);
    out.into_text()
}

#[cfg(test)]
mod tests;
