//! As much of HTTP/1.1 as a proxy needs: where a message begins, where it ends, and whether the connection outlives it.

use std::io::{self, BufRead, Read, Write};

/// No message before us has a longer head.
const LONGEST_HEAD: usize = 64 << 10;

/// A request or an answer, with its body read whole.
pub(crate) struct Message {
    /// The first line and the headers as they came, each with its line end, without the empty line.
    pub(crate) head: String,
    pub body: Vec<u8>,
    /// Whether the connection ends with it.
    pub closes: bool,
}

impl Message {
    /// An answer with S3's error document.
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>injected</Message></Error>"
        );
        let head = format!(
            "HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n",
            body.len()
        );
        Self {
            head,
            body: body.into_bytes(),
            closes: true,
        }
    }

    /// A web server's page.
    pub fn page(status: u16) -> Self {
        let body = match status {
            204 => "",
            _ => "<!DOCTYPE html>\n<html><body><h1>Welcome</h1><br>Please log in.</body></html>\n",
        };
        let length = body.len();
        let head = match status {
            204 => "HTTP/1.1 204 No Content\r\nConnection: close\r\n".to_owned(),
            _ => format!(
                "HTTP/1.1 {status} Page\r\nContent-Type: text/html\r\nETag: \"5f3-21\"\r\n\
                 Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n"
            ),
        };
        Self {
            head,
            body: body.as_bytes().to_vec(),
            closes: true,
        }
    }

    /// Replaces what a header says, if it is there.
    fn set(&mut self, name: &str, value: &str) {
        let replace = |line: &str| match line.split_once(':') {
            Some((key, _)) if key.trim().eq_ignore_ascii_case(name) => {
                format!("{key}: {value}\r\n")
            }
            _ => line.to_owned(),
        };
        self.head = self.head.split_inclusive('\n').map(replace).collect();
    }

    /// Lets go of the body's second half, unless it comes in chunks.
    pub fn shorten(&mut self) {
        if self.header("content-length").is_some() && !self.body.is_empty() {
            self.body.truncate(self.body.len() / 2);
            let length = self.body.len().to_string();
            self.set("content-length", &length);
        }
    }

    /// Moves the range that the answer says it has by a byte.
    pub fn move_range(&mut self) {
        let moved = self.header("content-range").and_then(|range| {
            let (range, total) = range.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = range.split_once('-')?;
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            Some(format!("bytes {}-{}/{total}", first + 1, last + 1))
        });
        if let Some(moved) = moved {
            self.set("content-range", &moved);
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.head.len() + 2 + self.body.len());
        bytes.extend_from_slice(self.head.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or("")
    }

    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or("")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim()
                .eq_ignore_ascii_case(name)
                .then_some(value.trim())
        })
    }

    fn length(&self) -> io::Result<Option<u64>> {
        self.header("content-length")
            .map(|value| value.parse().map_err(|_| broken("a bad Content-Length")))
            .transpose()
    }

    fn has(&self, name: &str, word: &str) -> bool {
        self.header(name)
            .is_some_and(|value| value.to_ascii_lowercase().contains(word))
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The first line and the headers; `None` where the connection ends before them.
fn read_head(from: &mut impl BufRead) -> io::Result<Option<Message>> {
    let mut head = String::new();
    loop {
        let at = head.len();
        let limit = (LONGEST_HEAD - at) as u64;
        if from.by_ref().take(limit).read_line(&mut head)? == 0 {
            return match head.is_empty() {
                true => Ok(None),
                false => Err(broken("a head that does not end")),
            };
        }
        if head[at..].trim_end().is_empty() {
            head.truncate(at);
            if !head.is_empty() {
                break;
            }
        }
    }
    Ok(Some(Message {
        head,
        body: Vec::new(),
        closes: false,
    }))
}

fn read_exactly(from: &mut impl BufRead, length: u64) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    from.by_ref().take(length).read_to_end(&mut body)?;
    if (body.len() as u64) < length {
        return Err(broken("a body that ends early"));
    }
    Ok(body)
}

/// The next request of a client, which is told to go on where it asks.
pub(crate) fn read_request(
    from: &mut impl BufRead,
    to: &mut impl Write,
) -> io::Result<Option<Message>> {
    let Some(mut request) = read_head(from)? else {
        return Ok(None);
    };
    if request.has("expect", "100-continue") {
        to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        // The server would answer it a second time.
        let is_other = |line: &&str| !line.to_ascii_lowercase().starts_with("expect:");
        let lines = request.head.split_inclusive('\n').filter(is_other);
        request.head = lines.collect();
    }
    if request.has("transfer-encoding", "chunked") {
        return Err(broken("a request in chunks"));
    }
    if let Some(length) = request.length()? {
        request.body = read_exactly(from, length)?;
    }
    Ok(Some(request))
}

/// The server's answer to a request; one to a HEAD has no body, whatever it says.
pub(crate) fn read_answer(from: &mut impl BufRead, to_head: bool) -> io::Result<Message> {
    let mut answer = loop {
        let answer = read_head(from)?.ok_or_else(|| broken("no answer"))?;
        // Interim answers are not for the client, which was told to go on already.
        if !answer.path().starts_with('1') {
            break answer;
        }
    };
    answer.closes = answer.has("connection", "close") || answer.head.starts_with("HTTP/1.0");
    let status = answer.path();
    if to_head || status == "204" || status == "304" {
        return Ok(answer);
    }
    if answer.has("transfer-encoding", "chunked") {
        answer.body = read_chunks(from)?;
    } else if let Some(length) = answer.length()? {
        answer.body = read_exactly(from, length)?;
    } else {
        from.read_to_end(&mut answer.body)?;
        answer.closes = true;
    }
    Ok(answer)
}

/// A chunked body as it came, chunk heads included.
fn read_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let at = body.len();
        from.by_ref()
            .take(LONGEST_HEAD as u64)
            .read_until(b'\n', &mut body)?;
        let line = String::from_utf8_lossy(&body[at..]).into_owned();
        let digits = line.trim().split(';').next().unwrap_or("");
        let length = u64::from_str_radix(digits, 16).map_err(|_| broken("a bad chunk"))?;
        if length > 0 {
            body.extend(read_exactly(from, length + 2)?);
            continue;
        }
        // Trailers, up to an empty line.
        loop {
            let at = body.len();
            if from.read_until(b'\n', &mut body)? == 0 || body[at..].trim_ascii().is_empty() {
                return Ok(body);
            }
        }
    }
}
