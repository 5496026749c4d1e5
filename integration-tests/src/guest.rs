//! Artefacts that are wrong in one way each, made byte by byte.

/// A component with nothing in it but a manifest, where one is given.
pub fn component(manifest: Option<&str>) -> Vec<u8> {
    with_manifest(b"\0asm\x0d\0\x01\0", manifest)
}

/// The same as a module of the core language, which is what compilers make without further tools.
pub fn core_module(manifest: Option<&str>) -> Vec<u8> {
    with_manifest(b"\0asm\x01\0\0\0", manifest)
}

fn with_manifest(header: &[u8; 8], manifest: Option<&str>) -> Vec<u8> {
    const NAME: &[u8] = b"weir:manifest";
    let mut wasm = header.to_vec();
    let Some(manifest) = manifest else { return wasm };
    wasm.push(0);
    leb128(1 + NAME.len() + manifest.len(), &mut wasm);
    leb128(NAME.len(), &mut wasm);
    wasm.extend_from_slice(NAME);
    wasm.extend_from_slice(manifest.as_bytes());
    wasm
}

fn leb128(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
