//! The S3 backend against a server through a proxy that fails.
//!
//! SMARTENGINE_TEST_S3_URL names the bucket; its server is spoken to over plain HTTP, so that the proxy can stand between. `cargo xtask test` starts
//! one and sets the variable. SMARTENGINE_TEST_S3_TLS_URL names another, at a server that speaks TLS, with its authority. Without them these tests
//! have nothing to talk to and say so.

mod engine;
mod faults;
mod opening;
mod rubbish;
mod support;
