//! Requests of OTLP, in protobuf and in JSON: any bytes are read or refused. What is read has documents, each one object
//! on one line; both encodings give the same documents and the same key, and nothing takes more memory than it may.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use weir_receive::documents::Documents;
use weir_receive::otlp::{DecodeError, Encoding, decode, key, write_documents};

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let request = match decode(data, encoding, LIMIT) {
            Ok(request) => request,
            // What is refused is too large, or prost refuses it too.
            Err(DecodeError::Protobuf(_)) => {
                assert!(ExportLogsServiceRequest::decode(data).is_err());
                continue;
            }
            Err(_) => continue,
        };
        let documents = written(&request);
        let canonical = request.encode_to_vec();
        // Lists of strings are reckoned more roughly in protobuf.
        let again = decode(&canonical, Encoding::Protobuf, 4 * LIMIT).unwrap();
        assert_eq!(key(&again), key(&request));
        assert_eq!(written(&again), documents);
    }
});

fn written(request: &ExportLogsServiceRequest) -> Option<Vec<String>> {
    let mut documents = Documents::new(LIMIT);
    write_documents(request, true, &mut documents).ok()?;
    let texts = documents.iter().map(|(_, text)| {
        assert!(!text.contains(&b'\n'));
        let text = std::str::from_utf8(text).unwrap();
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert!(value.is_object());
        text.to_owned()
    });
    Some(texts.collect())
}
