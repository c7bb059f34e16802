//! Damaged objects: every bit, every length, every missing one. And the bytes that must never change.

use super::*;
use crate::format::checksum::crc32;

fn objects(store: &dyn ObjectStore) -> Vec<String> {
    let listed = store.list(MANIFEST_PREFIX, "", 1000).unwrap();
    listed.into_iter().map(|meta| meta.key).collect()
}

/// A manifest of a full version and a few edits, and the version it makes.
fn build() -> (MemoryStore, Version) {
    let memory = MemoryStore::new();
    let store: Arc<dyn ObjectStore> = Arc::new(memory.copy());
    let mut manifest = attach(&store, "writer");
    for _ in 0..66 {
        let edit = flush(&manifest);
        manifest.commit(&edit).unwrap();
    }
    for key in objects(&*store) {
        memory.put(&key, &store.get(&key).unwrap()).unwrap();
    }
    memory
        .put(CURRENT_KEY, &store.get(CURRENT_KEY).unwrap())
        .unwrap();
    let version = (*manifest.current()).clone();
    (memory, version)
}

fn load(store: MemoryStore) -> Result<Version> {
    Manifest::load(Arc::new(store)).map(|(_, version)| version)
}

#[test]
fn a_flipped_bit_is_refused() {
    let (store, _) = build();
    // The full version at 64 and the edits after it are what a load reads.
    for key in &objects(&store)[64..] {
        let bytes = store.get(key).unwrap();
        let step = if bytes.len() > 1000 { 7 } else { 1 };
        for at in (0..bytes.len()).step_by(step) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << (at % 8);
            let copy = store.copy();
            copy.put(key, &damaged).unwrap();
            let error = load(copy).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{key} byte {at}");
            assert!(error.message().contains("read manifest 6"), "{error}");
        }
    }
}

#[test]
fn a_cut_or_lengthened_object_is_refused() {
    let (store, _) = build();
    let key = &objects(&store)[65];
    let bytes = store.get(key).unwrap();
    for len in 0..bytes.len() {
        let copy = store.copy();
        copy.put(key, &bytes[..len]).unwrap();
        assert_eq!(load(copy).err().unwrap().kind(), ErrorKind::Corruption);
    }
    let longer = [&bytes[..], b"x"].concat();
    store.put(key, &longer).unwrap();
    assert_eq!(load(store).err().unwrap().kind(), ErrorKind::Corruption);
}

#[test]
fn a_missing_object_is_refused_unless_it_is_the_last() {
    let (store, version) = build();
    let keys = objects(&store);
    for key in &keys[64..keys.len() - 1] {
        let copy = store.copy();
        copy.delete(key).unwrap();
        let error = load(copy).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.message().contains(key.as_str()), "{error}");
    }
    // Those below the full version are history.
    for key in &keys[..64] {
        store.delete(key).unwrap();
    }
    assert_eq!(load(store).unwrap(), version);
}

#[test]
fn an_object_under_another_number_is_refused() {
    let (store, _) = build();
    let keys = objects(&store);
    let bytes = store.get(&keys[65]).unwrap();
    store.put(&keys[66], &bytes).unwrap();
    let error = load(store).err().unwrap();
    assert!(error.message().contains("it says id 65"), "{error}");
}

#[test]
fn ssts_without_a_manifest_are_not_a_new_store() {
    let (store, _) = build();
    store.put(&sst_key(5), b"data").unwrap();
    for key in objects(&store) {
        store.delete(&key).unwrap();
    }
    let error = load(store).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.message().contains("no manifest"), "{error}");
}

/// A full version with something of everything that format `version` knows.
fn sample(version: u32) -> ManifestObject {
    let mut edit = VersionEdit {
        epoch: Some((3, "host-1".to_owned())),
        wal_floor: Some(0x0102_0304),
        last_seq: Some(77),
        next_file: Some(first_file_of_epoch(3) + 2),
        index_ceiling: Some(9),
        added: vec![
            (0, file(first_file_of_epoch(3) + 1, "b", "y", 70)),
            (6, file(first_file_of_epoch(2) + 1, "a", "z", 60)),
        ],
        deleted: vec![(0, 5)],
        dropped_indexes: vec![(4, 66)],
        forgotten_indexes: vec![2],
        ..VersionEdit::default()
    };
    if version >= 2 {
        edit.last_ingest_seq = Some(75);
        let ingested = file(first_file_of_epoch(3), "c", "d", 0).numbered(75);
        edit.added.push((5, ingested));
    }
    if version >= 3 {
        edit.first_chunk = Some(65);
        for (tail, (_, file)) in (5..).zip(&mut edit.added).skip(1) {
            file.tail = Some(tail);
        }
        edit.writer_id = Some(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100);
    }
    if version >= 4 {
        edit.user_version = Some(0x1112_1314_1516_1718);
    }
    ManifestObject {
        kind: ObjectKind::Full,
        id: 64,
        nonce: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
        epoch: 3,
        edit,
    }
}

#[test]
fn version_4_has_these_bytes() {
    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/manifest-v4");
    let written = sample(4).encode();
    if std::env::var_os("SMARTENGINE_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/manifest-v4");
        std::fs::write(path, &written).unwrap();
    }
    assert!(
        written == GOLDEN,
        "the manifest's format changed: raise its version and keep reading this one"
    );
    assert_eq!(ManifestObject::decode(GOLDEN, 64).unwrap(), sample(4));
}

/// What format 4 writes of this sample, said to be of an older format.
fn claiming(version: u8, sample: &ManifestObject) -> Vec<u8> {
    let mut bytes = sample.encode();
    bytes[8] = version;
    let end = bytes.len() - 4;
    let crc = crc32(&[&bytes[..end]]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn version_3_can_be_read() {
    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/manifest-v3");
    assert_eq!(ManifestObject::decode(GOLDEN, 64).unwrap(), sample(3));
    let error = ManifestObject::decode(&claiming(3, &sample(4)), 64).unwrap_err();
    assert!(error.message().contains("unknown item 14"), "{error}");
}

#[test]
fn version_2_can_be_read() {
    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/manifest-v2");
    assert_eq!(ManifestObject::decode(GOLDEN, 64).unwrap(), sample(2));
    let error = ManifestObject::decode(&claiming(2, &sample(3)), 64).unwrap_err();
    assert!(error.message().contains("unknown item 12"), "{error}");
}

#[test]
fn version_1_can_be_read() {
    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/manifest-v1");
    assert_eq!(ManifestObject::decode(GOLDEN, 64).unwrap(), sample(1));
    // Items that it did not have are damage in it.
    let error = ManifestObject::decode(&claiming(1, &sample(2)), 64).unwrap_err();
    assert!(error.message().contains("unknown item 10"), "{error}");
}

#[test]
fn a_version_of_another_release_is_not_damage() {
    let error = ManifestObject::decode(&claiming(5, &sample(4)), 64).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        error.message(),
        "format version 5 at byte 8, this engine knows 1 to 4: use the newer release that wrote it"
    );
}

#[test]
fn descriptions_of_files_have_these_bytes() {
    let mut golden = Vec::new();
    for number in [0x0102_u64, 1000] {
        golden.extend_from_slice(&number.to_le_bytes());
    }
    for user_key in [b"b", b"y"] {
        golden.extend_from_slice(b"\x09\0\0\0");
        golden.extend_from_slice(user_key);
        // 70 << 8 | 1, inverted, big endian.
        golden.extend_from_slice(b"\xff\xff\xff\xff\xff\xff\xb9\xfe");
    }
    for number in [70_u64, 70, 10, 1, 3000] {
        golden.extend_from_slice(&number.to_le_bytes());
    }
    let one = file(0x0102, "b", "y", 70);
    let two = [one.clone(), one];
    assert_eq!(encode_files(&two[..1]), golden);
    let twice = [&golden[..], &golden].concat();
    assert_eq!(encode_files(&two), twice);
    assert_eq!(decode_files(&twice).unwrap(), two);
    let error = decode_files(&twice[..twice.len() - 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(
        error
            .message()
            .starts_with("descriptions of files: cut short: a file's raw bytes"),
        "{error}"
    );
}

#[test]
fn bytes_that_only_claim_to_be_an_object_are_refused() {
    let mut sequence = crate::env::Sequence::new(3);
    for round in 0..2000_u64 {
        // A correct frame around a body of noise: the checksum holds, the items do not.
        let body: Vec<u8> = (0..sequence.below(80))
            .map(|_| sequence.below(22) as u8)
            .collect();
        let mut bytes = ManifestObject {
            kind: ObjectKind::Edit,
            id: round,
            nonce: 0,
            epoch: 0,
            edit: VersionEdit::default(),
        }
        .encode();
        bytes.truncate(48);
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&body);
        let crc = crc32(&[&bytes]);
        bytes.extend_from_slice(&crc.to_le_bytes());
        if let Ok(object) = ManifestObject::decode(&bytes, round) {
            assert_eq!(object.encode(), bytes);
        }
    }
}
