use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::object_store::{Fault, Rule};

#[derive(Clone, Debug)]
enum Op {
    Write(usize, usize),
    Abandon(usize),
    Read(u64, u64, u64),
    ReadOnce(u64, u64, u64),
    Delete(u64),
    Restart(bool),
    Damage(u64),
    StoreFails(u64),
    StoreCuts,
    DiskFails(u64),
    Heal,
}

fn op() -> impl Strategy<Value = Op> {
    let len = 1..4 * PIECE;
    prop_oneof![
        4 => (len.clone(), 1..2 * PIECE).prop_map(|(len, step)| Op::Write(len, step)),
        1 => len.prop_map(Op::Abandon),
        12 => (0..64u64, any::<u64>(), any::<u64>()).prop_map(|(file, a, b)| Op::Read(file, a, b)),
        2 => (0..64u64, any::<u64>(), any::<u64>()).prop_map(|(file, a, b)| Op::ReadOnce(file, a, b)),
        1 => (0..64u64).prop_map(Op::Delete),
        1 => any::<bool>().prop_map(Op::Restart),
        2 => any::<u64>().prop_map(Op::Damage),
        1 => (1..4u64).prop_map(Op::StoreFails),
        1 => Just(Op::StoreCuts),
        1 => (0..6u64).prop_map(Op::DiskFails),
        3 => Just(Op::Heal),
    ]
}

fn rule(one_in: u64, fault: Fault) -> Rule {
    Rule {
        operation: None,
        key_contains: String::new(),
        pass: 0,
        times: u64::MAX,
        one_in,
        fault,
    }
}

struct Run {
    rig: Rig,
    /// What the store holds: number and length.
    objects: BTreeMap<u64, usize>,
    next: u64,
    /// Whether the store may answer with errors.
    faults: bool,
}

impl Run {
    fn pick(&self, file: u64) -> Option<(u64, usize)> {
        let at = file as usize % self.objects.len().max(1);
        self.objects.iter().nth(at).map(|(&file, &len)| (file, len))
    }

    fn read(&self, file: u64, a: u64, b: u64, once: bool) -> Result<(), TestCaseError> {
        let Some((file, len)) = self.pick(file) else {
            return Ok(());
        };
        let (a, b) = (a % (len as u64 + 1), b % (len as u64 + 1));
        let range = a.min(b)..a.max(b);
        let opened = self.rig.cached.reader_of(&key_of(file), len as u64);
        let read = opened.and_then(|reader| match once {
            true => reader.read_once(range.clone()),
            false => reader.read(range.clone()),
        });
        match read {
            // A store that cuts answers short where nothing checks it.
            Ok(read) if self.faults && read.len() as u64 != range.end - range.start => {}
            Ok(read) => {
                let wanted = &content(file, len)[range.start as usize..range.end as usize];
                prop_assert!(read == wanted, "file {} {:?}", file, range);
            }
            Err(error) => prop_assert!(self.faults, "{}", error),
        }
        Ok(())
    }

    fn write(&mut self, len: usize, step: usize, finish: bool) -> Result<(), TestCaseError> {
        self.next += 1;
        let written = self
            .rig
            .cached
            .writer(&key_of(self.next))
            .and_then(|mut writer| {
                for part in content(self.next, len).chunks(step) {
                    writer.append(part)?;
                }
                if finish { writer.finish() } else { Ok(()) }
            });
        prop_assert!(written.is_ok() || self.faults);
        if finish && written.is_ok() {
            self.objects.insert(self.next, len);
        }
        Ok(())
    }

    fn damage(&self, at: u64) {
        let name = if at.is_multiple_of(5) {
            "index"
        } else {
            "pieces"
        };
        let path = Path::new(DIR).join(name);
        let mut bytes = self.rig.fs.content(&path).unwrap();
        let len = bytes.len() as u64;
        if let Some(byte) = bytes.get_mut((at / 8 % len.max(1)) as usize) {
            *byte ^= 1 << (at % 8);
            self.rig.fs.set_content(&path, bytes).unwrap();
        }
    }

    fn step(mut self, op: Op) -> Result<Self, TestCaseError> {
        match op {
            Op::Write(len, step) => self.write(len, step, true)?,
            Op::Abandon(len) => self.write(len, PIECE, false)?,
            Op::Read(file, a, b) => self.read(file, a, b, false)?,
            Op::ReadOnce(file, a, b) => self.read(file, a, b, true)?,
            Op::Delete(file) => {
                if let Some((file, _)) = self.pick(file)
                    && self.rig.cached.delete(&key_of(file)).is_ok()
                {
                    self.objects.remove(&file);
                }
            }
            Op::Restart(grow) => {
                self.rig.fs.heal();
                self.rig = self.rig.restart(SMALL + u64::from(grow) * 500_000, 1);
            }
            Op::Damage(at) => self.damage(at),
            Op::StoreFails(one_in) => {
                self.faults = true;
                let fault = Fault::Fail(ErrorKind::Unavailable);
                self.rig.remote.add(rule(one_in, fault));
            }
            Op::StoreCuts => {
                self.faults = true;
                self.rig.remote.add(rule(2, Fault::ShortRead));
            }
            Op::DiskFails(pass) => {
                let operation = crate::env::fs::Operation::Write;
                self.rig.fs.fail(operation, pass, 1, ErrorKind::OutOfSpace);
            }
            Op::Heal => {
                self.faults = false;
                self.rig.remote.heal();
                self.rig.fs.heal();
            }
        }
        prop_assert!(self.rig.used() <= SMALL + 500_000);
        Ok(self)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 100 }, ..ProptestConfig::default() })]

    #[test]
    fn it_reads_what_a_plain_store_does(ops in prop::collection::vec(op(), 1..120)) {
        let mut run = Run { rig: Rig::new(SMALL), objects: BTreeMap::new(), next: 0, faults: false };
        for op in ops {
            run = run.step(op)?;
        }
        run.rig.remote.heal();
        run.faults = false;
        for at in 0..run.objects.len() as u64 {
            run.read(at, 0, u64::MAX, false)?;
        }
    }
}
