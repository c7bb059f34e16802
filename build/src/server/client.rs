//! A MySQL client over a Unix socket: enough of the protocol for a server of our own, which has a `root` without a
//! password. Rows stay in one buffer as they came, so comparing results compares bytes.

use std::fmt;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

// Capability flags.
const LONG_PASSWORD: u32 = 1;
const PROTOCOL_41: u32 = 1 << 9;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
const DEPRECATE_EOF: u32 = 1 << 24;

const UTF8MB4: u8 = 255;
const COM_QUERY: u8 = 3;
/// A payload of this length goes on in the next packet.
const MAX_PACKET: usize = 0xff_ffff;

/// An error that the server sent.
#[derive(Debug)]
pub struct SqlError {
    pub code: u16,
    pub message: String,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ERROR {}: {}", self.code, self.message)
    }
}

impl std::error::Error for SqlError {}

/// A connection.
pub struct Client {
    stream: BufReader<UnixStream>,
    sequence: u8,
}

/// The rows of a result; none for a statement without rows.
#[derive(Default)]
pub struct Rows {
    data: Vec<u8>,
    ends: Vec<usize>,
    /// How many rows the statement changed.
    pub affected: u64,
}

impl Client {
    /// Connects as `root`.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("connect to {}", socket.display()))?;
        let mut client = Self {
            stream: BufReader::with_capacity(1 << 16, stream),
            sequence: 0,
        };
        client.log_in()?;
        Ok(client)
    }

    /// From now on it is an error if an answer takes longer than this.
    pub fn set_patience(&mut self, limit: Duration) -> Result<()> {
        self.stream.get_ref().set_read_timeout(Some(limit))?;
        Ok(())
    }

    /// Whether an error of [`Client::query`] says that [`Client::set_patience`]'s limit has passed.
    pub fn ran_out_of_patience(error: &anyhow::Error) -> bool {
        error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn log_in(&mut self) -> Result<()> {
        let greeting = self.read_packet()?;
        if greeting.first() == Some(&0xff) {
            return Err(server_error(&greeting).into());
        }
        let capabilities = LONG_PASSWORD
            | PROTOCOL_41
            | TRANSACTIONS
            | SECURE_CONNECTION
            | PLUGIN_AUTH
            | DEPRECATE_EOF;
        let mut answer = capabilities.to_le_bytes().to_vec();
        answer.extend((1u32 << 30).to_le_bytes());
        answer.push(UTF8MB4);
        answer.extend([0; 23]);
        answer.extend(b"root\0");
        // No password: an empty response, which every authentication method understands.
        answer.push(0);
        answer.extend(b"caching_sha2_password\0");
        self.write_packet(&answer)?;
        loop {
            let packet = self.read_packet()?;
            match packet.first() {
                Some(0x00) => return Ok(()),
                Some(0xfe) => self.write_packet(&[])?,
                Some(0xff) => return Err(server_error(&packet).into()),
                _ => bail!("the server asks root for a password"),
            }
        }
    }

    /// Runs one statement.
    pub fn query(&mut self, sql: &str) -> Result<Rows> {
        self.sequence = 0;
        let mut command = Vec::with_capacity(sql.len() + 1);
        command.push(COM_QUERY);
        command.extend(sql.as_bytes());
        self.write_packet(&command)?;
        let first = self.read_packet()?;
        let mut rows = Rows::default();
        let columns = match first.first() {
            Some(0x00) => {
                rows.affected = Cursor(&first[1..]).integer().unwrap_or(0);
                return Ok(rows);
            }
            Some(0xff) => return Err(server_error(&first).into()),
            _ => Cursor(&first)
                .integer()
                .context("the server sent a result without a column count")?,
        };
        for _ in 0..columns {
            self.read_packet()?;
        }
        loop {
            let packet = self.read_packet()?;
            match packet.first() {
                // A row may begin with this byte too, but then it is longer than the largest end marker.
                Some(0xfe) if packet.len() < MAX_PACKET => return Ok(rows),
                Some(0xff) => return Err(server_error(&packet).into()),
                _ => {
                    rows.data.extend(&packet);
                    rows.ends.push(rows.data.len());
                }
            }
        }
    }

    fn read_packet(&mut self) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        loop {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header).map_err(lost)?;
            let size =
                usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
            self.sequence = header[3].wrapping_add(1);
            let start = payload.len();
            payload.resize(start + size, 0);
            self.stream
                .read_exact(&mut payload[start..])
                .map_err(lost)?;
            if size < MAX_PACKET {
                return Ok(payload);
            }
        }
    }

    fn write_packet(&mut self, payload: &[u8]) -> Result<()> {
        let mut rest = payload;
        loop {
            let (part, after) = rest.split_at(rest.len().min(MAX_PACKET));
            let size = u32::try_from(part.len())?.to_le_bytes();
            let header = [size[0], size[1], size[2], self.sequence];
            self.sequence = self.sequence.wrapping_add(1);
            let stream = self.stream.get_mut();
            stream.write_all(&header)?;
            stream.write_all(part)?;
            if part.len() < MAX_PACKET {
                return Ok(());
            }
            rest = after;
        }
    }
}

fn lost(error: std::io::Error) -> anyhow::Error {
    let what = match error.kind() {
        ErrorKind::WouldBlock => "the server does not answer",
        _ => "the server closed the connection",
    };
    anyhow::Error::new(error).context(what)
}

fn server_error(packet: &[u8]) -> SqlError {
    let code = packet
        .get(1..3)
        .map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    // A state such as `#42S02` stands before the message, once logged in.
    let text = match packet.get(3..) {
        Some([b'#', rest @ ..]) => rest.get(5..).unwrap_or_default(),
        Some(rest) => rest,
        None => &[],
    };
    SqlError {
        code,
        message: String::from_utf8_lossy(text).into_owned(),
    }
}

impl Rows {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// A row's bytes as the server sent them: equal if and only if its values are.
    pub fn raw(&self, index: usize) -> &[u8] {
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1],
        };
        &self.data[start..self.ends[index]]
    }

    /// The values of a row as text; SQL's NULL is `None`.
    pub fn row(&self, index: usize) -> Vec<Option<String>> {
        let mut cursor = Cursor(self.raw(index));
        let mut values = Vec::new();
        while !cursor.0.is_empty() {
            values.push(cursor.text());
        }
        values
    }

    /// The first value of the first row, empty for none or NULL.
    pub fn scalar(&self) -> String {
        if self.ends.is_empty() {
            return String::new();
        }
        self.row(0).into_iter().next().flatten().unwrap_or_default()
    }
}

/// Reads length-encoded values off the front of a slice.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take(&mut self, size: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(size)?;
        self.0 = rest;
        Some(taken)
    }

    fn integer(&mut self) -> Option<u64> {
        let size = match self.take(1)?[0] {
            small @ 0..=0xfa => return Some(u64::from(small)),
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            _ => return None,
        };
        let bytes = self.take(size)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte)),
        )
    }

    fn text(&mut self) -> Option<String> {
        let size = match self.integer() {
            Some(size) => usize::try_from(size).ok()?,
            None => return None,
        };
        // A length past the end takes what is left, so that reading a row always ends.
        let bytes = match self.take(size) {
            Some(bytes) => bytes,
            None => std::mem::take(&mut self.0),
        };
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_encoded_integers_have_four_sizes() {
        let read = |bytes: &[u8]| Cursor(bytes).integer();
        assert_eq!(read(&[0xfa]), Some(250));
        assert_eq!(read(&[0xfc, 0x34, 0x12]), Some(0x1234));
        assert_eq!(read(&[0xfd, 1, 2, 3]), Some(0x03_0201));
        assert_eq!(read(&[0xfe, 1, 0, 0, 0, 0, 0, 0, 1]), Some(1 << 56 | 1));
        assert_eq!(read(&[0xfc, 1]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn rows_are_split_into_values() {
        let rows = Rows {
            data: b"\x01a\xfb\x02bc\x00".to_vec(),
            ends: vec![3, 7],
            affected: 0,
        };
        assert_eq!(rows.row(0), [Some("a".to_string()), None]);
        assert_eq!(rows.row(1), [Some("bc".to_string()), Some(String::new())]);
        assert_eq!(rows.scalar(), "a");
        assert_eq!(rows.raw(1), b"\x02bc\x00");
    }

    #[test]
    fn a_broken_row_still_ends() {
        let rows = Rows {
            data: b"\x09a".to_vec(),
            ends: vec![2],
            affected: 0,
        };
        assert_eq!(rows.row(0), [Some("a".to_string())]);
    }

    #[test]
    fn errors_carry_code_and_message_without_the_state() {
        let error = server_error(b"\xff\x7a\x04#42S02Table 'a.b' doesn't exist");
        assert_eq!(error.code, 1146);
        assert_eq!(error.message, "Table 'a.b' doesn't exist");
        assert_eq!(server_error(b"\xff").code, 0);
    }
}
