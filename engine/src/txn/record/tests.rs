//! Payloads that were written are read, have the bytes they always had, and do no harm damaged.

use super::*;

fn sample() -> Vec<u8> {
    let mut ops = OpWriter::default();
    ops.push(ValueKind::Put, b"key", &[7; 200]);
    ops.push(ValueKind::Delete, b"", b"ignored");
    let len = ops.len();
    let mut payload = vec![PAYLOAD_VERSION];
    put_commit(&mut payload, 42, len);
    payload.extend(ops.pieces().flatten());
    put_commit(&mut payload, 43, 0);
    put_prepare(&mut payload, 3, b"xid", len);
    payload.extend(ops.pieces().flatten());
    put_in_coordinator(&mut payload, 3);
    put_commit_prepared(&mut payload, 44, 3);
    put_rollback_prepared(&mut payload, 2);
    put_commit_files(&mut payload, 45, b"files", len);
    payload.extend(ops.pieces().flatten());
    put_prepare_files(&mut payload, 4, b"xid", b"more");
    payload
}

/// Entries and operations as text.
fn decode(payload: &[u8]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    decode_payload(payload, &mut |entry| {
        let ops = match entry {
            Entry::Commit { seq, ops } => {
                all.push(format!("commit {seq}"));
                ops
            }
            Entry::Prepare { id, name, ops } => {
                all.push(format!("prepare {id} {}", name.escape_ascii()));
                ops
            }
            Entry::CommitFiles { seq, files, ops } => {
                all.push(format!("commit {seq} by {}", files.escape_ascii()));
                ops
            }
            other => {
                all.push(format!("{other:?}"));
                &[]
            }
        };
        decode_ops(ops, &mut |kind, key, value| {
            all.push(format!("{kind:?} {} {}", key.escape_ascii(), value.len()));
            Ok(())
        })
    })?;
    Ok(all)
}

#[test]
fn what_was_written_is_read() {
    let all = decode(&sample()).unwrap();
    assert_eq!(
        all,
        [
            "commit 42",
            "Put key 200",
            "Delete  0",
            "commit 43",
            "prepare 3 xid",
            "Put key 200",
            "Delete  0",
            "InCoordinator { id: 3 }",
            "CommitPrepared { seq: 44, id: 3 }",
            "RollbackPrepared { id: 2 }",
            "commit 45 by files",
            "Put key 200",
            "Delete  0",
            "PrepareFiles { id: 4, name: [120, 105, 100], files: [109, 111, 114, 101] }",
        ]
    );
}

#[test]
fn version_1_has_these_bytes() {
    let payload = sample();
    let mut ops = vec![1, 3];
    ops.extend(b"key");
    ops.extend([200, 1]);
    ops.extend([7; 200]);
    ops.extend([0, 0]);
    let mut golden = vec![1, 1, 42, 0, 0, 0, 0, 0, 0, 0, 209, 0, 0, 0, 0, 0, 0, 0];
    golden.extend(&ops);
    golden.extend([1, 43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend([2, 3, 0, 0, 0, 0, 0, 0, 0, 3]);
    golden.extend(b"xid");
    golden.extend([209, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend(&ops);
    golden.extend([5, 3, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend([3, 44, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend([4, 2, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend([6, 45, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend(b"files");
    golden.extend([209, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend(&ops);
    golden.extend([7, 4, 0, 0, 0, 0, 0, 0, 0, 3]);
    golden.extend(b"xid");
    golden.extend([4, 0, 0, 0, 0, 0, 0, 0]);
    golden.extend(b"more");
    assert_eq!(payload, golden);
}

#[test]
fn damaged_payloads_are_errors_or_values_never_panics() {
    let payload = sample();
    for cut in 0..payload.len() {
        let _ = decode(&payload[..cut]);
    }
    for at in 0..payload.len() {
        for bit in 0..8 {
            let mut bad = payload.clone();
            bad[at] ^= 1 << bit;
            let _ = decode(&bad);
        }
    }
    assert!(decode(&payload[..30]).is_err());
}
