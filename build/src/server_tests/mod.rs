//! Commands that test a running server: they load it, kill it, take its disk away, and check what it says afterwards.
//!
//! Each is a command of its own, and `cargo xtask test` runs all of them. Suites of SQL scripts are not here: see `test/mtr.rs`.

pub mod history;
pub mod lostdisk;
pub mod matrix;
pub mod random;
pub mod stress;
pub mod torture;
