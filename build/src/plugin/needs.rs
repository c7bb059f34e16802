//! What a shared library asks of the system that loads it: versions of symbols, and libraries.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use goblin::elf::Elf;

/// Read from the library itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The libraries that it names.
    pub libraries: Vec<String>,
    /// Each version that it asks for, `GLIBC_2.28` for instance, with the symbols that it asks for in it.
    pub versions: BTreeMap<String, BTreeSet<String>>,
}

impl Needs {
    pub fn of(library: &Path) -> Result<Self> {
        let bytes = fs::read(library).with_context(|| format!("read {}", library.display()))?;
        Self::parse(&bytes).with_context(|| format!("read the ELF file {}", library.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let elf = Elf::parse(bytes)?;
        let name = |at: usize| elf.dynstrtab.get_at(at).unwrap_or_default().to_owned();
        let mut by_number = BTreeMap::new();
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for need in elf.verneed.iter().flat_map(|needs| needs.iter()) {
            for version in need.iter() {
                let version_name = name(version.vna_name);
                versions.entry(version_name.clone()).or_default();
                by_number.insert(version.vna_other, version_name);
            }
        }
        let numbers = elf.versym.iter().flat_map(|numbers| numbers.iter());
        for (symbol, number) in elf.dynsyms.iter().zip(numbers) {
            if let (true, Some(version)) = (symbol.is_import(), by_number.get(&number.version()))
                && let Some(symbols) = versions.get_mut(version)
            {
                symbols.insert(name(symbol.st_name));
            }
        }
        Ok(Self {
            libraries: elf
                .libraries
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
            versions,
        })
    }

    /// The newest version of the C library that it asks for.
    pub fn glibc(&self) -> Option<&str> {
        self.versions
            .keys()
            .filter_map(|version| version.strip_prefix("GLIBC_"))
            .max_by_key(|version| numbers(version))
    }

    /// What a system does not have whose C library is of this version: a line for each version of a symbol.
    pub fn beyond_of_c(&self, glibc: &str) -> Vec<String> {
        self.lines(|version| {
            let number = version.strip_prefix("GLIBC_");
            number.is_some_and(|number| numbers(number).is_none_or(|it| Some(it) > numbers(glibc)))
        })
    }

    fn lines(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let versions = self.versions.iter().filter(|(version, _)| wanted(version));
        versions
            .map(|(version, symbols)| {
                let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
                format!("{version}: {}", symbols.join(", "))
            })
            .collect()
    }

    /// The same of a system that has no C++ library either.
    pub fn beyond(&self, glibc: &str) -> Vec<String> {
        let mut lines = self.lines(|version| !version.starts_with("GLIBC_"));
        lines.extend(self.beyond_of_c(glibc));
        for library in ["libstdc++.so", "libgcc_s.so"] {
            lines.extend(
                self.libraries
                    .iter()
                    .filter(|name| name.starts_with(library))
                    .cloned(),
            );
        }
        lines
    }
}

/// `2.28` as numbers; none for `PRIVATE` and the like, which are of one build of a library.
fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(versions: &[(&str, &str)], libraries: &[&str]) -> Needs {
        let mut needs = Needs::default();
        for (version, symbol) in versions {
            let symbols = needs.versions.entry((*version).to_owned()).or_default();
            symbols.insert((*symbol).to_owned());
        }
        needs.libraries = libraries.iter().map(|name| (*name).to_owned()).collect();
        needs
    }

    #[test]
    fn versions_are_compared_by_number() {
        let needs = needs(
            &[("GLIBC_2.4", "a"), ("GLIBC_2.17", "b"), ("GLIBC_2.9", "c")],
            &[],
        );
        assert_eq!(needs.glibc(), Some("2.17"));
        assert_eq!(needs.beyond("2.17"), Vec::<String>::new());
        assert_eq!(needs.beyond("2.9"), ["GLIBC_2.17: b"]);
    }

    #[test]
    fn every_version_of_the_cpp_library_is_too_much() {
        let needs = needs(
            &[
                ("GLIBCXX_3.4", "x"),
                ("CXXABI_1.3", "y"),
                ("GLIBC_PRIVATE", "z"),
                ("GLIBC_2.2.5", "a"),
            ],
            &["libstdc++.so.6", "libc.so.6"],
        );
        assert_eq!(
            needs.beyond("2.28"),
            [
                "CXXABI_1.3: y",
                "GLIBCXX_3.4: x",
                "GLIBC_PRIVATE: z",
                "libstdc++.so.6"
            ]
        );
    }
}
