//! The engine, its bridge and its handler as one object file that the server is linked with.
//!
//! In the archive that cargo makes there are also the libraries that the engine is built on, and the server may have one of them too, in another
//! version: zstd for instance. So the linker resolves first what is within the archive, and then all names are made local but two sorts: the plugin's
//! declaration, which the server's table of built-in plugins refers to, and what C++ compilers put into every file that uses it, of which the server's
//! copy and this one have to become the same (inline functions, tables of virtual functions, type information).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::host::exec;
use crate::plugin::Symbols;

/// The plugin's declaration in a server that has it built in; the names of its versions begin alike.
pub const DECLARATION: &str = "builtin_smartengine_plugin";

/// Leaves out the compiler's own form of Rust's library. In pieces that are put together it is of no use, and binutils that know the form
/// take it for the whole file.
const SCRIPT: &str = "SECTIONS { /DISCARD/ : { *(.llvmbc .llvmcmd) } } INSERT AFTER .comment;\n";

/// Makes `object` of an archive, and leaves it untouched, time and all, if it would be the same: the server is linked again for a new one.
pub fn make(archive: &Path, object: &Path) -> Result<()> {
    let whole = object.with_extension("whole.o");
    let names = object.with_extension("names");
    let script = object.with_extension("ld");
    fs::write(&script, SCRIPT).with_context(|| format!("write {}", script.display()))?;
    exec::run(
        Command::new("ld")
            .args(["-r", "-u", DECLARATION, "-T"])
            .arg(&script)
            .arg("-o")
            .arg(&whole)
            .arg(archive),
    )
    .context("link the engine into one object")?;
    let symbols = Symbols::of(&whole, &["--defined-only"])?;
    ensure!(
        symbols.names().contains(DECLARATION),
        "{} has no {DECLARATION}: it was not compiled for a server that has the engine built in",
        archive.display()
    );
    let mut text = String::new();
    for name in hidden(&symbols) {
        text.push_str(name);
        text.push('\n');
    }
    fs::write(&names, text).with_context(|| format!("write {}", names.display()))?;
    let new = object.with_extension("new.o");
    exec::run(
        Command::new("objcopy")
            .arg(format!("--localize-symbols={}", names.display()))
            .arg(&whole)
            .arg(&new),
    )
    .context("make the engine's names its own")?;
    for left in [&whole, &names, &script] {
        fs::remove_file(left).with_context(|| format!("remove {}", left.display()))?;
    }
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    if object.exists() && read(object)? == read(&new)? {
        return fs::remove_file(&new).with_context(|| format!("remove {}", new.display()));
    }
    fs::rename(&new, object).with_context(|| format!("write {}", object.display()))
}

/// What only this object is to see. nm gives a capital letter to what other objects see; `V` and `W` may be in several objects, as may `u`.
fn hidden(symbols: &Symbols) -> Vec<&str> {
    symbols
        .0
        .iter()
        .filter(|(kind, _)| kind.is_ascii_uppercase() && !matches!(kind, 'U' | 'V' | 'W'))
        .map(|(_, name)| name.as_str())
        .filter(|name| !name.starts_with(DECLARATION))
        .collect()
}
