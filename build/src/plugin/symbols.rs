//! Takes the debug information out of a library that was linked, into a file beside it.
//!
//! Most of what the linker writes is for debuggers alone. The symbols file keeps it, compressed; the library keeps its build id, which both
//! have, and a section `.gnu_debuglink` with that file's name and checksum, by which gdb, addr2line, perf, valgrind and Rust's own backtraces find it
//! in the library's folder or in `/usr/lib/debug`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;

/// Moves the symbols of `library` to `symbols`. The library refers to the file by the name that it has now.
pub fn split(library: &Path, symbols: &Path) -> Result<()> {
    exec::run(
        Command::new("objcopy")
            .args(["--only-keep-debug", "--compress-debug-sections=zlib"])
            .arg(library)
            .arg(symbols),
    )
    .with_context(|| format!("write {}", symbols.display()))?;
    let mut link = std::ffi::OsString::from("--add-gnu-debuglink=");
    link.push(symbols);
    exec::run(
        Command::new("objcopy")
            .arg("--strip-unneeded")
            .arg(link)
            .arg(library),
    )
    .with_context(|| format!("take the symbols out of {}", library.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    fn output(program: &str, arguments: &[&str], file: &Path) -> String {
        exec::output(Command::new(program).args(arguments).arg(file)).unwrap()
    }

    fn build_id(file: &Path) -> String {
        let notes = output("readelf", &["--notes"], file);
        let line = notes.lines().find(|line| line.contains("Build ID"));
        line.expect("a build id").trim().to_owned()
    }

    #[test]
    fn a_debugger_finds_a_line_of_a_library_whose_symbols_were_taken_out() {
        let dir = tempfile::tempdir().unwrap();
        let (source, library) = (dir.path().join("a.cc"), dir.path().join("a.so"));
        let symbols = dir.path().join("a.so.debug");
        fs::write(
            &source,
            "extern \"C\" int shown(int a) {\n  return a + 1;\n}\n",
        )
        .unwrap();
        exec::run(
            Command::new("g++")
                .args(["-shared", "-fPIC", "-g", "-O0", "-Wl,--build-id=sha1", "-o"])
                .args([&library, &source]),
        )
        .unwrap();
        let whole = fs::metadata(&library).unwrap().len();
        let id = build_id(&library);
        split(&library, &symbols).unwrap();
        assert!(fs::metadata(&library).unwrap().len() < whole);
        assert!(!output("readelf", &["--sections", "--wide"], &library).contains(".debug_info"));
        assert_eq!((build_id(&library), build_id(&symbols)), (id.clone(), id));
        let table = output("nm", &["-D", "--defined-only", "--format=posix"], &library);
        let address = table
            .lines()
            .find_map(|line| line.strip_prefix("shown T "))
            .and_then(|rest| rest.split(' ').next())
            .expect("its function is still exported");
        let line = |file: &Path| {
            let place = Command::new("addr2line")
                .arg("-e")
                .arg(file)
                .arg(address)
                .output()
                .unwrap();
            String::from_utf8(place.stdout).unwrap()
        };
        assert!(line(&library).contains("a.cc:1"), "{}", line(&library));
        fs::remove_file(&symbols).unwrap();
        assert!(!line(&library).contains("a.cc"), "{}", line(&library));
    }
}
