//! Container log lines and their time stamps: whatever a line holds, it is read or refused alike by a reader that
//! comes from other lines and by a fresh one, and a time that is read is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_event::cri::parse_line;
use weir_event::time::{Rfc3339Reader, Rfc3339Writer, parse_rfc3339, write_rfc3339};

fuzz_target!(|data: &[u8]| {
    let (mut warm, mut writer) = (Rfc3339Reader::default(), Rfc3339Writer::default());
    for line in data.split(|byte| *byte == b'\n') {
        let read = parse_line(line, &mut warm);
        assert_eq!(read, parse_line(line, &mut Rfc3339Reader::default()));
        let Ok(cri) = read else { continue };
        assert!(cri.content_start <= line.len());
        let head = &line[..cri.content_start];
        let stamp = head.split(|byte| *byte == b' ').next().unwrap_or_default();
        assert_eq!(parse_rfc3339(stamp), Some(cri.time));
        assert!(head.windows(6).any(|word| word == cri.stream.name().as_bytes()));
        check_time(cri.time, &mut writer);
    }
    if let Some(time) = parse_rfc3339(data) {
        check_time(time, &mut writer);
    }
    if let Some(bytes) = data.first_chunk::<8>() {
        check_written(i64::from_le_bytes(*bytes), &mut writer);
    }
});

fn check_time(time: i64, writer: &mut Rfc3339Writer) {
    let text = check_written(time, writer);
    assert_eq!(parse_rfc3339(&text), Some(time));
}

/// Any time is written alike by a writer that comes from another time and by a fresh one.
fn check_written(time: i64, writer: &mut Rfc3339Writer) -> Vec<u8> {
    let (mut fresh, mut warm) = (Vec::new(), Vec::new());
    write_rfc3339(&mut fresh, time);
    writer.write(&mut warm, time);
    assert_eq!(fresh, warm);
    fresh
}
