//! The S3 backend against a server through a proxy that fails.
//!
//! SMARTENGINE_TEST_S3_URL names the bucket; its server is spoken to over plain HTTP, so that the proxy can stand between. `cargo xtask test` starts
//! one and sets the variable. Without it these tests have nothing to talk to and say so.

mod faults;
mod opening;
mod support;
