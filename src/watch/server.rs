//! Serves a page and its newest graph to browsers on this machine.
//!
//! The server listens on the loopback interface only. The address holds 128 random bits, so nobody
//! else on the machine, and no other page in the browser, can read the graph.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Shown, Watch};

/// A browser that takes longer to ask or to read is let go.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most requests that are answered at the same time.
const MOST_REQUESTS: usize = 32;
/// Longer heads of requests are refused, in bytes.
const LONGEST_HEAD: usize = 16 << 10;

/// A server that runs as long as a recording goes on.
pub(crate) struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

struct Shared {
    watch: Arc<Watch>,
    page: Vec<u8>,
    token: String,
    requests: AtomicUsize,
}

impl Server {
    /// Serves `page` and the graph of `watch` on a free port.
    pub(crate) fn start(watch: Arc<Watch>, page: Vec<u8>) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared =
            Arc::new(Shared { watch, page, token: token()?, requests: AtomicUsize::new(0) });
        let accepting = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("server".into())
                .spawn(move || accept(&listener, &shared))?
        };
        Ok(Server { shared, address, accepting })
    }

    /// The page's address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/{}/", self.address, self.shared.token)
    }

    /// Ends the server, once pages that wait have the last graph.
    pub(crate) fn stop(self) {
        self.shared.watch.wait_for_page(PATIENCE);
        self.shared.watch.end();
        // Accepting ends with the next connection.
        let _ = TcpStream::connect(self.address);
        let _ = self.accepting.join();
    }
}

/// 128 random bits as text.
fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn accept(listener: &TcpListener, shared: &Shared) {
    thread::scope(|scope| {
        for stream in listener.incoming() {
            if shared.watch.has_ended() {
                break;
            }
            let Ok(stream) = stream else { continue };
            if shared.requests.fetch_add(1, Ordering::SeqCst) >= MOST_REQUESTS {
                shared.requests.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let answer = move || {
                // A browser may go at any time.
                let _ = shared.answer(stream);
                shared.requests.fetch_sub(1, Ordering::SeqCst);
            };
            if thread::Builder::new().name("request".into()).spawn_scoped(scope, answer).is_err() {
                shared.requests.fetch_sub(1, Ordering::SeqCst);
            }
        }
    });
}

impl Shared {
    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let path = path(&mut stream)?;
        let mut parts = path.splitn(3, '/').skip(1);
        let token = parts.next();
        let rest = parts.next().unwrap_or_default();
        if token != Some(&*self.token) {
            return reply(&mut stream, "404 Not Found", "", b"");
        }
        if rest.is_empty() {
            self.watch.open();
            return reply(&mut stream, "200 OK", "Content-Type: text/html\r\n", &self.page);
        }
        let Some(version) = rest.strip_prefix("graph?after=").and_then(|it| it.parse().ok()) else {
            return reply(&mut stream, "404 Not Found", "", b"");
        };
        let shown = self.watch.newer(version);
        if shown.version <= version {
            return reply(&mut stream, "204 No Content", "", b"");
        }
        let Shown { version, graph, is_last, .. } = shown;
        let last = if is_last { "X-Last: 1\r\n" } else { "" };
        let headers = format!("Content-Type: text/plain\r\nX-Version: {version}\r\n{last}");
        reply(&mut stream, "200 OK", &headers, &graph)?;
        self.watch.give(version);
        Ok(())
    }
}

/// The path of a request: `/a/b?c` of `GET /a/b?c HTTP/1.1`.
fn path(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut piece)?;
        if read == 0 || head.len() > LONGEST_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&piece[..read]);
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split([' ', '\r']);
    match (words.next(), words.next()) {
        (Some("GET"), Some(path)) => Ok(path.to_owned()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn reply(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
         X-Content-Type-Options: nosniff\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn only_who_knows_the_address_gets_the_graph() {
        let watch = Arc::new(Watch::default());
        let server = Server::start(Arc::clone(&watch), b"the page".to_vec()).unwrap();
        let url = server.url();
        let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        assert_eq!(path.len(), 33);
        assert!(ask(address, &format!("/{path}")).ends_with("\r\n\r\nthe page"));
        watch.show(b"stacks".to_vec(), true);
        let graph = ask(address, &format!("/{path}graph?after=0"));
        assert!(
            graph.contains("X-Version: 1\r\nX-Last: 1") && graph.ends_with("\r\n\r\nstacks"),
            "{graph}"
        );
        for wrong in ["/", "/graph?after=0", "//graph?after=0", &format!("/{path}other")] {
            assert!(ask(address, wrong).starts_with("HTTP/1.1 404"), "{wrong}");
        }
        // A page that has the newest version waits for the end.
        let waiting = {
            let address = address.to_owned();
            let path = format!("/{path}graph?after=1");
            thread::spawn(move || ask(&address, &path))
        };
        while !watch.is_wanted() {
            thread::yield_now();
        }
        server.stop();
        assert!(waiting.join().unwrap().starts_with("HTTP/1.1 204"));
    }
}
