//! What clients of Fluent Forward send: whatever the bytes are and however they come in pieces, messages end where they
//! end, and each is refused or becomes JSON objects on one line each, within the limit. Nobody guesses the shared key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_receive::forward::handshake::Challenge;
use weir_receive::forward::message::{Envelope, MAX_GROWTH};
use weir_receive::forward::msgpack::{Fault, Frame, Scan, Scanner};
use weir_receive::Secret;
use weir_receive::forward::settings::Settings;

const LIMIT: usize = 64 * 1024;

fuzz_target!(|data: &[u8]| {
    let whole = scan(data, data.len());
    assert_eq!(whole, scan(data, 1));
    assert_eq!(whole, scan(data, 7));
    let mut rest = data;
    for frame in whole.0 {
        let (bytes, behind) = rest.split_at(frame.bytes());
        rest = behind;
        check_message(bytes, &frame);
        check_ping(bytes);
    }
});

/// The messages of a stream that comes in pieces, and why there are no more.
fn scan(data: &[u8], piece: usize) -> (Vec<Frame>, Option<Fault>) {
    let (mut scanner, mut frames) = (Scanner::new(LIMIT), Vec::new());
    let (mut start, mut seen) = (0, 0);
    loop {
        match scanner.scan(&data[start..seen]) {
            Ok(Scan::Whole(frame)) => {
                assert!(frame.bytes() > 0 && frame.bytes() <= LIMIT);
                start += frame.bytes();
                frames.push(frame);
            }
            Ok(Scan::More(least)) => {
                assert!(least > seen - start && least <= LIMIT);
                if seen == data.len() {
                    return (frames, None);
                }
                seen = (seen + piece).min(data.len());
            }
            Err(fault) => return (frames, Some(fault)),
        }
    }
}

fn check_message(bytes: &[u8], frame: &Frame) {
    let Ok(Some(envelope)) = Envelope::read(bytes, frame) else { return };
    assert_eq!(envelope.ack().is_some(), envelope.key().is_some());
    let Ok(message) = envelope.decode(LIMIT) else { return };
    assert!(message.documents.bytes() <= LIMIT * MAX_GROWTH);
    for (_, text) in message.documents.iter() {
        assert!(text.starts_with(b"{") && !text.contains(&b'\n'));
        serde_json::from_slice::<serde::de::IgnoredAny>(text).expect("an object");
    }
}

fn check_ping(bytes: &[u8]) {
    let settings = Settings { shared_key: Some(Secret::new("key")), ..Settings::default() };
    let challenge = Challenge::new(&settings).expect("random numbers");
    if let Ok(verdict) = challenge.judge(bytes) {
        assert!(verdict.client.is_err());
    }
}
