//! The sinks that this agent knows: the one list of them.

mod background;
mod blackhole;
mod console;
mod file;

use weir_config::SinkKind;
use weir_pipeline::sink::Sink;

use background::Background;
use blackhole::Blackhole;
use console::Console;
use file::File;
pub use file::PathError;

/// Makes the sink that a configuration describes. Nothing is opened before the first documents come: what is missing
/// now may be there by then, and a sink that fails is tried again. What can never work is an error now.
pub fn build(name: &str, sink: &weir_config::Sink) -> Result<Box<dyn Sink>, PathError> {
    Ok(match &sink.kind {
        SinkKind::File(settings) => Box::new(Background::new(File::new(settings)?)),
        SinkKind::Console => Box::new(Background::new(Console::default())),
        SinkKind::Blackhole => Box::new(Blackhole::new(name)),
    })
}

#[cfg(test)]
mod tests;
