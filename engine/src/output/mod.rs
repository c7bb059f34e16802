//! Writing sorted entries to SSTs: what flush and compaction both stand on.
//!
//! Which entries are still needed ([`DropRules`]), how they are cut into files ([`Output`]), and how fast that may go ([`RateLimiter`]).

mod drop_rules;
mod files;
mod rate_limiter;

pub use drop_rules::DropRules;
pub use files::{Output, OutputHost, OutputSpec};
pub use rate_limiter::RateLimiter;
