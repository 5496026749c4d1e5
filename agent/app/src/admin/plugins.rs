//! The plugins that run, as the admin address tells them: what a tag stands for is pinned here.

use serde::Serialize;
use weir_host::Plugin;

use crate::state::View;

/// All of them.
#[derive(Serialize)]
pub struct PluginsAnswer {
    plugins: Vec<PluginAnswer>,
}

#[derive(Serialize)]
struct PluginAnswer {
    /// In the configuration.
    plugin: String,
    /// Of its manifest.
    name: String,
    version: String,
    /// SHA-256 of the component.
    component: String,
    /// `null` for a file.
    artifact: Option<ArtifactAnswer>,
}

#[derive(Serialize)]
struct ArtifactAnswer {
    reference: String,
    digest: String,
    key: Option<String>,
    from: &'static str,
    stale: Option<String>,
}

/// The plugins of the generation that runs.
pub fn answer(view: &View) -> PluginsAnswer {
    PluginsAnswer { plugins: view.plugins.iter().map(|plugin| one(plugin)).collect() }
}

fn one(plugin: &Plugin) -> PluginAnswer {
    let manifest = plugin.manifest();
    let artifact = plugin.provenance().map(|provenance| ArtifactAnswer {
        reference: provenance.reference.clone(),
        digest: provenance.digest.clone(),
        key: provenance.key.clone(),
        from: provenance.from,
        stale: provenance.stale.clone(),
    });
    PluginAnswer {
        plugin: plugin.name().to_owned(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        component: format!("sha256:{}", plugin.digest()),
        artifact,
    }
}
