//! As much HTTP as it takes to ask a server on this machine whether it is ready.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// Longer than the server is asked to wait by any request of ours.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The status that a GET on loopback is answered with.
pub fn status(port: u16, path: &str) -> io::Result<u16> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    // `HTTP/1.1 200`: the rest says nothing more.
    let mut line = [0; 12];
    stream.read_exact(&mut line)?;
    let digits = line.get(9..).and_then(|digits| std::str::from_utf8(digits).ok());
    let status = digits.filter(|_| line.starts_with(b"HTTP/1.")).and_then(|digits| digits.parse().ok());
    status.ok_or_else(|| io::Error::other("that is not HTTP"))
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn answered(with: &'static str) -> io::Result<u16> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /health HTTP/1.1\r\n"));
            stream.write_all(with.as_bytes()).unwrap();
        });
        let status = status(port, "/health");
        server.join().unwrap();
        status
    }

    #[test]
    fn the_status_is_read() {
        assert_eq!(answered("HTTP/1.1 408 Request Timeout\r\n\r\n").unwrap(), 408);
        assert!(answered("HTTP/1.1 OK and more\r\n").is_err());
        assert!(answered("220 mail.example").is_err());
        assert!(answered("HTTP").is_err());
    }
}
