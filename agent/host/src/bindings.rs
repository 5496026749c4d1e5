//! The Rust side of `wit/transform.wit`, generated. One module for each major version of the package: within
//! a major the linker and the look-up of exports follow semantic versions.
#![allow(missing_docs, unused, elided_lifetimes_in_paths, clippy::all, unsafe_code)]

use wasmtime::AsContextMut;
use wasmtime::component::Instance;

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "transform",
    ownership: Borrowing { duplicate_if_necessary: true },
});

impl<T> TransformPre<T> {
    /// The second half of [`TransformPre::instantiate`]. An error says which function is of another type;
    /// nothing of the guest runs here.
    pub(crate) fn bind(
        &self,
        store: impl AsContextMut<Data = T>,
        instance: &Instance,
    ) -> wasmtime::Result<Transform> {
        self.indices.load(store, instance)
    }
}
