//! Compares what Weir reads of expositions with what Prometheus reads: random bodies, and such with random changes.
//!
//! ```sh
//! (cd integration-tests/oracles/prometheus && go build -o /tmp/oracle .)
//! cargo run --release -p weir-samples --example exposition_oracle -- /tmp/oracle --cases 1000000 --seed 1
//! ```
//!
//! Every difference is put into one of the classes that the head of `exposition.rs` lists; what fits none is printed, and
//! the program fails.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people, which fails loudly")]

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::process::{ChildStdin, Command, ExitCode, Stdio};

#[path = "exposition_oracle/bodies.rs"]
mod bodies;
#[path = "exposition_oracle/differences.rs"]
mod differences;
#[path = "exposition_oracle/listing.rs"]
mod listing;

use bodies::Random;
use weir_samples::exposition::Format;

/// Requests on their way at once.
const BATCH: usize = 256;
/// Differences of one class that are printed.
const PRINTED: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(default, |at| arguments[at + 1].parse().unwrap())
    };
    let (cases, seed) = (option("--cases", 10_000), option("--seed", 1));
    println!("seed {seed}, {cases} bodies");
    let mut oracle =
        Command::new(&arguments[0]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut requests, mut answers) =
        (oracle.stdin.take().unwrap(), BufReader::new(oracle.stdout.take().unwrap()));
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut done = 0;
    while done < cases {
        let count = BATCH.min((cases - done) as usize);
        let batch: Vec<(Format, Vec<u8>)> = (0..count).map(|_| bodies::body(&mut random)).collect();
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| batch.iter().for_each(|case| send(&mut requests, case)));
            for (format, body) in &batch {
                tally.compare(*format, body, &receive(&mut answers), &mut random);
            }
            sender.join().unwrap();
        });
        done += count as u64;
    }
    drop(requests);
    oracle.wait().unwrap();
    tally.print()
}

fn send(requests: &mut ChildStdin, (format, body): &(Format, Vec<u8>)) {
    let format = match format {
        Format::Text => 0,
        Format::OpenMetrics => 1,
        Format::Protobuf => 2,
    };
    let mut request = vec![format];
    request.extend_from_slice(&(body.len() as u32).to_le_bytes());
    request.extend_from_slice(body);
    requests.write_all(&request).unwrap();
    requests.flush().unwrap();
}

fn receive(answers: &mut impl Read) -> String {
    let mut length = [0; 4];
    answers.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_le_bytes(length) as usize];
    answers.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[derive(Default)]
struct Tally {
    /// By format: accepted by both, refused by both.
    same: BTreeMap<String, (u64, u64)>,
    /// By format and class, with how many were printed.
    different: BTreeMap<String, u64>,
    unexplained: u64,
}

impl Tally {
    fn compare(&mut self, format: Format, body: &[u8], theirs: &str, random: &mut Random) {
        let ours = listing::list(format, body, || body.len());
        let pieces = listing::list(format, body, || 1 + random.below(40));
        assert!(ours == pieces || ours.starts_with("error"), "it depends on the pieces: {body:?}");
        let same = self.same.entry(format!("{format:?}")).or_default();
        if theirs.starts_with("error") && ours.starts_with("error") && !theirs.starts_with("error panic") {
            same.1 += 1;
            return;
        }
        if ours == theirs {
            same.0 += 1;
            return;
        }
        let class = differences::classify(format, body, &ours, theirs);
        let count =
            self.different.entry(format!("{format:?}: {}", class.unwrap_or("UNEXPLAINED"))).or_default();
        *count += 1;
        if class.is_none() {
            self.unexplained += 1;
        }
        if class.is_none() && self.unexplained <= PRINTED as u64 {
            println!("--- {format:?} {:?}\nours\n{ours}theirs\n{theirs}", String::from_utf8_lossy(body));
        }
    }

    fn print(&self) -> ExitCode {
        for (format, (accepted, refused)) in &self.same {
            println!("{format}: {accepted} accepted alike, {refused} refused by both");
        }
        for (class, count) in &self.different {
            println!("{count:8} {class}");
        }
        if self.unexplained == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
