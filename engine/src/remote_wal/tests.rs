//! Chunks, fences and gaps, without an engine.

use std::sync::Arc;

use super::*;
use crate::object_store::{Fault, FaultStore, MemoryStore, ObjectStore, Operation, Rule};
use crate::{Error, Result};

type Records = Vec<(u64, Vec<u8>)>;

fn read_on(reader: &mut ChunkReader) -> Result<Records> {
    let mut records = Vec::new();
    reader.read_on(&mut |position, payload| {
        records.push((position, payload.to_vec()));
        Ok(())
    })?;
    Ok(records)
}

fn fence(reader: ChunkReader, epoch: u64) -> Result<(Taken, Records)> {
    let mut records = Vec::new();
    let attached = reader.fence(epoch, u128::from(epoch), &mut |position, payload| {
        records.push((position, payload.to_vec()));
        Ok(())
    })?;
    Ok((attached, records))
}

/// A chunk of one record that takes ten positions.
fn chunk(id: u64, epoch: u64, start: u64, durable: u64) -> Vec<u8> {
    let mut builder = ChunkBuilder::new(16);
    builder.add(start, format!("{epoch}:{id}").as_bytes());
    builder.finish(&ChunkHeader {
        kind: ChunkKind::Records,
        id,
        epoch,
        writer_id: u128::from(epoch),
        start,
        end: start + 10,
        next: id + 1,
        durable,
    })
}

/// A store that a writer of epoch 1 attached to, and that has `count` chunks of it, each acknowledged before the next was made.
fn written(count: u64) -> (Arc<MemoryStore>, Taken) {
    let store = Arc::new(MemoryStore::new());
    let mut reader = ChunkReader::new(store.clone(), 0, 0);
    assert_eq!(read_on(&mut reader).unwrap(), []);
    let (attached, _) = fence(reader, 1).unwrap();
    assert_eq!((attached.next_id, attached.end), (WINDOW, 0));
    for number in 0..count {
        let id = attached.next_id + number;
        let bytes = chunk(id, 1, 10 * number, 10 * number);
        store.put_if_absent(&chunk_key(id), &bytes).unwrap();
    }
    (store, attached)
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.map_err(|error: Error| error.kind()).err().unwrap()
}

#[test]
fn chunks_are_read_in_order_from_the_floor_on() {
    // More than are fetched at once.
    let (store, _) = written(200);
    let mut reader = ChunkReader::new(store.clone(), 0, 0);
    let all = read_on(&mut reader).unwrap();
    assert_eq!(all.len(), 200);
    assert!(all.is_sorted());
    assert_eq!(reader.end(), 2000);
    let mut reader = ChunkReader::new(store.clone(), WINDOW + 3, 37);
    let some = read_on(&mut reader).unwrap();
    assert_eq!(some, all[4..]);
    // Nothing is needed any more.
    let mut reader = ChunkReader::new(store.clone(), WINDOW + 200, 2000);
    assert_eq!(read_on(&mut reader).unwrap(), []);
    assert_eq!(reader.end(), 2000);
    // More is needed than there is.
    let mut reader = ChunkReader::new(store, WINDOW + 200, 2001);
    read_on(&mut reader).unwrap();
    let mut reader = ChunkReader::new(reader_store(5), 0, 55);
    assert_eq!(kind(read_on(&mut reader)), ErrorKind::Corruption);
}

fn reader_store(count: u64) -> Arc<MemoryStore> {
    written(count).0
}

#[test]
fn a_gap_ends_the_log_unless_it_is_known_to_have_been_filled() {
    let (store, attached) = written(6);
    for missing in 0..6 {
        let copy = Arc::new(store.copy());
        copy.delete(&chunk_key(attached.next_id + missing)).unwrap();
        let mut reader = ChunkReader::new(copy, 0, 0);
        let read = read_on(&mut reader);
        match missing {
            // Only what comes last may never have been there.
            5 => assert_eq!(read.unwrap().len(), 5),
            _ => assert_eq!(kind(read), ErrorKind::Corruption, "{missing}"),
        }
    }
    // One that was not acknowledged when the later ones were made.
    for late in 7..10 {
        let bytes = chunk(attached.next_id + late, 1, 10 * late, 60);
        store
            .put(&chunk_key(attached.next_id + late), &bytes)
            .unwrap();
    }
    let mut reader = ChunkReader::new(store.clone(), 0, 0);
    assert_eq!(read_on(&mut reader).unwrap().len(), 6);
    // No writer goes on so far.
    let far = attached.next_id + 6 + WINDOW;
    store.put(&chunk_key(far), &chunk(far, 1, 500, 60)).unwrap();
    let mut reader = ChunkReader::new(store, 0, 0);
    assert_eq!(kind(read_on(&mut reader)), ErrorKind::Corruption);
}

#[test]
fn a_gap_that_is_filled_while_it_is_read_is_none() {
    let (store, attached) = written(6);
    let missing = attached.next_id + 2;
    let faults = FaultStore::new(store);
    let hide = |times| Rule {
        key_contains: chunk_key(missing),
        times,
        ..Rule::once(Operation::Get, Fault::Fail(ErrorKind::NotFound))
    };
    faults.add(hide(1));
    let mut reader = ChunkReader::new(Arc::new(faults.clone()), 0, 0);
    assert_eq!(read_on(&mut reader).unwrap().len(), 6);
    faults.add(hide(u64::MAX));
    let mut reader = ChunkReader::new(Arc::new(faults), 0, 0);
    assert_eq!(kind(read_on(&mut reader)), ErrorKind::Corruption);
}

#[test]
fn a_fence_takes_in_what_came_before_it_and_passes_over_what_comes_late() {
    let (store, attached) = written(3);
    let mut second = ChunkReader::new(store.clone(), 0, 0);
    assert_eq!(read_on(&mut second).unwrap().len(), 3);
    // The first writer goes on, and has one more on its way behind a gap.
    let next = attached.next_id + 3;
    store
        .put(&chunk_key(next), &chunk(next, 1, 30, 30))
        .unwrap();
    store
        .put(&chunk_key(next + 2), &chunk(next + 2, 1, 50, 30))
        .unwrap();
    let (taken, records) = fence(second, 2).unwrap();
    assert_eq!(records, [(30, b"1:67".to_vec())]);
    assert_eq!((taken.next_id, taken.end), (next + 1 + WINDOW, 40));
    // What fills the gap now comes too late.
    assert_eq!(
        kind(store.put_if_absent(&chunk_key(next + 1), &chunk(next + 1, 1, 40, 40))),
        ErrorKind::AlreadyExists
    );
    let mine = chunk(taken.next_id, 2, 40, 40);
    store
        .put_if_absent(&chunk_key(taken.next_id), &mine)
        .unwrap();
    let mut reader = ChunkReader::new(store.clone(), 0, 0);
    let all = read_on(&mut reader).unwrap();
    let seen: Vec<u64> = all.iter().map(|&(position, _)| position).collect();
    assert_eq!(seen, [0, 10, 20, 30, 40]);
    assert_eq!(all[4].1, format!("2:{}", taken.next_id).into_bytes());
    // Where the first writer's log ended, and those of later ones, before and after somebody comes.
    let reader_of_all = || {
        let mut reader = ChunkReader::new(store.clone(), 0, 0);
        read_on(&mut reader).unwrap();
        reader
    };
    let before = reader_of_all();
    assert_eq!(
        [0, 1, 2].map(|epoch| before.end_of(epoch).unwrap()),
        [0, 40, 50]
    );
    // A writer whose epoch is not the last finds a later fence.
    let mut late = ChunkReader::new(store.clone(), 0, 0);
    read_on(&mut late).unwrap();
    let (third, _) = fence(reader, 3).unwrap();
    assert_eq!(kind(fence(late, 2)), ErrorKind::Fenced);
    assert_eq!(third.chunks.len(), 5);
    // Nor does it pass over that fence by reading on.
    let mut late = ChunkReader::new(store.clone(), 0, 0);
    late.has_epoch(2);
    assert_eq!(kind(read_on(&mut late)), ErrorKind::Fenced);
    let after = reader_of_all();
    assert_eq!(
        [1, 2, 3].map(|epoch| after.end_of(epoch).unwrap()),
        [40, 50, 50]
    );
}

#[test]
fn a_fence_whose_answer_is_lost_is_ones_own() {
    let (store, _) = written(1);
    let faulty = FaultStore::new(store.clone());
    faulty.add(Rule::once(
        Operation::PutIfAbsent,
        Fault::Ambiguous(ErrorKind::Unavailable),
    ));
    let mut reader = ChunkReader::new(Arc::new(faulty), 0, 0);
    read_on(&mut reader).unwrap();
    let (attached, _) = fence(reader, 2).unwrap();
    let mut reader = ChunkReader::new(store, 0, 0);
    read_on(&mut reader).unwrap();
    assert_eq!(reader.end(), attached.end);
}

#[test]
fn what_does_not_follow_is_damage() {
    let bad: [(u64, u64); 3] = [
        // Positions are missing, positions are there twice, and an older epoch.
        (1, 31),
        (1, 29),
        (0, 30),
    ];
    for (epoch, start) in bad {
        let (store, attached) = written(3);
        let id = attached.next_id + 3;
        store
            .put(&chunk_key(id), &chunk(id, epoch, start, 0))
            .unwrap();
        let mut reader = ChunkReader::new(store, 0, 0);
        assert_eq!(kind(read_on(&mut reader)), ErrorKind::Corruption);
    }
}
