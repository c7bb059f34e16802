//! Compression of blocks, by a byte that is stored with each.
//!
//! A compressed payload is `varint raw length | compressed bytes`. Byte values: 0 stored as it is, 1 LZ4 (block format), 2 zstd (one frame).
//! A block that compression would not shrink by an eighth is stored as it is, so that reading it costs no decompression.

use std::cell::RefCell;
use std::io::Read;

use bytes::Bytes;

use super::bytes::{Put, Reader};
use super::clear_buffer;
use crate::{Error, ErrorKind, Result};

/// A way to compress blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// Stored as it is.
    None = 0,
    /// LZ4: fast both ways.
    #[default]
    Lz4 = 1,
    /// zstd: smaller, slower to write.
    Zstd = 2,
}

impl Compression {
    /// The compression that a stored byte stands for, if any.
    pub(crate) fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::None),
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// LZ4 takes at most this much in one block; larger ones are stored as they are.
const LZ4_MAX_INPUT: usize = 1 << 30;

/// LZ4 makes at most 255 bytes of one.
const LZ4_MAX_RATIO: usize = 255;

/// Up to this raw length the output is allocated at once.
const TRUSTED_LEN: usize = 1 << 20;

/// Up to this many times the compressed length, output of zstd is allocated at once; beyond, it grows as bytes really arrive.
const ZSTD_TRUSTED_RATIO: usize = 64;

/// Compresses blocks one after the other, keeping its tables and buffer.
pub struct Compressor {
    compression: Compression,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    lz4: lz4_flex::block::CompressTable,
    buffer: Vec<u8>,
}

impl Compressor {
    /// A compressor; `zstd_level` matters for zstd alone.
    pub fn new(compression: Compression, zstd_level: i32) -> Result<Self> {
        let zstd = match compression {
            Compression::Zstd => {
                Some(zstd::bulk::Compressor::new(zstd_level).map_err(|error| {
                    Error::with_source(
                        ErrorKind::Invalid,
                        format!("start zstd at level {zstd_level}: {error}"),
                        error,
                    )
                })?)
            }
            Compression::None | Compression::Lz4 => None,
        };
        Ok(Self {
            compression,
            zstd,
            lz4: lz4_flex::block::CompressTable::default(),
            buffer: Vec::new(),
        })
    }

    /// The bytes to store for `raw`, and how they are compressed.
    pub fn compress<'a>(&'a mut self, raw: &'a [u8]) -> Result<(Compression, &'a [u8])> {
        clear_buffer(&mut self.buffer);
        self.buffer.put_varint(raw.len() as u64);
        let header = self.buffer.len();
        let written = match (self.compression, &mut self.zstd) {
            (Compression::Lz4, _) if raw.len() <= LZ4_MAX_INPUT => {
                let bound = lz4_flex::block::get_maximum_output_size(raw.len());
                self.buffer.resize(header + bound, 0);
                lz4_flex::block::compress_into_with_table(
                    raw,
                    &mut self.buffer[header..],
                    &mut self.lz4,
                )
                .map_err(|error| internal("compress with LZ4", error))?
            }
            (Compression::Zstd, Some(zstd)) => {
                let bound = zstd::zstd_safe::compress_bound(raw.len());
                self.buffer.resize(header + bound, 0);
                zstd.compress_to_buffer(raw, &mut self.buffer[header..])
                    .map_err(|error| internal("compress with zstd", error))?
            }
            _ => return Ok((Compression::None, raw)),
        };
        let stored = header + written;
        if stored > raw.len() - raw.len() / 8 {
            return Ok((Compression::None, raw));
        }
        Ok((self.compression, &self.buffer[..stored]))
    }
}

fn internal(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::with_source(ErrorKind::Internal, format!("{what}: {error}"), error)
}

/// Undoes [`Compressor::compress`]. Nothing is copied if the bytes were stored as they are.
pub fn decompress(compression: Compression, stored: Bytes) -> Result<Bytes> {
    if compression == Compression::None {
        return Ok(stored);
    }
    let mut reader = Reader::new(&stored);
    let raw_len = usize::try_from(reader.varint("raw length")?)
        .map_err(|_| Error::corruption("raw length exceeds the address space"))?;
    let compressed = reader.rest();
    let raw = match compression {
        Compression::None => return Ok(stored),
        Compression::Lz4 => lz4(compressed, raw_len)?,
        Compression::Zstd => zstd(compressed, raw_len)?,
    };
    Ok(Bytes::from(raw))
}

fn lz4(compressed: &[u8], raw_len: usize) -> Result<Vec<u8>> {
    if raw_len > compressed.len().saturating_mul(LZ4_MAX_RATIO) {
        return Err(Error::corruption(format!(
            "raw length {raw_len} is more than LZ4 makes of {} bytes",
            compressed.len()
        )));
    }
    let corrupt = |error| Error::corruption(format!("decompress with LZ4: {error}"));
    if raw_len <= TRUSTED_LEN {
        // Spares filling the buffer first.
        let raw = lz4_flex::block::decompress(compressed, raw_len).map_err(corrupt)?;
        check_len(raw.len(), raw_len)?;
        return Ok(raw);
    }
    let mut raw = Vec::new();
    reserve(&mut raw, raw_len)?;
    raw.resize(raw_len, 0);
    let written = lz4_flex::block::decompress_into(compressed, &mut raw).map_err(corrupt)?;
    check_len(written, raw_len)?;
    Ok(raw)
}

thread_local! {
    /// A zstd context is large, and readers come and go; so each thread keeps one.
    static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

fn zstd(compressed: &[u8], raw_len: usize) -> Result<Vec<u8>> {
    let corrupt =
        |error: std::io::Error| Error::corruption(format!("decompress with zstd: {error}"));
    let mut raw = Vec::new();
    let trusted = TRUSTED_LEN.max(compressed.len().saturating_mul(ZSTD_TRUSTED_RATIO));
    if raw_len <= trusted {
        reserve(&mut raw, raw_len)?;
        ZSTD.with_borrow_mut(|slot| {
            let context = match slot {
                Some(context) => context,
                None => slot.insert(
                    zstd::bulk::Decompressor::new()
                        .map_err(|error| internal("start zstd", error))?,
                ),
            };
            context
                .decompress_to_buffer(compressed, &mut raw)
                .map_err(corrupt)
        })?;
    } else {
        // One byte more than announced shows that the announcement was too small.
        zstd::stream::read::Decoder::with_buffer(compressed)
            .map_err(corrupt)?
            .take((raw_len as u64).saturating_add(1))
            .read_to_end(&mut raw)
            .map_err(corrupt)?;
    }
    check_len(raw.len(), raw_len)?;
    Ok(raw)
}

fn reserve(raw: &mut Vec<u8>, len: usize) -> Result<()> {
    raw.try_reserve_exact(len).map_err(|error| {
        Error::with_source(
            ErrorKind::Unavailable,
            format!("no memory for a block of {len} bytes: {error}"),
            error,
        )
    })
}

fn check_len(written: usize, announced: usize) -> Result<()> {
    if written == announced {
        return Ok(());
    }
    Err(Error::corruption(format!(
        "block decompressed to {written} bytes, {announced} were announced"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1u64;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect()
    }

    #[test]
    fn round_trips() {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let mut compressor = Compressor::new(compression, 3).unwrap();
            for raw in [
                Vec::new(),
                b"a".to_vec(),
                vec![7; 10_000],
                vec![0; 5 << 20],
                noise(10_000),
            ] {
                let (used, stored) = compressor.compress(&raw).unwrap();
                if raw.len() > 100 && raw[0] == raw[1] && raw[1] == raw[2] {
                    assert_eq!(used, compression);
                } else {
                    assert_eq!(used, Compression::None);
                }
                let stored = Bytes::copy_from_slice(stored);
                assert_eq!(decompress(used, stored).unwrap(), raw);
            }
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for compression in [Compression::Lz4, Compression::Zstd] {
            for raw in [vec![7u8; 10_000], vec![0; 5 << 20]] {
                let mut compressor = Compressor::new(compression, 3).unwrap();
                let (used, stored) = compressor.compress(&raw).unwrap();
                assert_eq!(used, compression);
                let mut body = Reader::new(stored);
                body.varint("length").unwrap();
                for wrong in [0, 1, raw.len() - 1, raw.len() + 1, 1 << 40, usize::MAX] {
                    let mut bytes = Vec::new();
                    bytes.put_varint(wrong as u64);
                    bytes.extend_from_slice(body.rest());
                    let error = decompress(used, bytes.into()).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Corruption, "{wrong}");
                }
            }
        }
    }

    #[test]
    fn damaged_bytes_never_panic() {
        for compression in [Compression::Lz4, Compression::Zstd] {
            let raw: Vec<u8> = (0..2000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
            let mut compressor = Compressor::new(compression, 3).unwrap();
            let (used, stored) = compressor.compress(&raw).unwrap();
            let stored = stored.to_vec();
            for at in 0..stored.len() {
                let mut bytes = stored.clone();
                bytes[at] ^= 0x55;
                let _ = decompress(used, bytes.into());
                let _ = decompress(used, stored[..at].to_vec().into());
            }
        }
    }
}
