//! The software bill of materials: CycloneDX 1.6 as JSON, of all that is linked into plugin and program.
//!
//! Crates come from `linked`; what is compiled from C and C++ besides is named here. It has no serial number, so the same sources give the same bytes.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::host::exec;
use crate::release::facts::{self, LICENCE, NAME, SUMMARY, VERSION};
use crate::release::linked::{Crate, Crates, Id, ROOTS};

/// What the program's and the plugin's crates may be used under.
const PROGRAM_LICENCE: &str = "Apache-2.0 OR GPL-2.0-only";

/// Of plugin and program, in this order, for that version of the server.
pub fn text(
    files: [&Path; 2],
    crates: &Crates,
    server_version: &str,
    is_portable: bool,
) -> Result<String> {
    let foreign = foreign(crates, server_version, is_portable)?;
    let refs = |used_by: &str| {
        let used = foreign.iter().filter(|it| it.used_by.contains(&used_by));
        used.map(|it| it.reference()).collect::<Vec<_>>()
    };
    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    for (id, it) in crates {
        components.push(component(id, it));
        let mut needs: Vec<String> = it.dependencies.iter().map(reference).collect();
        needs.extend(refs(&id.name));
        dependencies.push(json!({"ref": reference(id), "dependsOn": needs}));
    }
    for it in &foreign {
        components.push(it.component());
        dependencies.push(json!({"ref": it.reference(), "dependsOn": []}));
    }
    let mut own = Vec::new();
    for (root, (kind, name, file, licence)) in ROOTS.iter().zip([
        ("library", "ha_smartengine.so", files[0], LICENCE),
        ("application", "smartengine", files[1], PROGRAM_LICENCE),
    ]) {
        own.push(json!({
            "type": kind,
            "bom-ref": name,
            "name": name,
            "version": VERSION,
            "hashes": [{"alg": "SHA-256", "content": facts::sha256(file)?}],
            "licenses": [{"expression": licence}],
        }));
        let id = crates.keys().find(|id| id.name == *root);
        let mut needs = vec![reference(id.context("the tree has its roots")?)];
        needs.extend(refs(name));
        dependencies.push(json!({"ref": name, "dependsOn": needs}));
    }
    dependencies.push(json!({"ref": NAME, "dependsOn": ["ha_smartengine.so", "smartengine"]}));
    let bom = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": facts::date_text("%Y-%m-%dT%H:%M:%SZ")?,
            "component": {
                "type": "application",
                "bom-ref": NAME,
                "name": NAME,
                "version": format!("{VERSION}+mysql{server_version}"),
                "description": SUMMARY,
                "licenses": [{"expression": LICENCE}],
                "components": own,
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    Ok(format!("{bom:#}\n"))
}

fn reference(id: &Id) -> String {
    format!("{}@{}", id.name, id.version)
}

fn component(id: &Id, it: &Crate) -> Value {
    let mut value = json!({
        "type": "library",
        "bom-ref": reference(id),
        "name": id.name,
        "version": id.version,
        "licenses": [{"expression": expression(&it.licence)}],
    });
    // Ours are in no registry.
    if let Some(checksum) = &it.checksum {
        value["purl"] = purl("cargo", &id.name, &id.version).into();
        value["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if !it.repository.is_empty() {
        value["externalReferences"] = json!([{"type": "vcs", "url": it.repository}]);
    }
    value
}

/// Older manifests part licences by a slash, of which the user may choose.
fn expression(licence: &str) -> String {
    let parts: Vec<&str> = licence.split('/').map(str::trim).collect();
    parts.join(" OR ")
}

/// A package URL. In it a version's plus would be a space.
fn purl(kind: &str, name: &str, version: &str) -> String {
    format!("pkg:{kind}/{name}@{}", version.replace('+', "%2B"))
}

/// What is linked and is no crate.
struct Foreign {
    name: &'static str,
    version: String,
    licence: &'static str,
    description: &'static str,
    purl: String,
    /// Crates or files.
    used_by: &'static [&'static str],
}

impl Foreign {
    fn reference(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    fn component(&self) -> Value {
        json!({
            "type": "library",
            "bom-ref": self.reference(),
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "licenses": [{"expression": self.licence}],
            "purl": self.purl,
        })
    }
}

fn foreign(crates: &Crates, server_version: &str, is_portable: bool) -> Result<Vec<Foreign>> {
    let rust = exec::output(
        Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"),
    )?;
    let rust = rust
        .lines()
        .find_map(|line| line.strip_prefix("release: "))
        .context("rustc says its version")?
        .to_owned();
    let zstd = crates.keys().find(|id| id.name == "zstd-sys");
    let zstd = zstd
        .and_then(|id| id.version.split_once("+zstd."))
        .context("zstd-sys has the version of zstd in its own")?
        .1
        .to_owned();
    let mut all = vec![
        Foreign {
            name: "rust-std",
            purl: purl("generic", "rust-std", &rust),
            version: rust,
            licence: "MIT OR Apache-2.0",
            description: "Rust's standard library",
            used_by: &["ha_smartengine.so", "smartengine"],
        },
        Foreign {
            name: "mysql",
            purl: purl("generic", "mysql", server_version),
            version: server_version.to_owned(),
            licence: "GPL-2.0-only",
            description: "headers of the server, and its library of plugin services",
            used_by: &["ha_smartengine.so"],
        },
        Foreign {
            name: "zstd-c",
            purl: format!("pkg:github/facebook/zstd@v{zstd}"),
            version: zstd,
            licence: "BSD-3-Clause OR GPL-2.0-only",
            description: "the C library in zstd-sys",
            used_by: &["zstd-sys"],
        },
    ];
    if is_portable {
        let gcc = exec::output(Command::new("g++").arg("-dumpfullversion"))?;
        let gcc = gcc.trim().to_owned();
        all.push(Foreign {
            name: "libstdc++",
            purl: purl("generic", "libstdc%2B%2B", &gcc),
            version: gcc,
            licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
            description: "GCC's C++ library and unwinder",
            used_by: &["ha_smartengine.so"],
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::release::linked;

    #[test]
    fn what_is_linked_is_named_and_what_only_builds_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "abc").unwrap();
        let crates = linked::crates().unwrap();
        let bom = |is_portable| text([&file, &file], &crates, "8.0.36", is_portable).unwrap();
        assert_eq!(bom(true), bom(true));
        for (wanted, is_portable) in [("libstdc++@", true), ("mysql@8.0.36", false)] {
            assert!(bom(is_portable).contains(wanted), "{wanted}");
        }
        assert!(!bom(false).contains("libstdc++"));
        let bom: Value = serde_json::from_str(&bom(false)).unwrap();
        let names: Vec<&str> = bom["components"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|it| it["name"].as_str())
            .collect();
        assert!(names.contains(&"aws-sdk-s3") && names.contains(&"clap"));
        assert!(!names.contains(&"cc") && !names.contains(&"tempfile"));
        // The digest of "abc".
        assert_eq!(
            bom["metadata"]["component"]["components"][0]["hashes"][0]["content"],
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let texts = linked::licences(&crates).unwrap();
        assert!(texts.contains("Permission is hereby granted"));
    }

    #[test]
    fn licences_become_expressions_and_versions_parts_of_urls() {
        assert_eq!(expression("MIT/Apache-2.0"), "MIT OR Apache-2.0");
        assert_eq!(expression("Apache-2.0 / MIT"), "Apache-2.0 OR MIT");
        assert_eq!(expression("MIT AND Unicode-3.0"), "MIT AND Unicode-3.0");
        assert_eq!(
            purl("cargo", "zstd-sys", "2.0.16+zstd.1.5.7"),
            "pkg:cargo/zstd-sys@2.0.16%2Bzstd.1.5.7"
        );
    }
}
