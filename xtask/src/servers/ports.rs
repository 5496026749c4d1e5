//! Which ports a server listens on.
//!
//! 1. The default instance, the one that people mean who do not say which, has the ports that everybody knows, which the
//!    configurations in configs/ name, wherever nobody else has them: also where it had others the last time.
//! 2. Every other instance, such as those of tests, keeps what it had, and takes ports that are free at first, so that
//!    no two collide.
//! 3. A port that is taken is no error: another is found, and what is printed of the server says which.

use std::{io, net::TcpListener};

use crate::error::{Error, Result};

/// A port for each purpose of the instance `name`: `known` has the port that everybody knows, if there is one, `had` what
/// it had the last time.
pub fn choose(name: &str, known: &[Option<u16>], had: &[u16]) -> Result<Vec<u16>> {
    pick(&choices(name, known, had))
}

/// For each purpose the ports that are best, the best first.
fn choices(name: &str, known: &[Option<u16>], had: &[u16]) -> Vec<Vec<u16>> {
    let is_default = name == super::DEFAULT_INSTANCE;
    let of = |(index, known): (usize, &Option<u16>)| {
        known.filter(|_| is_default).into_iter().chain(had.get(index).copied()).collect()
    };
    known.iter().enumerate().map(of).collect()
}

/// For each the first of these ports that is free, else another.
fn pick(choices: &[Vec<u16>]) -> Result<Vec<u16>> {
    let bind = |port: u16| TcpListener::bind(("127.0.0.1", port));
    // All are held until all are found, so that none is given twice.
    let mut held = Vec::new();
    for wanted in choices {
        let free = wanted.iter().find_map(|port| bind(*port).ok());
        held.push(free.map_or_else(|| bind(0), Ok).map_err(no_port)?);
    }
    held.iter().map(|listener| Ok(listener.local_addr().map_err(no_port)?.port())).collect()
}

fn no_port(cause: io::Error) -> Error {
    Error::failed(format!("no free port: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_told_apart_and_kept_while_they_are_free() {
        let first = choose("one", &[None; 5], &[]).unwrap();
        let distinct: std::collections::BTreeSet<u16> = first.iter().copied().collect();
        assert_eq!(distinct.len(), 5);
        assert_eq!(choose("one", &[None; 5], &first).unwrap(), first);
        let taken = TcpListener::bind(("127.0.0.1", first[0])).unwrap();
        let others = choose("one", &[None; 5], &first).unwrap();
        assert_ne!(others[0], first[0]);
        assert_eq!(others[1..], first[1..]);
        assert_eq!(pick(&[vec![first[0], first[1]]]).unwrap(), [first[1]]);
        drop(taken);
    }

    #[test]
    fn the_default_instance_has_the_known_port_whatever_it_had_before() {
        let (known, had) = ([Some(9200), None], [41_147, 41_148]);
        let default = super::super::DEFAULT_INSTANCE;
        assert_eq!(choices(default, &known, &had), [vec![9200, 41_147], vec![41_148]]);
        assert_eq!(choices(default, &known, &[]), [vec![9200], Vec::new()]);
        assert_eq!(choices("other", &known, &had), [vec![41_147], vec![41_148]]);
    }
}
