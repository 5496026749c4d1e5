//! Files of segments: written and read back, and what damage costs.

use proptest::prelude::*;
use weir_event::identity::EventId;

use super::*;

const NUMBER: u64 = 0x1234_5678_9abc_def0;

/// A part by what is in it.
#[derive(Clone, Debug)]
struct Given {
    pipeline: String,
    documents: Arc<Documents>,
    targets: Targets,
}

impl Given {
    fn new(pipeline: &str, texts: &[(&str, u32, u16)], streams: &[Arc<Stream>], names: &[&str]) -> Given {
        let mut documents = Documents { streams: streams.to_vec(), ..Documents::default() };
        for (index, (text, stream, _)) in texts.iter().enumerate() {
            documents.ndjson.extend_from_slice(text.as_bytes());
            documents.records.push(Record {
                id: EventId([index as u8; 20]),
                time: -(index as i64),
                stream: *stream,
                bytes: 100 + index as u32,
                end: documents.ndjson.len() as u32,
            });
            documents.ndjson.push(b'\n');
        }
        let names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
        let of = match names.is_empty() {
            true => Vec::new(),
            false => texts.iter().map(|(.., target)| *target % names.len() as u16).collect(),
        };
        Given {
            pipeline: pipeline.to_owned(),
            documents: Arc::new(documents),
            targets: Targets { names, of },
        }
    }

    fn source(&self) -> PartSource<'_> {
        PartSource {
            pipeline: &self.pipeline,
            amount: self.documents.amount(),
            documents: &self.documents,
            targets: &self.targets,
        }
    }
}

fn stream(name: &str, incarnation: u64) -> Arc<Stream> {
    Stream::new(
        Attributes { pod: name.to_owned(), path: "/var/ü".into(), ..Attributes::default() },
        incarnation,
    )
}

fn file(number: u64, parts: &[Given]) -> Vec<u8> {
    file_of_runs(number, parts, RUN_TARGET_BYTES)
}

fn file_of_runs(number: u64, parts: &[Given], run_bytes: usize) -> Vec<u8> {
    let mut packer = Packer::with_runs_of(run_bytes).unwrap();
    let packed: Vec<Packed<'_>> = parts.iter().map(|part| packer.pack(part.source()).unwrap()).collect();
    let layout = Layout::new("search", &packed).unwrap();
    let mut bytes = Vec::new();
    layout
        .write(number, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
    assert_eq!(bytes.len() as u64, layout.bytes, "the length is known before");
    bytes
}

fn reader(bytes: &[u8]) -> impl Fn(u64, usize) -> io::Result<Vec<u8>> + Copy + '_ {
    move |offset, length| {
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        Ok(rest[..length.min(rest.len())].to_vec())
    }
}

/// Everything that a sink can see of a document.
type Seen = (u32, EventId, i64, u32, String, Option<String>, String, u64);

fn seen(documents: &Documents, targets: &Targets, places: &[u32]) -> Vec<Seen> {
    let documents = documents.iter().enumerate().map(|(index, (record, text))| {
        let stream = documents.streams.get(record.stream as usize).unwrap();
        (
            places[index],
            record.id,
            record.time,
            record.bytes,
            stream.attributes().pod.clone(),
            targets.name(index).map(|name| name.to_string()),
            String::from_utf8(text.to_vec()).unwrap(),
            stream.incarnation(),
        )
    });
    documents.collect()
}

fn given(part: &Given) -> Vec<Seen> {
    let places: Vec<u32> = (0..part.documents.records.len() as u32).collect();
    seen(&part.documents, &part.targets, &places)
}

fn example() -> Vec<Given> {
    let streams = [stream("a", 1), stream("b", u64::MAX)];
    vec![
        Given::new(
            "app",
            &[("{\"n\":1}", 0, 0), ("{\"n\":2,\"t\":\"ü\"}", 1, 1), ("{}", 1, 0)],
            &streams,
            &["x-1", "x-2"],
        ),
        Given::new("audit", &[("{\"m\":1}", 0, 0)], &streams[1..], &[]),
        Given::new("app", &[("{\"n\":3}", 0, 0)], &streams[..1], &["x-2"]),
    ]
}

#[test]
fn what_was_written_is_read() {
    let parts = example();
    let bytes = file(NUMBER, &parts);
    let header = Header::read(reader(&bytes)).unwrap();
    assert_eq!((header.number, &*header.sink), (Some(NUMBER), "search"));
    assert!(Arc::ptr_eq(&header.parts[0].streams[1], &header.parts[1].streams[0]), "they stand once");
    for (index, part) in parts.iter().enumerate() {
        let content = header.part(NUMBER, index as u8, None, reader(&bytes)).unwrap();
        assert_eq!(seen(&content.documents, &content.targets, &content.places), given(part));
        assert_eq!(header.parts[index].amount, part.documents.amount());
        assert_eq!(header.parts[index].pipeline, part.pipeline);
        assert!(!content.is_damaged);
    }
    let some = header.part(NUMBER, 0, Some(&[0, 2]), reader(&bytes)).unwrap();
    let expected: Vec<Seen> = given(&parts[0]).into_iter().filter(|seen| seen.0 != 1).collect();
    assert_eq!(seen(&some.documents, &some.targets, &some.places), expected);
    assert!(!some.is_damaged, "what is not wanted is not missing");
    assert!(header.part(NUMBER, 3, None, reader(&bytes)).unwrap().is_damaged, "there is no such part");
}

/// Three runs of two documents each, and where the second of them begins.
fn three_runs() -> (Given, Vec<u8>, usize) {
    let texts: Vec<String> = (0..6).map(|n| format!("{{\"n\":{n}}}")).collect();
    let texts: Vec<(&str, u32, u16)> = texts.iter().map(|text| (&**text, 0, 0)).collect();
    let part = Given::new("app", &texts, &[stream("a", 1)], &[]);
    let bytes = file_of_runs(NUMBER, std::slice::from_ref(&part), 100);
    let marks: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&MARK)).collect();
    assert_eq!(marks.len(), 3);
    (part, bytes, marks[1])
}

#[test]
fn damage_costs_its_run_only() {
    let (part, whole, second) = three_runs();
    let header = Header::read(reader(&whole)).unwrap();
    let content = header.part(NUMBER, 0, None, reader(&whole)).unwrap();
    assert_eq!(seen(&content.documents, &content.targets, &content.places), given(&part));
    for broken in [0, 5, 9, 13, 17, 21, 25, RUN_BYTES, RUN_BYTES + 20] {
        let mut bytes = whole.clone();
        bytes[second + broken] ^= 0x10;
        let content = header.part(NUMBER, 0, None, reader(&bytes)).unwrap();
        assert!(content.is_damaged);
        assert_eq!(content.places, [0, 1, 4, 5], "byte {broken}");
    }
    // Bytes that are missing or too many shift what is behind them; what does not fit any more is cut.
    for torn in [second + 3, second + RUN_BYTES + 7] {
        let mut bytes = whole.clone();
        bytes.remove(torn);
        assert_eq!(header.part(NUMBER, 0, None, reader(&bytes)).unwrap().places, [0, 1, 4, 5]);
        bytes.splice(torn..torn, [0; 9]);
        assert_eq!(header.part(NUMBER, 0, None, reader(&bytes)).unwrap().places, [0, 1]);
    }
}

/// What was broken before it was packed: the run is whole, a record in it is not.
#[test]
fn a_broken_record_in_a_whole_run_costs_itself() {
    let (part, ..) = three_runs();
    let mut run = Vec::new();
    for (record, document) in part.documents.iter() {
        write::append(record, 0, NO_TARGET, document, &mut run);
    }
    let header = Header::read(reader(&file(NUMBER, std::slice::from_ref(&part)))).unwrap();
    let places = |run: &[u8]| {
        let mut content = header.part(NUMBER, 9, None, reader(&[])).unwrap();
        content.documents.streams.clone_from(&header.parts[0].streams);
        content.is_damaged = false;
        let mut taking = read::Taking { part: &header.parts[0], which: None, next_place: 0, content };
        read::records(run, 0, 6, &mut taking);
        (taking.content.places, taking.content.is_damaged)
    };
    assert_eq!(places(&run), (vec![0, 1, 2, 3, 4, 5], false));
    let length = run.len() / 6;
    run[length * 2 + FRAME_BYTES + 3] ^= 1;
    assert_eq!(places(&run), (vec![0, 1, 3, 4, 5], true));
    // A length that cannot be believed ends the run.
    run[length * 4] = 0xff;
    assert_eq!(places(&run), (vec![0, 1, 3], true));
}

/// A few bytes that claim to be much when they are unpacked are not unpacked.
#[test]
fn nothing_is_unpacked_beyond_what_was_said() {
    let text = "x".repeat(100_000);
    let part = Given::new("app", &[(&text, 0, 0)], &[stream("a", 1)], &[]);
    let bytes = file(NUMBER, std::slice::from_ref(&part));
    assert!(bytes.len() < 2_000, "it is packed: {} bytes", bytes.len());
    let mut header = Header::read(reader(&bytes)).unwrap();
    header.parts[0].unpacked = 99_999;
    let content = header.part(NUMBER, 0, None, reader(&bytes)).unwrap();
    assert!(content.is_damaged && content.documents.records.is_empty());
    let at = (0..bytes.len()).find(|at| bytes[*at..].starts_with(&MARK)).unwrap();
    // The frame is right, the length beside it too small.
    let mut small = bytes;
    small[at + 12..at + 16].copy_from_slice(&50_000_u32.to_be_bytes());
    let checksum = crc32c::crc32c_append(salt(NUMBER, 0), &small[at + 8..at + RUN_BYTES]);
    small[at + 4..at + 8].copy_from_slice(&checksum.to_be_bytes());
    header.parts[0].unpacked = 200_000;
    let content = header.part(NUMBER, 0, None, reader(&small)).unwrap();
    assert!(content.is_damaged && content.documents.records.is_empty());
}

#[test]
fn a_record_of_another_file_or_part_is_none() {
    let bytes = file(NUMBER, &example());
    let header = Header::read(reader(&bytes)).unwrap();
    let content = header.part(NUMBER + 1, 0, None, reader(&bytes)).unwrap();
    assert!(content.is_damaged && content.documents.records.is_empty());
}

#[test]
fn what_is_no_header_is_refused() {
    let bytes = file(NUMBER, &example());
    let damaged = |bytes: &[u8]| matches!(Header::read(reader(bytes)), Err(HeaderError::Damaged(_)));
    for end in 0..bytes.len().min(60) {
        assert!(damaged(&bytes[..end]), "cut at {end}");
    }
    assert!(damaged(b"hello, this is not a segment at all"));
    for length in [20, 24] {
        let mut giant = bytes.clone();
        giant[length..length + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(damaged(&giant));
    }
    let mut of_another = bytes;
    of_another[15] ^= 1;
    assert!(damaged(&of_another), "the number is covered");
}

/// What a file says, packed bytes left out: another version of the packer may make others.
fn unpacked(bytes: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let length = u32::from_be_bytes(bytes[20..24].try_into().unwrap()) as usize;
    let header = zstd::decode_all(&bytes[PREFIX_BYTES..PREFIX_BYTES + length]).unwrap();
    let mut rest = &bytes[PREFIX_BYTES + length..];
    let mut runs = Vec::new();
    while !rest.is_empty() {
        assert!(rest.starts_with(&MARK));
        let length = u32::from_be_bytes(rest[8..12].try_into().unwrap()) as usize;
        let mut run = rest[12..24].to_vec();
        run.extend(zstd::decode_all(&rest[RUN_BYTES..RUN_BYTES + length]).unwrap());
        runs.push(run);
        rest = &rest[RUN_BYTES + length..];
    }
    (header, runs)
}

/// The golden file is the documented form; a version that cannot read it any more has changed the format.
#[test]
fn the_written_form_is_the_documented_one() {
    let golden = include_bytes!("../../../tests/golden/segment.02.seg");
    let bytes = file(7, &example());
    if std::env::var_os("WEIR_UPDATE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/segment.02.seg"), &bytes).unwrap();
    }
    assert!(unpacked(&bytes) == unpacked(golden), "run with WEIR_UPDATE=1 if the format is meant to change");
}

#[test]
fn every_version_that_was_ever_written_is_read() {
    for golden in [
        &include_bytes!("../../../tests/golden/segment.01.seg")[..],
        include_bytes!("../../../tests/golden/segment.02.seg"),
    ] {
        let header = Header::read(reader(golden)).unwrap();
        assert_eq!(header.sink, "search");
        for (index, part) in example().iter().enumerate() {
            let content = header.part(7, index as u8, None, reader(golden)).unwrap();
            assert_eq!(seen(&content.documents, &content.targets, &content.places), given(part));
            assert_eq!(header.parts[index].amount, part.documents.amount());
            assert!(!content.is_damaged);
            let elsewhere = header.part(8, index as u8, None, reader(golden)).unwrap();
            assert!(elsewhere.is_damaged && elsewhere.documents.records.is_empty());
        }
    }
}

fn some_parts() -> impl Strategy<Value = Vec<Given>> {
    let text = prop_oneof!["[ -~]{0,40}", "\\PC{0,12}", Just("x".repeat(3_000))];
    let texts = prop::collection::vec((text, 0..3_u32, 0..3_u16), 0..12);
    let part = (texts, 0..3_usize, 0..2_usize);
    prop::collection::vec(part, 0..5).prop_map(|parts| {
        let streams = [stream("a", 1), stream("b", 2), stream("c", 3)];
        let part = |(texts, names, pipeline): (Vec<(String, u32, u16)>, usize, usize)| {
            let texts: Vec<_> =
                texts.iter().map(|(text, stream, target)| (&**text, *stream, *target)).collect();
            Given::new(["app", "audit"][pipeline], &texts, &streams, &["x", "y", "z"][..names])
        };
        parts.into_iter().map(part).collect()
    })
}

/// Something that a disk does to a file.
#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Zero(prop::sample::Index, usize),
    /// A stretch of the file in place of another.
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn some_damage() -> impl Strategy<Value = Damage> {
    use prop::sample::Index;
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), 1..600_usize).prop_map(|(at, length)| Damage::Zero(at, length)),
        (any::<Index>(), any::<Index>(), 1..600_usize)
            .prop_map(|(from, to, length)| Damage::Copy(from, to, length)),
    ]
}

fn inflict(damage: &Damage, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let size = bytes.len();
    match damage {
        Damage::Flip(at, bit) => bytes[at.index(size)] ^= 1 << bit,
        Damage::Cut(at) => bytes.truncate(at.index(size)),
        Damage::Zero(at, length) => {
            let at = at.index(size);
            bytes[at..(at + length).min(size)].fill(0);
        }
        Damage::Copy(from, to, length) => {
            let (from, to) = (from.index(size), to.index(size));
            let length = (*length).min(size - from).min(size - to);
            bytes.copy_within(from..from + length, to);
        }
    }
}

proptest! {
    #[test]
    fn any_parts_come_back_as_they_were(parts in some_parts(), run_bytes in 1..2_000_usize) {
        let bytes = file_of_runs(NUMBER, &parts, run_bytes);
        let header = Header::read(reader(&bytes)).unwrap();
        for (index, part) in parts.iter().enumerate() {
            let content = header.part(NUMBER, index as u8, None, reader(&bytes)).unwrap();
            prop_assert_eq!(seen(&content.documents, &content.targets, &content.places), given(part));
            prop_assert!(!content.is_damaged);
        }
    }

    /// Whatever a disk does: nothing panics, no document is read that was not written, none comes twice, and what is
    /// missing is noticed.
    #[test]
    fn damage_yields_no_wrong_record(
        parts in some_parts(),
        run_bytes in 1..2_000_usize,
        damage in prop::collection::vec(some_damage(), 1..4),
    ) {
        let whole = file_of_runs(NUMBER, &parts, run_bytes);
        let mut bytes = whole.clone();
        for damage in &damage {
            inflict(damage, &mut bytes);
        }
        let Ok(header) = Header::read(reader(&bytes)) else { return Ok(()) };
        prop_assert_eq!(header.parts.len(), parts.len());
        for (index, part) in parts.iter().enumerate() {
            let content = header.part(NUMBER, index as u8, None, reader(&bytes)).unwrap();
            let (read, given) = (seen(&content.documents, &content.targets, &content.places), given(part));
            prop_assert!(read.windows(2).all(|two| two[0].0 < two[1].0));
            for document in &read {
                prop_assert_eq!(document, &given[document.0 as usize]);
            }
            prop_assert!(content.is_damaged || read.len() == given.len());
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_file(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Header::read(reader(&bytes)).is_err());
        for magic in [MAGIC, version_1::MAGIC] {
            let with_magic = [&magic[..], &bytes].concat();
            prop_assert!(Header::read(reader(&with_magic)).is_err());
        }
    }
}
