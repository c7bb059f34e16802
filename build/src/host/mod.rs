//! The machine that `cargo xtask` runs on: its programs, its folders, its terminal.

pub mod exec;
pub mod in_use;
pub mod paths;
pub mod progress;
pub mod table;
