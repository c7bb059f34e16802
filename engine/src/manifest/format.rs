//! The bytes of a manifest object, `manifest/<20-digit id>`. All numbers are little endian.
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic `SEMANIFE` |
//! | 8 | 4 | version, 4; version 1 has no items from 10 on, version 2 none from 12 on, version 3 no item 14 |
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
//! | 14 | the highest version of the engine's user | u64 |
//! | 20 | tail of an added file, in the order of items 7 and 11 | u64 id, u64 bytes behind its data |
//!
//! A full version is the edit that makes the version, this object's own edit included, out of an empty one.
//! `CURRENT` holds `<20-digit id>\n`, a recent full version's; it is a hint and has no checksum, since it is never trusted.

use super::edit::{FileMeta, VersionEdit};
use crate::format::bytes::{Frame, Framed, Put, Reader, corrupt};
use crate::types::InternalKeyBuf;
use crate::{Result, ResultExt};

const FRAME: Frame = Frame {
    name: "a manifest object",
    magic: *b"SEMANIFE",
    versions: 1..=4,
    len: None,
};
/// The version that is written.
pub const VERSION: u32 = *FRAME.versions.end();
const HEADER_LEN: usize = 56;

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
        let mut out = Vec::with_capacity(HEADER_LEN + body.len() + Frame::TAIL_LEN);
        FRAME.put_head(&mut out);
        out.put_u32(self.kind as u32);
        out.put_u64(self.id);
        out.put_u128(self.nonce);
        out.put_u64(self.epoch);
        out.put_u64_prefixed(&body);
        out.put_checksum();
        out
    }

    /// The object with this id. [`ErrorKind::Corruption`](crate::ErrorKind::Corruption) says what is wrong with its bytes and where; of a version that another release
    /// wrote it is [`ErrorKind::Invalid`](crate::ErrorKind::Invalid).
    pub fn decode(bytes: &[u8], id: u64) -> Result<Self> {
        let Framed {
            version,
            mut fields,
        } = FRAME.open(bytes)?;
        let kind_at = fields.position();
        let kind = match fields.u32("the object's kind")? {
            1 => ObjectKind::Edit,
            2 => ObjectKind::Full,
            kind => return Err(corrupt(format_args!("unknown kind {kind}"), kind_at)),
        };
        let id_at = fields.position();
        let stored_id = fields.u64("the object's id")?;
        if stored_id != id {
            return Err(corrupt(format_args!("it says id {stored_id}"), id_at));
        }
        let nonce = fields.u128("the writer's number")?;
        let epoch = fields.u64("the epoch")?;
        let mut body = fields;
        fields.u64_prefixed("the body")?;
        fields.finish("the body")?;
        body.u64("the body's length")?;
        Ok(Self {
            kind,
            id,
            nonce,
            epoch,
            edit: decode_edit(body, version)?,
        })
    }
}

fn encode_edit(edit: &VersionEdit, out: &mut Vec<u8>) {
    if let Some((epoch, writer)) = &edit.epoch {
        out.put_u8(1);
        out.put_u64(*epoch);
        out.put_u32_prefixed(writer.as_bytes());
    }
    let numbers = [(2, edit.wal_floor), (3, edit.last_seq), (4, edit.next_file)];
    for (tag, number) in numbers {
        if let Some(number) = number {
            out.put_u8(tag);
            out.put_u64(number);
        }
    }
    if let Some(ceiling) = edit.index_ceiling {
        out.put_u8(5);
        out.put_u32(ceiling);
    }
    for (level, id) in &edit.deleted {
        out.put_u8(6);
        out.put_u8(*level as u8);
        out.put_u64(*id);
    }
    let numbered = |(_, file): &&(usize, FileMeta)| file.file_seq.is_none();
    for (level, file) in edit.added.iter().filter(numbered) {
        out.put_u8(7);
        out.put_u8(*level as u8);
        encode_file(file, out);
    }
    for (index, seq) in &edit.dropped_indexes {
        out.put_u8(8);
        out.put_u32(*index);
        out.put_u64(*seq);
    }
    for index in &edit.forgotten_indexes {
        out.put_u8(9);
        out.put_u32(*index);
    }
    if let Some(seq) = edit.last_ingest_seq {
        out.put_u8(10);
        out.put_u64(seq);
    }
    for (level, file) in &edit.added {
        if let Some(seq) = file.file_seq {
            out.put_u8(11);
            out.put_u8(*level as u8);
            encode_file(file, out);
            out.put_u64(seq);
        }
    }
    if let Some(chunk) = edit.first_chunk {
        out.put_u8(12);
        out.put_u64(chunk);
    }
    if let Some(writer_id) = edit.writer_id {
        out.put_u8(13);
        out.put_u128(writer_id);
    }
    if let Some(version) = edit.user_version {
        out.put_u8(14);
        out.put_u64(version);
    }
    encode_tails(&edit.added, out);
}

fn encode_tails(added: &[(usize, FileMeta)], out: &mut Vec<u8>) {
    for with_seq in [false, true] {
        let files = added.iter().map(|(_, file)| file);
        for file in files.filter(|file| file.file_seq.is_some() == with_seq) {
            if let Some(tail) = file.tail {
                out.put_u8(20);
                out.put_u64(file.id);
                out.put_u64(tail);
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
    out.put_u64(file.id);
    out.put_u64(file.size);
    out.put_u32_prefixed(file.smallest.as_bytes());
    out.put_u32_prefixed(file.largest.as_bytes());
    let rest = [
        file.smallest_seq,
        file.largest_seq,
        file.entries,
        file.deletions,
        file.raw_bytes,
    ];
    for number in rest {
        out.put_u64(number);
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
pub fn decode_files(bytes: &[u8]) -> Result<Vec<FileMeta>> {
    let mut fields = Reader::new(bytes);
    let mut files = Vec::new();
    while !fields.is_empty() {
        files.push(decode_file(&mut fields).context(|| "descriptions of files")?);
    }
    Ok(files)
}

fn decode_edit(mut body: Reader<'_>, version: u32) -> Result<VersionEdit> {
    let last_known = match version {
        1 => 9,
        2 => 11,
        _ => 20,
    };
    let mut tails = 0;
    let mut edit = VersionEdit::default();
    let mut last_tag = 0;
    while !body.is_empty() {
        let at = body.position();
        let tag = body.u8("an item's tag")?;
        // Ascending tags, single ones once: so that equal edits have equal bytes.
        if tag < last_tag || (tag == last_tag && matches!(tag, 0..=5 | 10 | 12 | 13 | 14)) {
            return Err(corrupt(format_args!("item {tag} out of order"), at));
        }
        let unknown = || corrupt(format_args!("unknown item {tag}"), at);
        if tag > last_known || (tag == 14 && version < 4) {
            return Err(unknown());
        }
        last_tag = tag;
        match tag {
            1 => {
                let epoch = body.u64("the epoch")?;
                let writer = std::str::from_utf8(body.u32_prefixed("the writer's name")?)
                    .map_err(|_| corrupt("the writer's name is not UTF-8 in the item", at))?;
                edit.epoch = Some((epoch, writer.to_owned()));
            }
            2 => edit.wal_floor = Some(body.u64("the log floor")?),
            3 => edit.last_seq = Some(body.u64("the last sequence number")?),
            4 => edit.next_file = Some(body.u64("the next file")?),
            5 => edit.index_ceiling = Some(body.u32("the index ceiling")?),
            6 => {
                let level = decode_level(&mut body)?;
                edit.deleted.push((level, body.u64("a deleted file")?));
            }
            7 => {
                let level = decode_level(&mut body)?;
                edit.added.push((level, decode_file(&mut body)?));
            }
            8 => {
                let index = body.u32("a dropped index")?;
                let file = body.u64("a dropped index's file number")?;
                edit.dropped_indexes.push((index, file));
            }
            9 => edit.forgotten_indexes.push(body.u32("a forgotten index")?),
            10 => edit.last_ingest_seq = Some(body.u64("the last commit by files")?),
            11 => {
                let level = decode_level(&mut body)?;
                let mut file = decode_file(&mut body)?;
                file.file_seq = Some(body.u64("a file's sequence number")?);
                edit.added.push((level, file));
            }
            12 => edit.first_chunk = Some(body.u64("the first chunk")?),
            13 => edit.writer_id = Some(body.u128("the writer's number")?),
            14 => edit.user_version = Some(body.u64("the version of the engine's user")?),
            20 => {
                let (id, tail) = (body.u64("a tail's file")?, body.u64("a tail's length")?);
                set_tail(&mut edit.added, &mut tails, id, tail)
                    .map_err(|cause| corrupt(format_args!("{cause}, in the item"), at))?;
            }
            _ => return Err(unknown()),
        }
    }
    Ok(edit)
}

fn decode_level(fields: &mut Reader<'_>) -> Result<usize> {
    fields.u8("a file's level").map(usize::from)
}

fn decode_file(fields: &mut Reader<'_>) -> Result<FileMeta> {
    Ok(FileMeta {
        id: fields.u64("a file's number")?,
        size: fields.u64("a file's size")?,
        smallest: InternalKeyBuf::from_encoded(fields.u32_prefixed("a file's smallest key")?),
        largest: InternalKeyBuf::from_encoded(fields.u32_prefixed("a file's largest key")?),
        smallest_seq: fields.u64("a file's least sequence number")?,
        largest_seq: fields.u64("a file's greatest sequence number")?,
        entries: fields.u64("a file's entries")?,
        deletions: fields.u64("a file's deletions")?,
        raw_bytes: fields.u64("a file's raw bytes")?,
        file_seq: None,
        tail: None,
    })
}
