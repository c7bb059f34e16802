//! The bytes of a manifest object, `manifest/<20-digit id>`. All numbers are little endian.
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic `SEMANIFE` |
//! | 8 | 4 | version, 3; version 1 has no items from 10 on, version 2 none from 12 on |
//! | 12 | 4 | kind: 1 edit of the version before, 2 full version |
//! | 16 | 8 | id; equals the number in the object's key |
//! | 24 | 16 | a number that the writer drew when it attached, by which it knows its own objects |
//! | 40 | 8 | epoch of the version after this object |
//! | 48 | 8 | length n of the body |
//! | 56 | n | body |
//! | 56 + n | 4 | CRC-32 (IEEE) of all before it |
//!
//! The body is a run of items, each a tag byte and its fields, in the order of tags; a string or key is a u32 length and its bytes.
//!
//! | tag | item | fields |
//! | --- | --- | --- |
//! | 1 | epoch | u64 epoch, string writer |
//! | 2 | log floor | u64 |
//! | 3 | last sequence number | u64 |
//! | 4 | next file | u64 |
//! | 5 | index ceiling | u32 |
//! | 6 | deleted file | u8 level, u64 id |
//! | 7 | added file | u8 level, u64 id, u64 size, key smallest, key largest, u64 smallest seq, u64 largest seq, u64 entries, u64 deletions, u64 raw bytes |
//! | 8 | dropped index | u32 index, u64 file number |
//! | 9 | forgotten index | u32 index |
//! | 10 | last commit by files | u64 sequence number |
//! | 11 | added file with a file-wide sequence number | as 7, then u64 sequence number |
//! | 12 | first WAL chunk | u64 id |
//! | 13 | the attached writer's number | 16 bytes |
//! | 20 | tail of an added file, in the order of items 7 and 11 | u64 id, u64 bytes behind its data |
//!
//! A full version is the edit that makes the version, this object's own edit included, out of an empty one.
//! `CURRENT` holds `<20-digit id>\n`, a recent full version's; it is a hint and has no checksum, since it is never trusted.

use super::edit::{FileMeta, VersionEdit};
use crate::types::InternalKeyBuf;

const MAGIC: [u8; 8] = *b"SEMANIFE";
const VERSION: u32 = 3;
const OLDEST_VERSION: u32 = 1;
const HEADER_LEN: usize = 56;
const CRC_LEN: usize = 4;

/// Whether an object stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A change of the version before.
    Edit = 1,
    /// A version.
    Full = 2,
}

/// A manifest object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestObject {
    /// Whether it stands alone.
    pub kind: ObjectKind,
    /// Its number.
    pub id: u64,
    /// By which its writer knows its own objects.
    pub nonce: u128,
    /// The epoch of the version after it.
    pub epoch: u64,
    /// What it changes; for a full version, what makes it out of an empty one.
    pub edit: VersionEdit,
}

impl ManifestObject {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        encode_edit(&self.edit, &mut body);
        let mut bytes = Vec::with_capacity(HEADER_LEN + body.len() + CRC_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(self.kind as u32).to_le_bytes());
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&self.nonce.to_le_bytes());
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&body);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The object, or what is wrong with its bytes and where.
    pub fn decode(bytes: &[u8], id: u64) -> Result<Self, String> {
        let mut header = Reader { bytes, at: 0 };
        if header.array::<8>()? != MAGIC {
            return Err("not a manifest object (bad magic)".to_owned());
        }
        let version = header.u32()?;
        if !(OLDEST_VERSION..=VERSION).contains(&version) {
            return Err(format!(
                "manifest format {version} at byte 8, this engine knows {OLDEST_VERSION} to {VERSION}"
            ));
        }
        let kind = header.u32()?;
        let stored_id = header.u64()?;
        let nonce = u128::from_le_bytes(header.array()?);
        let epoch = header.u64()?;
        let body_len = header.u64()?;
        let expected = (HEADER_LEN + CRC_LEN) as u64;
        if body_len.checked_add(expected) != Some(bytes.len() as u64) {
            return Err(format!(
                "body of {body_len} bytes at byte 48 in an object of {}",
                bytes.len()
            ));
        }
        let (checked, crc) = bytes.split_at(bytes.len() - CRC_LEN);
        if crc != crc32fast::hash(checked).to_le_bytes() {
            return Err(format!("checksum mismatch at byte {}", checked.len()));
        }
        let kind = match kind {
            1 => ObjectKind::Edit,
            2 => ObjectKind::Full,
            _ => return Err(format!("unknown kind {kind} at byte 12")),
        };
        if stored_id != id {
            return Err(format!("it says id {stored_id} at byte 16"));
        }
        let reader = Reader {
            bytes: checked,
            at: HEADER_LEN,
        };
        let edit = decode_edit(reader, version)?;
        Ok(Self {
            kind,
            id,
            nonce,
            epoch,
            edit,
        })
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn encode_edit(edit: &VersionEdit, out: &mut Vec<u8>) {
    if let Some((epoch, writer)) = &edit.epoch {
        out.push(1);
        out.extend_from_slice(&epoch.to_le_bytes());
        put_bytes(out, writer.as_bytes());
    }
    let numbers = [(2, edit.wal_floor), (3, edit.last_seq), (4, edit.next_file)];
    for (tag, number) in numbers {
        if let Some(number) = number {
            out.push(tag);
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    if let Some(ceiling) = edit.index_ceiling {
        out.push(5);
        out.extend_from_slice(&ceiling.to_le_bytes());
    }
    for (level, id) in &edit.deleted {
        out.push(6);
        out.push(*level as u8);
        out.extend_from_slice(&id.to_le_bytes());
    }
    let numbered = |(_, file): &&(usize, FileMeta)| file.file_seq.is_none();
    for (level, file) in edit.added.iter().filter(numbered) {
        out.push(7);
        out.push(*level as u8);
        encode_file(file, out);
    }
    for (index, seq) in &edit.dropped_indexes {
        out.push(8);
        out.extend_from_slice(&index.to_le_bytes());
        out.extend_from_slice(&seq.to_le_bytes());
    }
    for index in &edit.forgotten_indexes {
        out.push(9);
        out.extend_from_slice(&index.to_le_bytes());
    }
    if let Some(seq) = edit.last_ingest_seq {
        out.push(10);
        out.extend_from_slice(&seq.to_le_bytes());
    }
    for (level, file) in &edit.added {
        if let Some(seq) = file.file_seq {
            out.push(11);
            out.push(*level as u8);
            encode_file(file, out);
            out.extend_from_slice(&seq.to_le_bytes());
        }
    }
    if let Some(chunk) = edit.first_chunk {
        out.push(12);
        out.extend_from_slice(&chunk.to_le_bytes());
    }
    if let Some(writer_id) = edit.writer_id {
        out.push(13);
        out.extend_from_slice(&writer_id.to_le_bytes());
    }
    encode_tails(&edit.added, out);
}

fn encode_tails(added: &[(usize, FileMeta)], out: &mut Vec<u8>) {
    for with_seq in [false, true] {
        let files = added.iter().map(|(_, file)| file);
        for file in files.filter(|file| file.file_seq.is_some() == with_seq) {
            if let Some(tail) = file.tail {
                out.push(20);
                out.extend_from_slice(&file.id.to_le_bytes());
                out.extend_from_slice(&tail.to_le_bytes());
            }
        }
    }
}

/// Gives a tail to a file that was added, the first of this id from the place `next` on.
fn set_tail(
    added: &mut [(usize, FileMeta)],
    next: &mut usize,
    id: u64,
    tail: u64,
) -> Result<(), String> {
    let rest = added.get_mut(*next..).unwrap_or_default();
    let found = rest.iter().position(|(_, file)| file.id == id);
    let Some((_, file)) = found.and_then(|at| rest.get_mut(at)) else {
        return Err(format!(
            "tail of file {id}, which is not added in this order"
        ));
    };
    if tail > file.size {
        return Err(format!("tail of {tail} bytes of a file of {}", file.size));
    }
    file.tail = Some(tail);
    *next += found.unwrap_or_default() + 1;
    Ok(())
}

fn encode_file(file: &FileMeta, out: &mut Vec<u8>) {
    out.extend_from_slice(&file.id.to_le_bytes());
    out.extend_from_slice(&file.size.to_le_bytes());
    put_bytes(out, file.smallest.as_bytes());
    put_bytes(out, file.largest.as_bytes());
    let rest = [
        file.smallest_seq,
        file.largest_seq,
        file.entries,
        file.deletions,
        file.raw_bytes,
    ];
    for number in rest {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// Reads from the front, and says where it could not.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest
            .get(..len)
            .ok_or_else(|| format!("{len} bytes needed at byte {}, it ends", self.at))?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn level(&mut self) -> Result<usize, String> {
        self.array::<1>().map(|[level]| usize::from(level))
    }

    fn string(&mut self) -> Result<&'a [u8], String> {
        let len = self.u32()?;
        self.take(len as usize)
    }
}

/// The bytes of the descriptions of files that have no sequence number yet: each as the fields of an added file, without the level.
pub fn encode_files(files: &[FileMeta]) -> Vec<u8> {
    let mut out = Vec::new();
    for file in files {
        encode_file(file, &mut out);
    }
    out
}

/// What [`encode_files`] made these bytes of, or [`ErrorKind::Corruption`](crate::ErrorKind::Corruption).
pub fn decode_files(bytes: &[u8]) -> crate::Result<Vec<FileMeta>> {
    let mut reader = Reader { bytes, at: 0 };
    let mut files = Vec::new();
    while reader.at < bytes.len() {
        let file = decode_file(&mut reader)
            .map_err(|cause| crate::Error::corruption(format!("descriptions of files: {cause}")))?;
        files.push(file);
    }
    Ok(files)
}

fn decode_edit(mut reader: Reader<'_>, version: u32) -> Result<VersionEdit, String> {
    let last_known = match version {
        1 => 9,
        2 => 11,
        _ => 20,
    };
    let mut tails = 0;
    let mut edit = VersionEdit::default();
    let mut last_tag = 0;
    while reader.at < reader.bytes.len() {
        let at = reader.at;
        let [tag] = reader.array::<1>()?;
        // Ascending tags, single ones once: so that equal edits have equal bytes.
        if tag < last_tag || (tag == last_tag && matches!(tag, 0..=5 | 10 | 12 | 13)) {
            return Err(format!("item {tag} out of order at byte {at}"));
        }
        if tag > last_known {
            return Err(format!("unknown item {tag} at byte {at}"));
        }
        last_tag = tag;
        match tag {
            1 => {
                let epoch = reader.u64()?;
                let writer = std::str::from_utf8(reader.string()?)
                    .map_err(|_| format!("writer's name at byte {at} is not UTF-8"))?;
                edit.epoch = Some((epoch, writer.to_owned()));
            }
            2 => edit.wal_floor = Some(reader.u64()?),
            3 => edit.last_seq = Some(reader.u64()?),
            4 => edit.next_file = Some(reader.u64()?),
            5 => edit.index_ceiling = Some(reader.u32()?),
            6 => edit.deleted.push((reader.level()?, reader.u64()?)),
            7 => edit
                .added
                .push((reader.level()?, decode_file(&mut reader)?)),
            8 => edit.dropped_indexes.push((reader.u32()?, reader.u64()?)),
            9 => edit.forgotten_indexes.push(reader.u32()?),
            10 => edit.last_ingest_seq = Some(reader.u64()?),
            11 => {
                let level = reader.level()?;
                let mut file = decode_file(&mut reader)?;
                file.file_seq = Some(reader.u64()?);
                edit.added.push((level, file));
            }
            12 => edit.first_chunk = Some(reader.u64()?),
            13 => edit.writer_id = Some(u128::from_le_bytes(reader.array()?)),
            20 => {
                let (id, tail) = (reader.u64()?, reader.u64()?);
                set_tail(&mut edit.added, &mut tails, id, tail)
                    .map_err(|cause| format!("item at byte {at}: {cause}"))?;
            }
            _ => return Err(format!("unknown item {tag} at byte {at}")),
        }
    }
    Ok(edit)
}

fn decode_file(reader: &mut Reader<'_>) -> Result<FileMeta, String> {
    Ok(FileMeta {
        id: reader.u64()?,
        size: reader.u64()?,
        smallest: InternalKeyBuf::from_encoded(reader.string()?),
        largest: InternalKeyBuf::from_encoded(reader.string()?),
        smallest_seq: reader.u64()?,
        largest_seq: reader.u64()?,
        entries: reader.u64()?,
        deletions: reader.u64()?,
        raw_bytes: reader.u64()?,
        file_seq: None,
        tail: None,
    })
}
