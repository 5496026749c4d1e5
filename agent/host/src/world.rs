//! Whether a component is one that this host can run, by its type, before anything of it runs.

use wasmtime::component::Component;
use wasmtime::component::types::{ComponentInstance, ComponentItem};

use crate::wasi::is_wasi;

/// The interface that a plugin of the world `transform` exports.
pub(crate) const TRANSFORMER: &str = "weir:plugin/transformer";

/// Names in an error are for people; a component may have thousands.
const MAX_NAMES: usize = 10;

/// What the component exports, if the transformer is not among it.
pub(crate) fn missing_transformer(component: &Component) -> Option<Vec<String>> {
    let component_type = component.component_type();
    let names = || component_type.exports(component.engine()).map(|(name, _)| name);
    let is_transformer = |name: &str| name.split('@').next() == Some(TRANSFORMER);
    if names().any(is_transformer) {
        return None;
    }
    Some(names().take(MAX_NAMES).map(str::to_owned).collect())
}

/// What the component imports and nobody provides. An interface that has only types, as `weir:plugin/types`,
/// needs nobody.
pub(crate) fn unknown_imports(component: &Component) -> Vec<String> {
    let component_type = component.component_type();
    let needed = |item: &ComponentItem| match item {
        ComponentItem::ComponentInstance(instance) => !has_only_types(instance, component),
        ComponentItem::Type(_) => false,
        _ => true,
    };
    let imports = component_type.imports(component.engine());
    let unknown = imports.filter(|(name, item)| needed(&item.ty) && !is_wasi(name));
    unknown.take(MAX_NAMES).map(|(name, _)| name.to_owned()).collect()
}

fn has_only_types(instance: &ComponentInstance, component: &Component) -> bool {
    instance.exports(component.engine()).all(|(_, item)| matches!(item.ty, ComponentItem::Type(_)))
}
