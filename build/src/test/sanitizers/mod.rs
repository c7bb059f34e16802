//! What watches memory and threads while our code runs: Miri and the sanitizers of both compilers, and the decoders that are fuzzed under
//! them.
//!
//! | what runs | under | when |
//! | --- | --- | --- |
//! | the plugin's decoders, fed with bytes that went wrong ([`fuzz`]) | addresses, undefined behaviour | always |
//! | the checks of the plugin's codecs ([`codecs`]) | addresses, undefined behaviour | named, or `--full` |
//! | the engine's tests of what is `unsafe` or shared by threads ([`engine`]) | Miri, addresses, threads | named, or `--full` |
//! | our suites of mysql-test-run, on a plugin compiled for it | addresses and undefined behaviour, threads | `--full` |
//!
//! Each is shown a planted fault first: one that says nothing of it is no test.

pub mod codecs;
pub mod engine;
pub mod fuzz;
mod reports;

pub use reports::Reports;
