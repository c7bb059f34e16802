//! The compose file, started: a server and an S3 server, and the database again after the server's container is gone.
//!
//! Tests reach no registry, so MinIO is not there. Its place takes moto, of Debian's packages, in an image of the tests': service, network, names,
//! credentials and order are the file's own.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::container::wait_until;
use super::{Lab, holds, same};
use crate::host::exec;
use crate::image::docker::Docker;
use crate::server::free_port;

const PROJECT: &str = "smartengine-test-compose";
const S3_IMAGE: &str = "smartengine-test-s3";
/// moto keeps what it has in memory, and has no bucket until it is told to.
const S3_FILE: &str = r#"
FROM debian:sid-slim
RUN apt-get -q -o Acquire::Check-Valid-Until=false update && \
    apt-get -q -y install --no-install-recommends python3-moto python3-flask python3-flask-cors
RUN printf '%s\n' \
    'import threading, time, urllib.request' \
    'from moto.server import main' \
    'def make_bucket():' \
    '    while True:' \
    '        try:' \
    '            return urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:9000/mysql", method="PUT"))' \
    '        except OSError:' \
    '            time.sleep(0.2)' \
    'threading.Thread(target=make_bucket, daemon=True).start()' \
    'main(["-H", "0.0.0.0", "-p", "9000"])' >/serve.py
"#;
const OVERRIDE: &str = "services:\n  s3:\n    entrypoint: [\"python3\", \"/serve.py\"]\n";
const PASSWORD: &str = "of-the-test";

/// The project, removed with its volumes when dropped.
struct Project<'a> {
    lab: &'a Lab<'a>,
    files: [PathBuf; 2],
    port: u16,
}

impl<'a> Project<'a> {
    fn new(lab: &'a Lab<'a>) -> Result<Self> {
        let replaced = lab.file("compose-override.yaml", OVERRIDE.as_bytes(), 0o644)?;
        Ok(Self {
            lab,
            files: [super::manifests::file("compose.yaml"), replaced],
            port: free_port()?,
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.lab.docker.compose();
        for file in &self.files {
            command.arg("-f").arg(file);
        }
        command
            .args(["-p", PROJECT])
            .args(arguments)
            .env("MYSQL_IMAGE", self.lab.image)
            .env("S3_IMAGE", S3_IMAGE)
            .env("MYSQL_PORT", self.port.to_string())
            .env("MYSQL_ROOT_PASSWORD", PASSWORD);
        exec::output(&mut command)
    }

    fn logs(&self) -> String {
        self.run(&["logs", "--no-color"])
            .unwrap_or_else(|error| format!("{error:#}"))
    }

    /// `up`, until the server is healthy.
    fn up(&self) -> Result<()> {
        self.run(&["up", "-d"])?;
        let ready = wait_until(|| {
            Ok(self
                .run(&["exec", "-T", "mysql", "smartengine-healthcheck"])
                .is_ok())
        })?;
        if !ready {
            bail!(
                "the server of compose.yaml is not ready; its log:\n{}",
                self.logs()
            );
        }
        Ok(())
    }

    /// Through the published port, from this machine.
    fn sql(&self, statements: &str) -> Result<String> {
        let text = exec::output(
            Command::new(self.lab.mysql.client("mysql"))
                .args([
                    "--no-defaults",
                    "--host=127.0.0.1",
                    "--user=root",
                    "--batch",
                ])
                .args(["--skip-column-names", "--execute", statements, "shop"])
                .arg(format!("--port={}", self.port))
                .env("MYSQL_PWD", PASSWORD),
        )?;
        Ok(text.trim().to_owned())
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let _ = self.run(&["down", "-v", "-t", "1"]);
    }
}

pub fn started(lab: &Lab) -> Result<()> {
    build_s3(lab.docker)?;
    let project = Project::new(lab)?;
    // What a killed run left.
    let _ = project.run(&["down", "-v", "-t", "1"]);
    project.up()?;
    project
        .sql("CREATE TABLE t (id INT PRIMARY KEY) ENGINE=SMARTENGINE; INSERT INTO t VALUES (7)")?;
    same(
        &project.sql("SELECT @@smartengine_store_url, @@smartengine_commit_durability")?,
        "s3://mysql/data\tobject",
    )?;
    project.run(&["rm", "-s", "-f", "-v", "mysql"])?;
    ensure!(
        project.sql("DO 0").is_err(),
        "the server answers though it was removed"
    );
    project.up()?;
    same(&project.sql("SELECT id FROM t")?, "7")?;
    holds(&project.logs(), "the store holds a database")
}

fn build_s3(docker: &Docker) -> Result<()> {
    let mut build = docker.command();
    build
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "-q", "--tag", S3_IMAGE, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = exec::spawn(&mut build)?;
    child
        .stdin
        .take()
        .context("the input is piped")?
        .write_all(S3_FILE.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "an image with an S3 server could not be built: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
