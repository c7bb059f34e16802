//! The sanitizers that the plugin's C++ is compiled with for tests, and what a stock server needs to load such a plugin.
//!
//! A sanitizer's runtime replaces functions of the C library, so it has to be in the process before all else: the server, which is
//! compiled without, gets it by `LD_PRELOAD`. Only what the plugin's own code does is looked at, and what the runtime sees of calls to
//! the C library.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths;

/// Which of them; one excludes the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sanitizer {
    /// Steps outside of memory, and what the language leaves undefined
    Address,
    /// Accesses of two threads that nothing puts in order
    Thread,
}

impl Sanitizer {
    /// How a report names it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Address => "under the sanitizers of addresses and undefined behaviour",
            Self::Thread => "under the sanitizer of threads",
        }
    }

    /// The plugin crate's feature that asks its build script for it.
    pub fn feature(self) -> &'static str {
        match self {
            Self::Address => "smartengine-plugin/sanitize-address",
            Self::Thread => "smartengine-plugin/sanitize-thread",
        }
    }

    /// The compiler's option.
    pub fn option(self) -> &'static str {
        match self {
            Self::Address => "-fsanitize=address,undefined",
            Self::Thread => "-fsanitize=thread",
        }
    }

    /// The compiler's libraries that have to be in a process first.
    pub fn runtimes(self) -> Result<Vec<PathBuf>> {
        match self {
            Self::Address => Ok(vec![runtime("libasan.so")?, runtime("libubsan.so")?]),
            Self::Thread => Ok(vec![runtime("libtsan.so")?]),
        }
    }

    /// What a server's environment must have. What is found goes to files in `reports`, one for each process; what is undefined behaviour ends the
    /// server, and is in its error log.
    pub fn environment(self, reports: &Path) -> Result<Vec<(&'static str, OsString)>> {
        let mut preload = OsString::new();
        for library in self.runtimes()? {
            if !preload.is_empty() {
                preload.push(":");
            }
            preload.push(library);
        }
        let options = |fixed: &str, name: &str| {
            let mut text = OsString::from(fixed);
            text.push(":log_path=");
            text.push(reports.join(name));
            text
        };
        let mut variables = vec![("LD_PRELOAD", preload)];
        match self {
            Self::Address => {
                // The server's memory at its end is not ours to judge, and it has several copies of a variable where the loader makes one.
                let fixed = "detect_leaks=0:detect_odr_violation=0";
                variables.push(("ASAN_OPTIONS", options(fixed, "address")));
                let fixed = "print_stacktrace=1:halt_on_error=1";
                variables.push(("UBSAN_OPTIONS", options(fixed, "undefined")));
            }
            Self::Thread => {
                // What the server does is not looked at: it is compiled without, so its atomics order nothing that is seen. Its mutexes do.
                let fixed = "ignore_noninstrumented_modules=1:exitcode=0:halt_on_error=0:print_suppressions=0";
                let mut text = options(fixed, "thread");
                text.push(":suppressions=");
                text.push(paths::workspace().join("build/tsan.supp"));
                variables.push(("TSAN_OPTIONS", text));
            }
        }
        Ok(variables)
    }
}

/// A library of the compiler's.
fn runtime(name: &str) -> Result<PathBuf> {
    let path = exec::output(Command::new("g++").arg(format!("-print-file-name={name}")))?;
    std::fs::canonicalize(path.trim())
        .with_context(|| format!("g++ has no {name}: it comes with the compiler's package"))
}
