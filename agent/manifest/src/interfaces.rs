//! The interfaces that a component has for the outside and needs of it, by their names, without running it.

use serde::Serialize;
use wasmparser::{Parser, Payload};

use crate::read::ManifestError;

/// Names beyond this many are nobody's plugin.
const MAX_NAMES: usize = 256;

/// What a component exports and imports, as `weir:plugin/transformer@0.1.0`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Interfaces {
    /// What it has for the outside.
    pub exports: Vec<String>,
    /// What it needs of it.
    pub imports: Vec<String>,
}

/// Reads the names of a component's own imports and exports, at most 256 of each.
pub fn read_interfaces(wasm: &[u8]) -> Result<Interfaces, ManifestError> {
    let mut found = Interfaces::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(ManifestError::malformed)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    let import = import.map_err(ManifestError::malformed)?;
                    found.imports.push(import.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    let export = export.map_err(ManifestError::malformed)?;
                    found.exports.push(export.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    found.imports.truncate(MAX_NAMES);
    found.exports.truncate(MAX_NAMES);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_component_and_not_of_what_lies_in_it() {
        let text = r#"(component
            (import "weir:plugin/types@0.1.0" (instance))
            (component (import "inner" (func)))
            (core module (func (export "run")))
            (instance $made)
            (export "weir:plugin/transformer@0.1.0" (instance $made)))"#;
        let found = read_interfaces(&wat::parse_str(text).unwrap()).unwrap();
        assert_eq!(found.imports, ["weir:plugin/types@0.1.0"]);
        assert_eq!(found.exports, ["weir:plugin/transformer@0.1.0"]);
    }

    #[test]
    fn what_is_cut_off_is_malformed() {
        let wasm = wat::parse_str("(component (import \"a\" (func)))").unwrap();
        let cut = &wasm[..wasm.len() - 1];
        assert!(matches!(read_interfaces(cut), Err(ManifestError::Malformed { .. })));
    }
}
