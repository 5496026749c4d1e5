//! Manifests: any bytes, as an artefact and as the section of a well-formed one, are read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_manifest::{SECTION_NAME, read_manifest};

fuzz_target!(|data: &[u8]| {
    let _ = read_manifest(data).map_err(|error| error.to_string());
    let artefact = component(data);
    match read_manifest(&artefact) {
        Ok(manifest) => assert!(!manifest.name.is_empty() && !manifest.worlds.is_empty()),
        Err(error) => assert!(!error.to_string().contains('\0')),
    }
});

/// A component with nothing but the manifest's section.
fn component(section: &[u8]) -> Vec<u8> {
    let mut wasm = b"\0asm\x0d\0\x01\0\0".to_vec();
    let mut name = Vec::new();
    leb128(&mut name, SECTION_NAME.len());
    name.extend_from_slice(SECTION_NAME.as_bytes());
    leb128(&mut wasm, name.len() + section.len());
    wasm.extend_from_slice(&name);
    wasm.extend_from_slice(section);
    wasm
}

fn leb128(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
