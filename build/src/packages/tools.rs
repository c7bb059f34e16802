//! Programs and libraries that building and testing need and the host may lack, unpacked from Debian's packages into
//! the cache folder: libclang for bindgen, clang-format, patchelf, sysbench and Perl's JSON module.
//!
//! They come from the oldest Debian that is supported: its libraries load on every newer host, and all developers
//! get the same clang-format.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::host::exec;
use crate::host::paths::{self, FolderLock};
use crate::packages::apt::{self, Apt};

const SUITE: &str = "bookworm";
const PACKAGES: [&str; 6] = [
    "libclang1-16",
    "libclang-common-16-dev",
    "clang-format-16",
    "patchelf",
    "sysbench",
    "libjson-perl",
];
/// Raised when what is fetched changes, so that folders filled by an older `xtask` are filled again.
const LAYOUT: &str = "1";
/// The C and C++ runtimes must be the host's own: programs of the host load our libclang.
const FROM_HOST: [&str; 4] = ["libc6", "libgcc-s1", "libstdc++6", "libcrypt1"];

/// The folder they are unpacked in.
pub struct Tools {
    root: PathBuf,
    multiarch: &'static str,
}

impl Tools {
    /// Finds the tools, fetching them on first use.
    pub fn locate() -> Result<Self> {
        let folder = paths::cache()?.join("tools").join(SUITE);
        let tools = Self {
            root: folder.join("root"),
            multiarch: paths::multiarch()?,
        };
        let complete = || is_complete(&folder, LAYOUT);
        if !complete() {
            let _lock = FolderLock::acquire(&folder)?;
            if !complete() {
                tools.fetch(&folder).context("fetch build tools")?;
            }
        }
        Ok(tools)
    }

    fn fetch(&self, folder: &Path) -> Result<()> {
        let apt = Apt::update(&folder.join("apt"), SUITE)?;
        let mut names: Vec<String> = PACKAGES.iter().map(|name| name.to_string()).collect();
        names.extend(
            apt.libraries(&PACKAGES)?
                .into_iter()
                .filter(|name| !FROM_HOST.contains(&name.as_str()))
                .filter(|name| !PACKAGES.contains(&name.as_str())),
        );
        let debs = folder.join("debs");
        let files = apt.download(&debs, &names, "build tools")?;
        apt::unpack(&files, &self.root, "build tools")?;
        self.adopt_libclang()?;
        mark_complete(folder, LAYOUT)?;
        fs::remove_dir_all(&debs).with_context(|| format!("remove {}", debs.display()))
    }

    /// Lets libclang find the libraries beside it: it is loaded by build scripts, whose environment is not ours to set.
    fn adopt_libclang(&self) -> Result<()> {
        for entry in fs::read_dir(self.libraries())? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("libclang-") && entry.file_type()?.is_file() {
                exec::output(
                    self.patchelf()
                        .arg("--force-rpath")
                        .arg("--set-rpath")
                        .arg(self.libraries())
                        .arg(entry.path()),
                )?;
            }
        }
        Ok(())
    }

    /// Where libclang is, for bindgen's `LIBCLANG_PATH`.
    pub fn libraries(&self) -> PathBuf {
        self.root.join("usr/lib").join(self.multiarch)
    }

    /// Tells libclang where its own headers are, for `BINDGEN_EXTRA_CLANG_ARGS`.
    pub fn clang_arguments(&self) -> String {
        let headers = self.root.join("usr/lib/llvm-16/lib/clang/16");
        format!("-resource-dir={}", headers.display())
    }

    /// A command for one of the programs, able to find its libraries.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.root.join("usr/bin").join(program));
        command.env("LD_LIBRARY_PATH", self.libraries());
        command
    }

    pub fn clang_format(&self) -> Command {
        self.command("clang-format-16")
    }

    pub fn patchelf(&self) -> Command {
        self.command("patchelf")
    }

    /// sysbench, with the authentication plugins of the client library it links.
    pub fn sysbench(&self) -> Command {
        let mut command = self.command("sysbench");
        command
            .env(
                "MARIADB_PLUGIN_DIR",
                self.libraries().join("libmariadb3/plugin"),
            )
            .env("LUA_PATH", self.lua_path());
        command
    }

    fn lua_path(&self) -> OsString {
        let mut path = self.scripts().into_os_string();
        path.push("/?.lua;;");
        path
    }

    /// sysbench's own Lua scripts.
    pub fn scripts(&self) -> PathBuf {
        self.root.join("usr/share/sysbench")
    }

    /// The folder of Perl modules, for `PERL5LIB`.
    pub fn perl_modules(&self) -> PathBuf {
        self.root.join("usr/share/perl5")
    }
}

/// Whether `folder` was filled to the end in this layout.
pub fn is_complete(folder: &Path, layout: &str) -> bool {
    fs::read_to_string(folder.join(".complete")).is_ok_and(|text| text == layout)
}

/// Says that everything is in place. Written last, so a run that was cut short starts again.
pub fn mark_complete(folder: &Path, layout: &str) -> Result<()> {
    let path = folder.join(".complete");
    fs::write(&path, layout).with_context(|| format!("write {}", path.display()))
}
