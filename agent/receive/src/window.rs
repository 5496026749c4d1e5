//! Which messages were taken lately, so that one that is sent again is not read again.
//!
//! A client that did not hear an answer sends its message once more. In OpenSearch the ids of its events keep them from
//! standing there twice for as long as the index lives; for all other sinks, and for the ledger, this window does, for as
//! long as it reaches and the agent lives.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// How long a message that is safe is remembered. Clients try again within minutes.
pub const WINDOW: Duration = Duration::from_secs(600);
/// How many such messages are remembered at the most: a MiB or two.
pub const WINDOW_MESSAGES: usize = 32_768;

type Answer = oneshot::Sender<()>;

/// Messages by their keys.
#[derive(Debug, Default)]
pub(crate) struct Window {
    known: HashMap<u64, State>,
    /// Those that are safe, in the order in which they became so.
    safe: VecDeque<(Instant, u64)>,
}

#[derive(Debug)]
enum State {
    /// On its way; who else waits for it.
    UnderWay(Vec<Answer>),
    Safe,
}

/// What is known of a message.
#[derive(Debug)]
pub(crate) enum Known {
    /// Nothing: it is to be taken.
    No(Answer),
    /// It is on its way or safe, and will be answered.
    Yes,
}

impl Window {
    /// Notes a message that came; one that is known is answered from here.
    pub fn meet(&mut self, key: u64, now: Instant, answer: Answer) -> Known {
        self.forget_old(now);
        match self.known.get_mut(&key) {
            None => {
                self.known.insert(key, State::UnderWay(Vec::new()));
                return Known::No(answer);
            }
            Some(State::UnderWay(waiting)) => waiting.push(answer),
            // Nobody may be left to hear it.
            Some(State::Safe) => drop(answer.send(())),
        }
        Known::Yes
    }

    /// Notes how a message ended; who else waits for it. One that is not safe is forgotten.
    pub fn end(&mut self, key: u64, safe: bool, now: Instant) -> Vec<Answer> {
        let before = match safe {
            true => self.known.insert(key, State::Safe),
            false => self.known.remove(&key),
        };
        if safe {
            self.safe.push_back((now, key));
            self.forget_old(now);
        }
        match before {
            Some(State::UnderWay(waiting)) => waiting,
            Some(State::Safe) | None => Vec::new(),
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((since, key)) = self.safe.front().copied() {
            if self.safe.len() <= WINDOW_MESSAGES && now.saturating_duration_since(since) < WINDOW {
                return;
            }
            self.safe.pop_front();
            self.known.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> (Answer, oneshot::Receiver<()>) {
        oneshot::channel()
    }

    #[test]
    fn one_that_is_sent_again_hears_what_becomes_of_the_first() {
        let now = Instant::now();
        for is_safe in [true, false] {
            let mut window = Window::default();
            let ((first, _), (second, mut heard)) = (answer(), answer());
            assert!(matches!(window.meet(7, now, first), Known::No(_)));
            assert!(matches!(window.meet(7, now, second), Known::Yes));
            let waiting = window.end(7, is_safe, now);
            assert_eq!(waiting.len(), 1);
            if is_safe {
                waiting.into_iter().for_each(|answer| answer.send(()).unwrap());
            } else {
                drop(waiting);
            }
            assert_eq!(heard.try_recv().is_ok(), is_safe);
        }
    }

    #[test]
    fn what_is_safe_is_remembered_for_a_while_and_what_is_not_is_forgotten() {
        let now = Instant::now();
        let mut window = Window::default();
        for (key, is_safe) in [(1, true), (2, false)] {
            assert!(matches!(window.meet(key, now, answer().0), Known::No(_)));
            window.end(key, is_safe, now);
        }
        let (again, mut heard) = answer();
        assert!(matches!(window.meet(1, now + WINDOW / 2, again), Known::Yes));
        assert_eq!(heard.try_recv(), Ok(()));
        assert!(matches!(window.meet(2, now, answer().0), Known::No(_)));
        assert!(matches!(window.meet(1, now + WINDOW, answer().0), Known::No(_)));
    }

    #[test]
    fn not_more_are_remembered_than_may_be() {
        let now = Instant::now();
        let mut window = Window::default();
        for key in 0..WINDOW_MESSAGES as u64 + 10 {
            assert!(matches!(window.meet(key, now, answer().0), Known::No(_)));
            window.end(key, true, now);
        }
        assert_eq!((window.known.len(), window.safe.len()), (WINDOW_MESSAGES, WINDOW_MESSAGES));
        assert!(matches!(window.meet(5, now, answer().0), Known::No(_)));
        assert!(matches!(window.meet(20, now, answer().0), Known::Yes));
    }
}
