use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// A server that answers every request with its number and the length of its body, in one of three framings by its path.
struct Server {
    address: SocketAddr,
    served: Arc<AtomicU64>,
}

fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&served);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let counter = Arc::clone(&counter);
            thread::spawn(move || answer(stream.unwrap(), &counter));
        }
    });
    Server { address, served }
}

fn answer(stream: TcpStream, served: &AtomicU64) {
    let mut writing = stream.try_clone().unwrap();
    let mut reading = BufReader::new(stream);
    while let Ok(Some(request)) = read_request(&mut reading, &mut std::io::sink()) {
        let number = served.fetch_add(1, Ordering::SeqCst) + 1;
        let text = format!("request {number} had {} bytes", request.body.len());
        let (framing, body) = match request.path() {
            "/chunks" => (
                "Transfer-Encoding: chunked".to_owned(),
                format!(
                    "5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                    &text[..5],
                    text.len() - 5,
                    &text[5..]
                ),
            ),
            "/close" => ("Connection: close".to_owned(), text),
            _ => (format!("Content-Length: {}", text.len()), text),
        };
        let body = if request.method() == "HEAD" {
            ""
        } else {
            &body
        };
        let _ = write!(writing, "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}");
        if request.path() == "/close" {
            let _ = writing.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// One request on a connection of its own; the whole answer, as far as it comes.
fn ask(proxy: &Proxy, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    // The proxy may have cut the connection by now.
    let _ = write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut reading = BufReader::new(stream);
    let Ok(answer) = read_answer(&mut reading, method == "HEAD") else {
        return String::new();
    };
    String::from_utf8(answer.bytes()).unwrap()
}

#[test]
fn requests_and_answers_pass_unchanged() {
    let server = server();
    let proxy = Proxy::start(server.address, 1).unwrap();
    assert!(ask(&proxy, "PUT", "/a", "12345").ends_with("request 1 had 5 bytes"));
    assert!(ask(&proxy, "HEAD", "/a", "").ends_with("Content-Length: 21\r\n\r\n"));
    assert!(ask(&proxy, "GET", "/chunks", "").contains("reque\r\n10\r\nst 3 had 0 bytes\r\n"));
    assert!(ask(&proxy, "GET", "/close", "").ends_with("request 4 had 0 bytes"));
    assert_eq!((proxy.requests(), proxy.faults()), (4, 0));
}

#[test]
fn a_connection_is_kept_and_told_to_go_on() {
    let server = server();
    let proxy = Proxy::start(server.address, 1).unwrap();
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let mut reading = BufReader::new(stream.try_clone().unwrap());
    for number in 1..=3 {
        write!(
            stream,
            "PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        .unwrap();
        let mut line = String::new();
        reading.read_line(&mut line).unwrap();
        assert!(line.contains("100 Continue"), "{line}");
        reading.read_line(&mut line).unwrap();
        stream.write_all(b"ab").unwrap();
        let answer = read_answer(&mut reading, false).unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(text, format!("request {number} had 2 bytes"));
    }
}

#[test]
fn faults_do_what_they_are_named_for() {
    let server = server();
    let proxy = Proxy::start(server.address, 1).unwrap();
    let served = || server.served.load(Ordering::SeqCst);
    proxy.add(Rule::once("PUT", Fault::DropRequest));
    assert_eq!((ask(&proxy, "PUT", "/a", "x").as_str(), served()), ("", 0));
    proxy.add(Rule::once("PUT", Fault::DropAnswer));
    assert_eq!((ask(&proxy, "PUT", "/a", "x").as_str(), served()), ("", 1));
    proxy.add(Rule::once("", Fault::Truncate));
    assert_eq!((ask(&proxy, "GET", "/a", "").as_str(), served()), ("", 2));
    let slow = Fault::Answer {
        status: 503,
        code: "SlowDown",
    };
    proxy.add(Rule::once("GET", slow));
    assert!(ask(&proxy, "GET", "/a", "").contains("<Code>SlowDown</Code>"));
    assert_eq!(served(), 2);
    let late = Fault::AnswerInstead {
        status: 412,
        code: "PreconditionFailed",
    };
    proxy.add(Rule::once("PUT", late));
    assert!(ask(&proxy, "PUT", "/a", "x").starts_with("HTTP/1.1 412"));
    assert_eq!((served(), proxy.faults()), (3, 5));
    assert!(ask(&proxy, "PUT", "/a", "x").starts_with("HTTP/1.1 200"));
}

#[test]
fn pages_and_changed_answers_come_instead() {
    let server = server();
    let proxy = Proxy::start(server.address, 1).unwrap();
    let served = || server.served.load(Ordering::SeqCst);
    proxy.add(Rule::once("PUT", Fault::Page { status: 200 }));
    let page = ask(&proxy, "PUT", "/a", "x");
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("<html>"),
        "{page}"
    );
    assert_eq!(served(), 0);
    proxy.add(Rule::once("PUT", Fault::PageInstead { status: 204 }));
    let page = ask(&proxy, "PUT", "/a", "x");
    assert!(
        page.starts_with("HTTP/1.1 204") && page.ends_with("\r\n\r\n"),
        "{page}"
    );
    assert_eq!(served(), 1);
    proxy.add(Rule::once("GET", Fault::Shorten));
    let half = ask(&proxy, "GET", "/a", "");
    assert!(
        half.ends_with("Content-Length: 10\r\n\r\nrequest 2 "),
        "{half}"
    );
    let mut ranged = Message {
        head: "HTTP/1.1 206 Partial\r\nContent-Range: bytes 3-9/20\r\nContent-Length: 7\r\n"
            .to_owned(),
        body: b"1234567".to_vec(),
        closes: false,
    };
    ranged.move_range();
    let text = String::from_utf8(ranged.bytes()).unwrap();
    assert!(
        text.contains("Content-Range: bytes 4-10/20\r\nContent-Length: 7\r\n\r\n1234567"),
        "{text}"
    );
}

#[test]
fn latency_delay_and_throttling_take_their_time() {
    let server = server();
    let proxy = Proxy::start(server.address, 1).unwrap();
    let time = |method: &str| {
        let start = Instant::now();
        assert!(ask(&proxy, method, "/a", "").contains("200"));
        start.elapsed()
    };
    proxy.set_latency("PUT", Duration::from_millis(300));
    assert!(time("PUT") >= Duration::from_millis(300));
    proxy.heal();
    proxy.add(Rule::once("GET", Fault::Delay(Duration::from_millis(200))));
    assert!(time("GET") >= Duration::from_millis(200));
    let bytes_per_second = 200;
    proxy.add(Rule::once("GET", Fault::Throttle { bytes_per_second }));
    assert!(time("GET") >= Duration::from_millis(200));
}

#[test]
fn cut_off_nobody_gets_through_until_it_heals() {
    let server = server();
    let proxy = Proxy::start(server.address, 1).unwrap();
    let mut idle = TcpStream::connect(proxy.address()).unwrap();
    write!(idle, "GET /a HTTP/1.1\r\n\r\n").unwrap();
    let answer = read_answer(&mut BufReader::new(idle.try_clone().unwrap()), false);
    assert!(answer.is_ok());
    proxy.cut_off(true);
    assert_eq!(idle.read(&mut [0; 8]).unwrap_or(0), 0);
    assert_eq!(ask(&proxy, "GET", "/a", ""), "");
    proxy.cut_off(false);
    assert!(ask(&proxy, "GET", "/a", "").contains("200"));
}

#[test]
fn chance_follows_the_seed() {
    let draw = |seed| {
        let mut plan = Plan::new(seed);
        plan.rules.push(Rule::sometimes(4, Fault::DropAnswer));
        let drawn: Vec<bool> = (0..400)
            .map(|_| plan.decide("GET", "/a").0.is_some())
            .collect();
        drawn
    };
    let met = draw(7).iter().filter(|met| **met).count();
    assert!((60..140).contains(&met), "{met}");
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}

#[test]
fn requests_of_one_method_are_timed_while_it_is_asked_for() {
    let server = server();
    let proxy = Proxy::start(server.address, 1).unwrap();
    let latency = Duration::from_millis(30);
    proxy.set_latency("PUT", latency);
    ask(&proxy, "PUT", "/a", "before");
    proxy.start_timing("PUT");
    ask(&proxy, "PUT", "/a", "one");
    ask(&proxy, "GET", "/a", "");
    ask(&proxy, "PUT", "/a", "two");
    let times = proxy.stop_timing();
    ask(&proxy, "PUT", "/a", "after");
    assert_eq!(times.len(), 2);
    assert!(times.iter().all(|time| *time >= latency), "{times:?}");
    assert!(proxy.stop_timing().is_empty());
}
