//! The way into a plugin: what [`export_transform!`](crate::export_transform) makes of a [`Transform`].

use std::cell::RefCell;

use serde_json::Value;

use crate::batch::Batch;
use crate::bindings;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::transform::{ConfigError, Transform};

/// Exports a [`Transform`] as the plugin of this crate and embeds its manifest, a file named from the folder of
/// the crate's `Cargo.toml`, as the section `weir:manifest`.
///
/// Outside of WebAssembly it exports nothing, so that `cargo test` runs the plugin as it is.
///
/// ```text
/// weir_sdk::export_transform!(MyPlugin, manifest = "manifest.json");
/// ```
#[macro_export]
macro_rules! export_transform {
    ($plugin:ty, manifest = $manifest:literal $(,)?) => {
        $crate::embed_manifest!($manifest);

        // Elsewhere the plugin is only held against the trait.
        #[cfg(not(target_family = "wasm"))]
        const _: fn($crate::Json) -> $crate::export::Built<$plugin> = $crate::export::build::<$plugin>;

        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            ::std::thread_local! {
                static PLUGIN: ::core::cell::RefCell<::core::option::Option<$plugin>> =
                    const { ::core::cell::RefCell::new(::core::option::Option::None) };
            }

            struct Component;

            impl $crate::bindings::Guest for Component {
                fn configure(
                    config: ::std::string::String,
                ) -> ::core::result::Result<$crate::bindings::Plan, ::std::string::String> {
                    PLUGIN.with(|plugin| $crate::export::configure(plugin, &config))
                }

                fn transform(
                    batch: $crate::bindings::Batch,
                    context: $crate::bindings::Context,
                ) -> $crate::bindings::Outcome {
                    PLUGIN.with(|plugin| $crate::export::transform(plugin, &batch, &context))
                }
            }

            $crate::bindings::export! { Component with_types_in $crate::bindings }
        };
    };
}

/// Embeds a manifest as the section `weir:manifest`; [`export_transform!`](crate::export_transform) does it for you.
#[macro_export]
macro_rules! embed_manifest {
    ($manifest:literal) => {
        const _: () = {
            // Included in every build, so that a manifest that is not there fails `cargo test` too.
            const TEXT: &[u8] =
                ::core::include_bytes!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/", $manifest));

            #[cfg(target_family = "wasm")]
            #[allow(unsafe_code)]
            #[unsafe(link_section = "weir:manifest")]
            #[used]
            static MANIFEST: [u8; TEXT.len()] =
                *::core::include_bytes!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), "/", $manifest));
        };
    };
}

#[doc(hidden)]
pub type Built<T> = Result<(T, bindings::Plan), ConfigError>;

/// Makes the plugin that a configuration asks for.
#[doc(hidden)]
pub fn build<T: Transform>(config: Value) -> Built<T> {
    let config = serde_path_to_error::deserialize(config).map_err(|error| {
        let path = error.path().to_string();
        ConfigError::at(if path == "." { String::new() } else { path }, error.into_inner().to_string())
    })?;
    let mut plan = Plan::new();
    let plugin = T::configure(config, &mut plan)?;
    Ok((plugin, plan.finish()?))
}

pub(crate) fn run<T: Transform>(
    plugin: &mut T,
    batch: &bindings::Batch,
    context: &bindings::Context,
) -> bindings::Outcome {
    let mut outcome = Outcome::new(batch.rows as usize);
    plugin.transform(&Batch::new(batch, context), &mut outcome);
    outcome.finish()
}

#[doc(hidden)]
pub fn configure<T: Transform>(slot: &RefCell<Option<T>>, config: &str) -> Result<bindings::Plan, String> {
    let config =
        serde_json::from_str(config).map_err(|error| format!("the configuration is not JSON: {error}"))?;
    let (plugin, plan) = build(config).map_err(|error| error.to_string())?;
    slot.replace(Some(plugin));
    Ok(plan)
}

#[doc(hidden)]
pub fn transform<T: Transform>(
    slot: &RefCell<Option<T>>,
    batch: &bindings::Batch,
    context: &bindings::Context,
) -> bindings::Outcome {
    match slot.borrow_mut().as_mut() {
        Some(plugin) => run(plugin, batch, context),
        // Keeping every row would pass what the plugin is there to hold back; a trap is what the agent understands.
        None => unconfigured(),
    }
}

#[cold]
#[allow(clippy::panic)]
fn unconfigured() -> ! {
    panic!("transform was called before configure")
}
