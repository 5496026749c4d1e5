//! A target of metrics that walks through an hour in seconds: each scrape gets the samples of the next step, with
//! explicit timestamps.
//!
//! 1. All that is exposed follows from the seed and the first moment.
//! 2. A scraper is known by the path `/FORMAT/NAME`, where `FORMAT` is `text`, `openmetrics` or `protobuf`. Each walks by
//!    itself, and all see the same.
//! 3. A step is over when the scraper asks again over the same connection. One that gave up on an answer comes over another
//!    and gets the same step again, once: the same samples twice are one, a step that is missing would be a difference.
//! 4. Behind the last step nothing is exposed.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::http1::Message;

mod families;
mod protobuf;
mod text;

use families::Walk;

/// The formats, as paths name them.
pub const FORMATS: [&str; 3] = ["text", "openmetrics", "protobuf"];

/// How often a step is exposed to a scraper that does not keep its connection.
const MOST_EXPOSURES: u32 = 2;

/// What a step is in each format, and the place of each scraper.
#[derive(Debug)]
struct State {
    steps: HashMap<&'static str, Vec<Vec<u8>>>,
    places: Mutex<HashMap<String, Place>>,
}

/// Where a scraper is.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    step: usize,
    /// How often it got this step.
    exposures: u32,
}

/// The target. Its threads stay until the process ends.
#[derive(Debug)]
pub struct MetricsTarget {
    address: SocketAddr,
    state: Arc<State>,
    times: Vec<i64>,
}

// === impl MetricsTarget ===

impl MetricsTarget {
    /// So many steps of so many milliseconds, the first at `start`, in milliseconds since the Unix epoch.
    pub fn start(seed: u64, start: i64, steps: usize, step: i64) -> MetricsTarget {
        let mut rendered: HashMap<&'static str, Vec<Vec<u8>>> = HashMap::new();
        let (mut walk, mut times) = (Walk::new(seed), Vec::new());
        for number in 0..steps {
            let time = start + step * i64::try_from(number).expect("few steps");
            let families = walk.step();
            for format in FORMATS {
                let body = match format {
                    "text" => text::classic(&families, time),
                    "openmetrics" => text::openmetrics(&families, time),
                    _ => protobuf::delimited(&families, time),
                };
                rendered.entry(format).or_default().push(body);
            }
            times.push(time);
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State { steps: rendered, places: Mutex::default() });
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&serving);
                // A scraper that goes away ends its connection.
                thread::spawn(move || drop(state.serve(&stream)));
            }
        });
        MetricsTarget { address, state, times }
    }

    /// Where it is scraped.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The moments of the steps.
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// Whether this scraper has walked to the end in all formats.
    pub fn is_through(&self, name: &str) -> bool {
        FORMATS.iter().all(|format| self.state.place(&format!("/{format}/{name}")).step >= self.times.len())
    }

    /// `scrape_configs` for a scraper, as Prometheus takes them: a job for each format, with these labels as YAML.
    pub fn scrape_configs(&self, name: &str, interval: &str, labels: &str) -> String {
        let mut text = String::from("scrape_configs:\n");
        for format in FORMATS {
            let protocol = match format {
                "text" => "PrometheusText0.0.4",
                "openmetrics" => "OpenMetricsText1.0.0",
                _ => "PrometheusProto",
            };
            text.push_str(&format!(
                "- job_name: {format}\n  metrics_path: /{format}/{name}\n  scrape_interval: {interval}\n  \
                 scrape_timeout: {interval}\n  honor_timestamps: true\n  scrape_protocols: [{protocol}]\n  \
                 scrape_native_histograms: true\n  static_configs:\n  - targets: ['{}']\n    labels: {{{labels}}}\n",
                self.address
            ));
        }
        text
    }
}

// === impl State ===

impl State {
    fn place(&self, path: &str) -> Place {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(path).copied().unwrap_or_default()
    }

    /// The step that is to be exposed now. `is_over` says that the last one arrived.
    fn next(&self, path: &str, is_over: bool) -> usize {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(path.to_owned()).or_default();
        if is_over || place.exposures >= MOST_EXPOSURES {
            place.end();
        }
        place.exposures += 1;
        place.step
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        let mut last = None;
        while let Some(request) = Message::read_request(&mut reader)? {
            let path = request.target().1.split('?').next().unwrap_or_default().to_owned();
            let format = path.split('/').nth(1).unwrap_or_default();
            let Some(steps) = self.steps.get(format) else {
                Message::answer(404, "Not Found", "{}").write(&mut &*stream)?;
                continue;
            };
            let step = self.next(&path, last.as_ref() == Some(&path));
            let is_last = !request.keeps_alive();
            if is_last {
                // It says itself that it does not come again over this connection.
                let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
                places.entry(path.clone()).or_default().end();
            }
            answer(format, steps.get(step)).write(&mut &*stream)?;
            if is_last {
                break;
            }
            last = Some(path);
        }
        Ok(())
    }
}

// === impl Place ===

impl Place {
    fn end(&mut self) {
        *self = Place { step: self.step + 1, exposures: 0 };
    }
}

fn answer(format: &str, step: Option<&Vec<u8>>) -> Message {
    let (kind, end) = match format {
        "text" => ("text/plain; version=0.0.4; charset=utf-8", ""),
        "openmetrics" => ("application/openmetrics-text; version=1.0.0; charset=utf-8", "# EOF\n"),
        _ => (
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            "",
        ),
    };
    let headers = vec![("content-type".to_owned(), kind.to_owned())];
    let body = step.cloned().unwrap_or_else(|| end.as_bytes().to_vec());
    Message { start: "HTTP/1.1 200 OK".to_owned(), headers, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(target: &MetricsTarget, path: &str) -> Message {
        let request = Message {
            start: format!("GET {path} HTTP/1.1"),
            headers: vec![("connection".to_owned(), "close".to_owned())],
            body: Vec::new(),
        };
        let mut stream = TcpStream::connect(target.address()).unwrap();
        request.write(&mut stream).unwrap();
        Message::read_answer(&mut BufReader::new(stream)).unwrap()
    }

    #[test]
    fn every_scraper_walks_by_itself_through_the_same() {
        let target = MetricsTarget::start(7, 1_700_000_000_000, 3, 15_000);
        for format in FORMATS {
            let walk = |name: &str| -> Vec<Vec<u8>> {
                (0..4).map(|_| scrape(&target, &format!("/{format}/{name}")).body).collect()
            };
            let (one, other) = (walk("a"), walk("b"));
            assert!(one == other, "{format}");
            assert!(one[0] != one[1], "{format}");
            assert!(one[3].is_empty() || one[3] == b"# EOF\n");
        }
        assert!(target.is_through("a") && !target.is_through("c"));
        assert_eq!(scrape(&target, "/other/a").status().unwrap(), 404);
    }

    #[test]
    fn a_step_that_did_not_arrive_is_exposed_once_more() {
        let target = MetricsTarget::start(7, 0, 3, 15_000);
        let path = "/text/a";
        let request = Message { start: format!("GET {path} HTTP/1.1"), ..Message::default() };
        let connect = || TcpStream::connect(target.address()).unwrap();
        let ask = |mut stream: &TcpStream| {
            request.write(&mut stream).unwrap();
            Message::read_answer(&mut BufReader::new(stream)).unwrap().body
        };
        let (one, other) = (connect(), connect());
        let first = ask(&one);
        assert!(ask(&other) == first);
        let second = ask(&other);
        assert!(second != first);
        assert!(ask(&one) == ask(&connect()), "the next step is the same for all");
    }

    #[test]
    fn the_seed_and_the_start_say_all() {
        let body = |seed, start| {
            let target = MetricsTarget::start(seed, start, 1, 15_000);
            String::from_utf8(scrape(&target, "/openmetrics/x").body).unwrap()
        };
        assert_eq!(body(1, 0), body(1, 0));
        assert_ne!(body(1, 0), body(2, 0));
        assert!(body(1, 60_000).ends_with(" 60.000\n# EOF\n"));
    }
}
