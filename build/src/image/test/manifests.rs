//! The manifest for Kubernetes, held against its schema.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Lab;
use crate::host::exec;
use crate::host::paths::{self, FolderLock};
use crate::packages::tools::{is_complete, mark_complete};

/// It carries the schemas of Kubernetes' versions.
const PACKAGE: &str = "kubernetes-validate==1.37.*";
const LAYOUT: &str = "1";

pub fn file(name: &str) -> PathBuf {
    paths::workspace().join("build/docker").join(name)
}

pub fn kubernetes(lab: &Lab) -> Result<()> {
    let folder = paths::cache()?.join("kubernetes-validate");
    let packages = folder.join("packages");
    {
        let _lock = FolderLock::acquire(&folder)?;
        if !is_complete(&folder, LAYOUT) {
            let mut pip = exec::pip()?;
            pip.args(["install", "--quiet", "--target"]).arg(&packages);
            exec::output(pip.arg(PACKAGE)).context("fetch kubernetes-validate from PyPI")?;
            mark_complete(&folder, LAYOUT)?;
        }
    }
    let validate = |manifest: &Path| {
        exec::output(
            Command::new("python3")
                .arg(packages.join("bin/kubernetes-validate"))
                .arg("--strict")
                .arg(manifest)
                .env("PYTHONPATH", &packages),
        )
    };
    let manifest = file("kubernetes.yaml");
    validate(&manifest)?;
    // One that accepts anything would say nothing.
    let text = fs::read_to_string(&manifest)?.replace("replicas: 1", "replicas: one");
    let wrong = lab.file("wrong.yaml", text.as_bytes(), 0o644)?;
    ensure!(
        validate(&wrong).is_err(),
        "the schema accepts a word for a number"
    );
    Ok(())
}
