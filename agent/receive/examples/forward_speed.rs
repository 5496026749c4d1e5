//! Measures how long a record of Fluent Forward takes to become a document, from the bytes of a message:
//! `cargo run --release -p weir-receive --example forward_speed`.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::time::Instant;

use rmp::encode::{write_array_len, write_bin, write_map_len, write_str, write_uint};
use weir_receive::forward::message::Envelope;
use weir_receive::forward::msgpack::{Scan, Scanner};

const RECORDS: u32 = 5_000;
const LIMIT: usize = 64 * 1024 * 1024;

/// About 200 bytes with ten members.
fn write_entry(out: &mut Vec<u8>, index: u32) -> Result<(), rmp::encode::ValueWriteError> {
    write_array_len(out, 2)?;
    out.extend_from_slice(&[0xd7, 0]);
    out.extend_from_slice(&(1_800_000_000 + index).to_be_bytes());
    out.extend_from_slice(&index.to_be_bytes());
    write_map_len(out, 10)?;
    for (name, text) in [
        ("level", "info"),
        ("message", "request served in time, nothing to see here"),
        ("method", "GET"),
        ("path", "/api/v1/orders/4711/items?page=2"),
        ("user_agent", "Mozilla/5.0 (X11; Linux)"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("service", "shop"),
    ] {
        write_str(out, name)?;
        write_str(out, text)?;
    }
    for (name, number) in [("status", 200), ("bytes", 48_211), ("index", u64::from(index))] {
        write_str(out, name)?;
        write_uint(out, number)?;
    }
    Ok(())
}

fn message(packed: bool) -> Result<Vec<u8>, rmp::encode::ValueWriteError> {
    let (mut out, mut entries) = (Vec::new(), Vec::new());
    for index in 0..RECORDS {
        write_entry(&mut entries, index)?;
    }
    write_array_len(&mut out, 2)?;
    write_str(&mut out, "app.log")?;
    if packed {
        write_bin(&mut out, &entries)?;
        return Ok(out);
    }
    write_array_len(&mut out, RECORDS)?;
    out.extend_from_slice(&entries);
    Ok(out)
}

fn main() {
    for (name, packed) in [("Forward", false), ("PackedForward", true)] {
        let bytes = message(packed).expect("memory");
        let (mut best, mut scans, mut text) = (f64::MAX, f64::MAX, 0);
        for _ in 0..50 {
            let begin = Instant::now();
            let Ok(Scan::Whole(frame)) = Scanner::new(LIMIT).scan(&bytes) else { return };
            scans = scans.min(begin.elapsed().as_nanos() as f64 / f64::from(RECORDS));
            let envelope = Envelope::read(&bytes, &frame).expect("valid").expect("a message");
            let message = envelope.decode(LIMIT).expect("valid");
            best = best.min(begin.elapsed().as_nanos() as f64 / f64::from(RECORDS));
            text = message.documents.bytes() / message.documents.len();
        }
        let size = bytes.len() / RECORDS as usize;
        println!(
            "{name}: {best:.0} ns a record of {size} bytes (JSON: {text}), {scans:.0} ns of them to find its end"
        );
    }
}
