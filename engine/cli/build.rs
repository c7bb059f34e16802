//! Hands options for the linker on to the program. Given to cargo as flags they would be all crates', which would be compiled again for them.

use std::env;

/// Options, one a line.
const OPTIONS: &str = "SMARTENGINE_LINK_OPTIONS";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={OPTIONS}");
    for option in env::var(OPTIONS).unwrap_or_default().lines() {
        println!("cargo:rustc-link-arg-bins={option}");
    }
}
