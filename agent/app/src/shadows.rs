//! Shadows of plugins: candidates that are compared with what runs ([`weir_pipeline::shadow`]), as they are loaded and shown.

use std::sync::Arc;

use weir_config::Artifact;
use weir_host::{Plugin, Standing};
use weir_pipeline::shadow::{self, Shadow, Thread};

/// A plugin's shadow in a configuration, whether it could be loaded or not.
pub struct Candidate {
    /// What the configuration says.
    wanted: weir_config::Shadow,
    /// What its artefact is told from others by; `None` where it could not be had.
    content: Option<u128>,
    live: Arc<Plugin>,
    /// Or why there is none.
    loaded: Result<(Arc<Plugin>, Arc<Shadow>), String>,
}

/// How a candidate fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is compared.
    Running,
    /// It kept failing and is asked no more.
    Off,
    /// It could not be loaded.
    Failed,
}

// === impl Candidate ===

impl Candidate {
    /// A candidate that was loaded, or not.
    pub fn new(
        wanted: &weir_config::Shadow,
        content: Option<u128>,
        live: &Arc<Plugin>,
        loaded: Result<(Arc<Plugin>, Arc<Thread>), String>,
    ) -> Candidate {
        let loaded = loaded.and_then(|(plugin, thread)| {
            let asked = Arc::clone(&plugin);
            let candidate = shadow::Candidate {
                name: live.name().to_owned(),
                transform: Box::new(plugin.instance()),
                has_given_up: Box::new(move || asked.standing() == Standing::Quarantined),
            };
            let shadow = Shadow::new(live.plan(), candidate, wanted.share.millionths(), &thread);
            Ok((plugin, shadow.map_err(|error| error.to_string())?))
        });
        Candidate { wanted: wanted.clone(), content, live: Arc::clone(live), loaded }
    }

    /// Whether it is what is wanted, and could be loaded.
    pub fn is_of(&self, wanted: &weir_config::Shadow, content: Option<u128>) -> bool {
        self.loaded.is_ok() && self.wanted == *wanted && content.is_some() && self.content == content
    }

    /// Whether both failed for the same reason.
    pub fn fails_like(&self, other: &Candidate) -> bool {
        let why = |candidate: &Candidate| candidate.loaded.as_ref().err().cloned();
        why(self).is_some() && why(self) == why(other) && self.wanted == other.wanted
    }

    /// Says in the log what became of it.
    pub fn tell(&self, plugin: &str) {
        let artifact = self.reference();
        match &self.loaded {
            Ok((candidate, _)) => {
                let (name, version) = (&candidate.manifest().name, &candidate.manifest().version);
                tracing::info!(plugin, artifact, name, version, share = %self.wanted.share, "shadow loaded");
            }
            Err(error) => tracing::error!(
                plugin,
                artifact,
                error,
                "the shadow of a plugin cannot be loaded; the plugin itself runs, and nothing is compared with it"
            ),
        }
    }

    /// The name of the plugin whose place it may take.
    pub fn name(&self) -> &str {
        self.live.name()
    }

    /// What it is compared with.
    pub fn live(&self) -> &Arc<Plugin> {
        &self.live
    }

    /// The candidate, if it could be loaded.
    pub fn plugin(&self) -> Option<&Arc<Plugin>> {
        self.loaded.as_ref().ok().map(|(plugin, _)| plugin)
    }

    /// How it compares, if it could be loaded.
    pub fn shadow(&self) -> Option<Arc<Shadow>> {
        self.loaded.as_ref().ok().map(|(_, shadow)| Arc::clone(shadow))
    }

    /// Why it could not be loaded.
    pub fn error(&self) -> Option<&str> {
        self.loaded.as_ref().err().map(String::as_str)
    }

    /// How it fares.
    pub fn state(&self) -> State {
        match &self.loaded {
            Err(_) => State::Failed,
            Ok((_, shadow)) if shadow.is_off() => State::Off,
            Ok(_) => State::Running,
        }
    }

    /// Where it is, as the configuration has it.
    pub fn reference(&self) -> String {
        match &self.wanted.artifact {
            Artifact::File(path) => format!("file:{}", path.display()),
            Artifact::Oci(reference) => reference.to_string(),
        }
    }

    /// Of how many batches it sees a copy.
    pub fn share(&self) -> String {
        self.wanted.share.to_string()
    }

    /// What its file is told from others by.
    pub fn file_content(&self) -> Option<u128> {
        self.content.filter(|_| matches!(self.wanted.artifact, Artifact::File(_)))
    }
}

// === impl State ===

impl State {
    /// All of them.
    pub const ALL: [State; 3] = [State::Running, State::Off, State::Failed];

    /// The label of the metric.
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Off => "off",
            State::Failed => "failed",
        }
    }
}
