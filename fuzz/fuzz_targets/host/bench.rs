//! Plays scripts: a puppet says what an input has it say, and all behind it is the host's and the editor's.

mod image;
mod input;
mod script;

use std::sync::Arc;

use weir_event::batch::ArenaPool;
use weir_event::edit::Compiled;
use weir_event::parse::Parser;
use weir_event::sheet::{Encoded, OnFault, Sheet};
use weir_event::transform::{Context, Transform};
use weir_host::{Artifact, Cache, Compiler, Engine, EngineConfig, Isolation, Limits, Plugin, PluginSpec};

use self::image::{Answer, Image};
use self::input::Input;
use self::script::Script;
use super::common::{batch, check_documents, check_handled, check_message};

const PUPPET: &str = include_str!("puppet.wat");
/// What lies above it in the puppet's memory are its arguments.
const MAX_IMAGE_BYTES: usize = 192 << 10;

/// What plays scripts, one after the other.
pub struct Bench {
    engine: Engine,
    cache: Cache,
    artifact: Artifact,
    sheet: Sheet,
    pool: Arc<ArenaPool>,
    /// While somebody has it loaded, its code stays in the cache.
    _puppet: Arc<Plugin>,
}

impl Bench {
    pub fn new() -> Bench {
        let engine = Engine::new(EngineConfig { instances: 4, memory: 1 << 20 }).expect("an engine");
        let cache = Cache::in_memory();
        let artifact = Artifact::Bytes(wat::parse_str(PUPPET).expect("a component").into());
        let nothing = Image::new(&Default::default(), &Answer::default());
        let spec = spec(artifact.clone(), nothing.to_config(), Isolation::Shared);
        let puppet = Plugin::load(&engine, &cache, &Compiler::InProcess, spec).expect("a plugin");
        Bench { engine, cache, artifact, sheet: Sheet::new(), pool: ArenaPool::new(), _puppet: puppet }
    }

    /// Plays what an input says. Says whether the plugin was loaded.
    pub fn play(&mut self, input: &[u8]) -> bool {
        let script = Script::new(&mut Input(input));
        let mut image = Image::new(&script.plan, &script.answer);
        for (place, byte) in &script.slips {
            let place = place % image.0.len();
            image.0[place] = *byte;
        }
        if image.0.len() > MAX_IMAGE_BYTES {
            return false;
        }
        let isolation = if script.is_fresh { Isolation::Fresh } else { Isolation::Shared };
        let spec = spec(self.artifact.clone(), image.to_config(), isolation);
        match Plugin::load(&self.engine, &self.cache, &Compiler::InProcess, spec) {
            Ok(plugin) => {
                self.run(&plugin, &script);
                true
            }
            Err(error) => {
                check_message(&error.to_string());
                false
            }
        }
    }

    fn run(&mut self, plugin: &Arc<Plugin>, script: &Script) {
        let Ok(compiled) = Compiled::new(&[plugin.plan()]) else { return };
        let batch = batch(&script.lines, &self.pool);
        self.sheet.load(&compiled, &Parser::Json, None, &batch);
        let mut context = Context::default();
        Sheet::context(&compiled, 0, &batch, &mut context);
        let Some(call) = self.sheet.call(&compiled, 0, &batch) else { return };
        let handled = plugin.instance().transform(call, &context);
        check_handled(plugin.plan(), call.rows, &handled);
        if let Some(fault) = plugin.last_fault() {
            assert!(fault.detail.len() < 4 << 10 && !fault.detail.contains(char::is_control), "{fault:?}");
        }

        let on_fault = [OnFault::Pass, OnFault::Drop, OnFault::DeadLetter, OnFault::DeadLetter];
        let on_fault = on_fault[script.on_error];
        let applied = self.sheet.apply(&compiled, 0, &batch, &handled, on_fault);
        let dead = check_documents(&mut self.sheet, &compiled, &batch, Encoded::Dead) as u64;
        let kept = check_documents(&mut self.sheet, &compiled, &batch, Encoded::Kept) as u64;
        // What the ledger books.
        let left: u64 = applied.drops.iter().map(|drops| drops.events).sum();
        let dropped = if on_fault == OnFault::Drop { applied.suspects.0 } else { 0 };
        let of_suspects = if on_fault == OnFault::DeadLetter { applied.suspects.0 } else { 0 };
        assert_eq!(dead, of_suspects);
        assert_eq!(
            batch.rows().len() as u64 + applied.created.0,
            kept + dead + left + dropped,
            "{applied:?}"
        );
    }
}

fn spec(artifact: Artifact, config: String, isolation: Isolation) -> PluginSpec {
    let (name, limits, grants) =
        ("puppet".to_owned(), Limits { memory: Some(1 << 20), ..Limits::default() }, Default::default());
    PluginSpec { name, artifact, config, limits, grants, on_error: None, isolation }
}
