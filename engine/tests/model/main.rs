//! The engine against an ordered map, alone and with many threads.

mod locking_reads;
mod model;
mod op;
mod run;
mod threads;
