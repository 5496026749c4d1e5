//! What comes from registries and who names them: references, manifests, indices, signatures, credentials. Any bytes are
//! read or refused; what is taken means what it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_oci::{
    Bundle, Digest, Index, Manifest, Reference, ReferencePrefix, check_simple_signing, find_credential,
};

fuzz_target!(|data: &[u8]| {
    let digest = Digest::of(b"manifest");
    if let Ok(manifest) = Manifest::parse(data) {
        let component = manifest.component();
        assert!(component.is_err() || manifest.layers.len() == 1);
    }
    let _ = Index::parse(data);
    // No input can name a digest that it was not given, but for the seeds, which do.
    if check_simple_signing(data, digest).is_ok() {
        assert!(contains(data, &digest.hex()));
    }
    if let Ok(bundle) = Bundle::parse(data) {
        let signed = bundle.signed(b"manifest");
        assert!(!bundle.signatures().is_empty() && !signed.is_empty());
        if let (Bundle::Envelope { payload, .. }, Ok(())) = (&bundle, bundle.check(digest)) {
            assert!(contains(payload, &digest.hex()));
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    for text in [text.to_owned(), format!("oci://{text}")] {
        if let Ok(reference) = text.parse::<Reference>() {
            // It stands in an address and in file names' hashes: one spelling, no way out of it.
            let again: Reference = reference.to_string().parse().unwrap();
            assert_eq!(again, reference);
            assert!(
                !reference.repository().contains("..") && !reference.registry().contains(['@', '?', '#'])
            );
        }
    }
    if let Ok(prefix) = text.parse::<ReferencePrefix>() {
        assert_eq!(prefix.to_string().parse(), Ok(prefix));
    }
    let reference: Reference = "oci://host:5000/team-a/x:1".parse().unwrap();
    let _ = find_credential(text, &reference);
});

/// JSON may spell a digit by an escape; then the text does not show it.
fn contains(bytes: &[u8], hex: &str) -> bool {
    bytes.contains(&b'\\') || bytes.windows(hex.len()).any(|window| window == hex.as_bytes())
}
