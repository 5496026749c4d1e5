//! Steps that may take minutes, told on standard error.

use std::time::Instant;

use weir_toolchain::Progress;

use crate::output::{self, Painter, Style};

/// Tells each step with its reason, and how it ended.
pub struct Steps;

impl Progress for Steps {
    fn step(
        &self,
        name: &str,
        why: &str,
        work: &mut dyn FnMut() -> Result<String, String>,
    ) -> Result<String, String> {
        let painter = Painter::stderr();
        output::tell(&format!("{}: {why}", painter.paint(Style::Bold, name)));
        let begun = Instant::now();
        let outcome = work();
        let seconds = begun.elapsed().as_secs_f64();
        match &outcome {
            Ok(done) => output::tell(&format!("  {} in {seconds:.1} s", painter.paint(Style::Green, done))),
            Err(_) => {
                output::tell(&format!("  {} after {seconds:.1} s", painter.paint(Style::Red, "failed")))
            }
        }
        outcome
    }

    fn note(&self, text: &str) {
        output::note(text);
    }
}
