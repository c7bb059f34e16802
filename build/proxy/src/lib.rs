//! An HTTP proxy that fails as networks and object stores do, for tests and measurements.
//!
//! It stands before one server and passes every request on, unless a [`Rule`] says otherwise; rules are tried in the order they were added, and
//! the first that applies to a request decides it. Random ones draw from a seed. It can also be cut off as a whole, and give every
//! request of a method a fixed latency. It speaks as much of HTTP/1.1 as clients of object stores do: requests with a Content-Length,
//! answers of every kind, connections that are kept.

mod http;
mod plan;
#[cfg(test)]
mod tests;

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use plan::{Fault, Rule};

use http::{Message, read_answer, read_request};
use plan::Plan;

/// How often a proxy that is to end, or to be slow, looks up.
const TICK: Duration = Duration::from_millis(20);

/// A running proxy; it ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: SocketAddr,
    plan: Mutex<Plan>,
    cut_off: AtomicBool,
    ended: AtomicBool,
    requests: AtomicU64,
    faults: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
    timed: Mutex<Option<Timed>>,
}

/// How long requests of one method took, while somebody wants to know.
struct Timed {
    method: String,
    times: Vec<Duration>,
}

impl Proxy {
    /// Starts a proxy before `upstream` on a free port of this machine.
    pub fn start(upstream: SocketAddr, seed: u64) -> io::Result<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), upstream, seed)
    }

    /// The same, listening on `listen`.
    pub fn start_on(listen: SocketAddr, upstream: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            plan: Mutex::new(Plan::new(seed)),
            cut_off: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            open: Mutex::new(Vec::new()),
            timed: Mutex::new(None),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&listener, &accepting));
        Ok(Self {
            address,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a rule.
    pub fn add(&self, rule: Rule) {
        self.shared.plan().rules.push(rule);
    }

    /// Removes all rules and latencies, and lets requests through again.
    pub fn heal(&self) {
        let mut plan = self.shared.plan();
        plan.rules.clear();
        plan.latencies.clear();
        drop(plan);
        self.cut_off(false);
    }

    /// Every request of `method` is answered this much after it came, and no earlier: what the server takes itself is part of it.
    pub fn set_latency(&self, method: &str, latency: Duration) {
        self.shared
            .plan()
            .latencies
            .insert(method.to_owned(), latency);
    }

    /// From now on notes how long each request of `method` takes, from when it is here as a whole until its answer begins.
    pub fn start_timing(&self, method: &str) {
        *self.shared.timed() = Some(Timed {
            method: method.to_owned(),
            times: Vec::new(),
        });
    }

    /// What was noted since [`Proxy::start_timing`], and no more from now on.
    pub fn stop_timing(&self) -> Vec<Duration> {
        let timed = self.shared.timed().take();
        timed.map(|timed| timed.times).unwrap_or_default()
    }

    /// Whether nobody gets through: connections are cut, and new ones as soon as they are made.
    pub fn cut_off(&self, cut: bool) {
        self.shared.cut_off.store(cut, Ordering::SeqCst);
        if cut {
            self.shared.close_all();
        }
    }

    /// Requests that came.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many of them met a fault.
    pub fn faults(&self) -> u64 {
        self.shared.faults.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.close_all();
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timed(&self) -> MutexGuard<'_, Option<Timed>> {
        self.timed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_time(&self, method: &str, time: Duration) {
        if let Some(timed) = &mut *self.timed()
            && timed.method == method
        {
            timed.times.push(time);
        }
    }

    fn close_all(&self) {
        for stream in self.open().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn refuses(&self) -> bool {
        self.cut_off.load(Ordering::SeqCst) || self.ended.load(Ordering::SeqCst)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else {
            continue;
        };
        let copies = (stream.try_clone(), stream.try_clone());
        let (Ok(kept), Ok(writing)) = copies else {
            continue;
        };
        let mut open = shared.open();
        open.retain(|stream| stream.peer_addr().is_ok());
        open.push(kept);
        drop(open);
        // Looked at after the stream is where `close_all` finds it.
        if shared.refuses() {
            let _ = writing.shutdown(Shutdown::Both);
            continue;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // A connection that breaks is what this program is for.
            let _ = serve(stream, &writing, &shared);
            let _ = writing.shutdown(Shutdown::Both);
        });
    }
}

/// The connection to the server, made when it is first needed.
struct Upstream<'a> {
    shared: &'a Shared,
    stream: Option<BufReader<TcpStream>>,
}

impl Upstream<'_> {
    fn exchange(&mut self, request: &Message) -> io::Result<Message> {
        let kept = self.stream.is_some();
        match self.exchange_once(request) {
            // The server may have closed a connection that idled.
            Err(_) if kept => {
                self.stream = None;
                self.exchange_once(request)
            }
            result => result,
        }
    }

    fn exchange_once(&mut self, request: &Message) -> io::Result<Message> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.shared.upstream)?;
                stream.set_nodelay(true)?;
                self.stream.insert(BufReader::new(stream))
            }
        };
        stream.get_mut().write_all(&request.bytes())?;
        let answer = read_answer(stream, request.method() == "HEAD")?;
        if answer.closes {
            self.stream = None;
        }
        Ok(answer)
    }
}

/// Serves one client until it leaves or a fault cuts it off.
fn serve(client: TcpStream, mut writing: &TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut reading = BufReader::new(client);
    let mut upstream = Upstream {
        shared,
        stream: None,
    };
    while let Some(request) = read_request(&mut reading, &mut writing)? {
        let came = Instant::now();
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let (fault, latency) = shared.plan().decide(request.method(), request.path());
        if fault.is_some() {
            shared.faults.fetch_add(1, Ordering::SeqCst);
        }
        let answer = match fault {
            Some(Fault::DropRequest) => return Ok(()),
            Some(Fault::Answer { status, code }) => Message::error(status, code),
            Some(Fault::Page { status }) => Message::page(status),
            _ => upstream.exchange(&request)?,
        };
        if let Some(latency) = latency {
            wait_until(came + latency, shared);
        }
        let answer = match fault {
            Some(Fault::DropAnswer) => return Ok(()),
            Some(Fault::AnswerInstead { status, code }) => Message::error(status, code),
            Some(Fault::PageInstead { status }) => Message::page(status),
            Some(Fault::Shorten) => {
                let mut answer = answer;
                answer.shorten();
                answer
            }
            Some(Fault::WrongRange) => {
                let mut answer = answer;
                answer.move_range();
                answer
            }
            Some(Fault::Delay(delay)) => {
                wait_until(Instant::now() + delay, shared);
                answer
            }
            _ => answer,
        };
        if shared.refuses() {
            return Ok(());
        }
        shared.note_time(request.method(), came.elapsed());
        let bytes = answer.bytes();
        match fault {
            Some(Fault::Truncate) => {
                let body = answer.body.len();
                let whole = bytes.len();
                return writing.write_all(&bytes[..whole - body.div_ceil(2)]);
            }
            Some(Fault::Throttle { bytes_per_second }) => {
                trickle(writing, &bytes, bytes_per_second, shared)?;
            }
            _ => writing.write_all(&bytes)?,
        }
        if answer.closes {
            return Ok(());
        }
    }
    Ok(())
}

fn wait_until(end: Instant, shared: &Shared) {
    while !shared.refuses() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(TICK));
    }
}

fn trickle(mut to: &TcpStream, bytes: &[u8], per_second: u64, shared: &Shared) -> io::Result<()> {
    let piece = (per_second / 50).max(1);
    for piece in bytes.chunks(usize::try_from(piece).unwrap_or(usize::MAX)) {
        to.write_all(piece)?;
        wait_until(Instant::now() + TICK, shared);
    }
    Ok(())
}
