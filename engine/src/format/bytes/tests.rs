//! What is written is read, in order and in place; what does not fit is refused with a text that says what and where.

use super::*;
use crate::format::checksum::crc32;
use crate::{Error, ErrorKind, Result};

const HEAD: Frame = Frame {
    name: "a list of numbers",
    magic: *b"SENUMBER",
    versions: 2..=4,
    len: None,
};

fn text<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error: Error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
    error.message().to_owned()
}

#[test]
fn fields_come_out_as_they_went_in() {
    let mut out = Vec::new();
    out.put_u8(1);
    out.put_u32(0x0203_0405);
    out.put_u64(6);
    out.put_u128(7 << 100);
    out.put_varint(300);
    out.put_u8_prefixed(b"a");
    out.put_u32_prefixed(b"bc");
    out.put_u64_prefixed(b"");
    out.put_varint_prefixed(b"def");
    out.put(b"rest");
    assert_eq!(out[..9], [1, 5, 4, 3, 2, 6, 0, 0, 0]);
    let mut reader = Reader::new(&out);
    assert_eq!(reader.u8("u8").unwrap(), 1);
    assert_eq!(reader.u32("u32").unwrap(), 0x0203_0405);
    assert_eq!(reader.position(), 5);
    assert_eq!(reader.u64("u64").unwrap(), 6);
    assert_eq!(reader.u128("u128").unwrap(), 7 << 100);
    assert_eq!(reader.varint32("varint").unwrap(), 300);
    assert_eq!(reader.u8_prefixed("a").unwrap(), b"a");
    assert_eq!(reader.u32_prefixed("bc").unwrap(), b"bc");
    assert_eq!(reader.u64_prefixed("nothing").unwrap(), b"");
    assert_eq!(reader.varint_prefixed("def").unwrap(), b"def");
    assert_eq!(reader.rest(), b"rest");
    assert_eq!(reader.bytes(4, "rest").unwrap(), b"rest");
    assert!(reader.is_empty());
    reader.finish("everything").unwrap();
}

#[test]
fn an_array_is_filled_like_a_buffer() {
    let mut fixed = Fixed::<24>::new();
    let mut buffer = Vec::new();
    for out in [&mut fixed as &mut dyn Put, &mut buffer] {
        out.put(b"SE");
        out.put_u8(3);
        out.put_u8_prefixed(b"x");
        out.put_u32(4);
        out.put_u64(5);
        out.put(&[6; 3]);
        out.put_checksum();
    }
    let array = fixed.finish();
    assert_eq!(array[..], buffer);
    assert_eq!(u32_at::<5, 24>(&array), 4);
    assert_eq!(u64_at::<9, 24>(&array), 5);
    assert_eq!(u32_at::<20, 24>(&array), crc32(&[&array[..20]]));
}

#[test]
fn every_read_that_does_not_fit_says_what_and_where() {
    let three = [1, 2, 0x83];
    let after_one = || {
        let mut reader = Reader::new(&three);
        reader.u8("a byte").unwrap();
        reader
    };
    assert_eq!(
        text(after_one().u32("the count")),
        "cut short: the count takes 4 bytes, 2 are left at byte 1"
    );
    assert_eq!(
        text(after_one().bytes(3, "the name")),
        "cut short: the name takes 3 bytes, 2 are left at byte 1"
    );
    assert_eq!(
        text(after_one().u8_prefixed("the name")),
        "cut short: the name takes 2 bytes, 1 are left at byte 2"
    );
    assert_eq!(
        text(Reader::new(&[0xff; 9]).u64_prefixed("it")),
        format!(
            "cut short: it takes {} bytes, 1 are left at byte 8",
            u64::MAX
        )
    );
    assert_eq!(
        text(Reader::new(&[0xff, 0xff, 0xff, 0xff]).u32_prefixed("it")),
        "cut short: it takes 4294967295 bytes, 0 are left at byte 4"
    );
    assert_eq!(
        text(Reader::new(&[5, 1]).varint_prefixed("it")),
        "cut short: it takes 5 bytes, 1 are left at byte 1"
    );
    assert_eq!(
        text(Reader::new(&three[2..]).varint("the size")),
        "cut short: the size takes 2 bytes, 1 are left at byte 0"
    );
    for wide in [&[0xff; 10][..], &[0xff; 9], &[0xff; 12]] {
        let wide = [wide, &[2]].concat();
        assert_eq!(
            text(Reader::new(&wide).varint("the size")),
            "the size does not fit in 64 bits at byte 0"
        );
    }
    assert_eq!(
        text(Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x10]).varint32("the size")),
        "the size does not fit in 32 bits at byte 0"
    );
    assert_eq!(
        text(after_one().finish("the flag")),
        "2 bytes too many after the flag at byte 1"
    );
}

fn framed(version: u32) -> Vec<u8> {
    let mut out = HEAD.magic.to_vec();
    out.put_u32(version);
    out.put_u64(77);
    out.put_checksum();
    out
}

fn footed(version: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u64(77);
    out.put_u32(version);
    out.put_checksum();
    out.put(&HEAD.magic);
    out
}

type Opener = for<'a> fn(&'a [u8]) -> Result<Framed<'a>>;

/// Head and foot: how a version is written, and how it is opened.
const BOTH: [(fn(u32) -> Vec<u8>, Opener); 2] = [
    (framed, |bytes| HEAD.open(bytes)),
    (footed, |bytes| HEAD.open_foot(bytes)),
];

#[test]
fn a_frame_holds_its_fields() {
    let mut head = Vec::new();
    HEAD.put_head(&mut head);
    assert_eq!(head.len(), Frame::HEAD_LEN);
    head.put_u64(77);
    head.put_checksum();
    assert_eq!(head, framed(4));
    let mut foot = Vec::new();
    foot.put_u64(77);
    HEAD.put_foot(&mut foot);
    assert_eq!(foot, footed(4));
    assert_eq!(foot.len(), 8 + Frame::FOOT_LEN);
    for (write, open) in BOTH {
        for version in 2..=4 {
            let bytes = write(version);
            let Framed {
                version: found,
                mut fields,
            } = open(&bytes).unwrap();
            assert_eq!(found, version);
            assert_eq!(fields.u64("the number").unwrap(), 77);
            fields.finish("the number").unwrap();
        }
    }
}

#[test]
fn every_flip_and_cut_is_corruption() {
    for (write, open) in BOTH {
        let good = write(3);
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            text(open(&bad));
        }
        for len in 0..good.len() {
            text(open(&good[..len]));
            text(open(&good[good.len() - len..]));
        }
    }
}

#[test]
fn another_version_is_told_from_damage() {
    for (write, open) in BOTH {
        for (version, advice) in [
            (5, "use the newer release that wrote it"),
            (1, "use an older release"),
        ] {
            let error = open(&write(version)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let message = error.message();
            assert!(
                message.contains("this engine knows 2 to 4") && message.ends_with(advice),
                "{message}"
            );
        }
    }
}

/// Its length is that version's own affair.
#[test]
fn another_version_may_have_another_length() {
    const FIXED: Frame = Frame {
        len: Some(24),
        ..HEAD
    };
    for (version, kind) in [(4, ErrorKind::Corruption), (5, ErrorKind::Invalid)] {
        let mut longer = HEAD.magic.to_vec();
        longer.put_u32(version);
        longer.put(&[7; 30]);
        longer.put_checksum();
        assert_eq!(FIXED.open(&longer).unwrap_err().kind(), kind);
        assert_eq!(
            FIXED.open(&longer[..40]).unwrap_err().kind(),
            ErrorKind::Corruption
        );
    }
    FIXED.open(&framed(4)).unwrap();
}

#[test]
fn what_is_refused_is_named() {
    let mut bad = framed(4);
    bad[12] = 78;
    let [stored, computed] = [&framed(4)[..20], &bad[..20]].map(|bytes| crc32(&[bytes]));
    assert_eq!(
        text(HEAD.open(&bad)),
        format!(
            "checksum mismatch ({stored:08x} is stored, {computed:08x} was computed) at byte 20; restore it from a copy"
        )
    );
    assert_eq!(
        text(HEAD.open(&bad[..11])),
        "cut short at byte 11; restore it from a copy"
    );
    bad[8] = 5;
    let damaged = text(HEAD.open(&bad));
    let begins = "format version 5 at byte 8, this engine knows 2 to 4: checksum mismatch (";
    assert!(damaged.starts_with(begins), "{damaged}");
    bad[0] = b'X';
    assert_eq!(
        text(HEAD.open(&bad)),
        "not a list of numbers: 58454e554d424552 at byte 0 instead of the magic SENUMBER, 53454e554d424552; restore it from a copy"
    );
    let fixed = Frame {
        len: Some(23),
        versions: 4..=4,
        ..HEAD
    };
    let advice = "24 bytes, 23 expected; restore it from a copy";
    assert_eq!(text(fixed.open(&framed(4))), advice);
    let other = fixed.open(&framed(9)).unwrap_err();
    assert_eq!(
        other.message(),
        "format version 9 at byte 8, this engine knows 4: use the newer release that wrote it"
    );
}

#[test]
fn varints_round_trip_and_have_their_lengths() {
    for shift in 0..64 {
        for value in [(1u64 << shift) - 1, 1 << shift, (1 << shift) + 1] {
            let mut out = Vec::new();
            out.put_varint(value);
            assert_eq!(out.len(), varint_len(value));
            assert_eq!(get_varint(&out), Some((value, out.len())));
            assert_eq!(get_varint(&out[..out.len() - 1]), None);
            assert_eq!(unzigzag(zigzag(value as i64)), value as i64);
        }
    }
    assert_eq!(varint_len(u64::MAX), MAX_VARINT_LEN);
    assert_eq!([zigzag(0), zigzag(-1), zigzag(1), zigzag(-2)], [0, 1, 2, 3]);
}

#[test]
fn varints_that_do_not_fit_are_none() {
    assert_eq!(get_varint(&[0xff; 10]), None);
    let too_wide = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2];
    assert_eq!(get_varint(&too_wide), None);
    assert_eq!(get_varint(&[]), None);
}
