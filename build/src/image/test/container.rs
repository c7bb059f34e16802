//! A container of a test, removed with its own volumes when dropped.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::image::docker::Docker;

/// A first start makes a data directory and starts a server twice, on a machine that may be busy.
const START_LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(200);

/// Whether it was `done` in time.
pub fn wait_until(mut done: impl FnMut() -> Result<bool>) -> Result<bool> {
    let start = Instant::now();
    while !done()? {
        if start.elapsed() > START_LIMIT {
            return Ok(false);
        }
        thread::sleep(POLL);
    }
    Ok(true)
}

pub struct Container<'a> {
    docker: &'a Docker,
    pub name: String,
}

impl<'a> Container<'a> {
    /// `docker run -d OPTIONS IMAGE ARGUMENTS`.
    pub fn run(
        docker: &'a Docker,
        name: &str,
        options: &[&str],
        image: &str,
        arguments: &[&str],
    ) -> Result<Self> {
        let name = format!("smartengine-test-{name}");
        // One that a killed command left.
        let _ = docker.output(&["rm", "-f", "-v", &name]);
        let mut all = vec!["run", "-d", "--name", &name];
        all.extend(options);
        all.push(image);
        all.extend(arguments);
        docker.output(&all)?;
        Ok(Self { docker, name })
    }

    fn inspect(&self, format: &str) -> Result<String> {
        self.docker.output(&["inspect", "-f", format, &self.name])
    }

    pub fn is_running(&self) -> Result<bool> {
        Ok(self.inspect("{{.State.Running}}")? == "true")
    }

    pub fn exit_code(&self) -> Result<i32> {
        let text = self.inspect("{{.State.ExitCode}}")?;
        text.parse().context("read an exit code")
    }

    pub fn health(&self) -> Result<String> {
        self.inspect("{{.State.Health.Status}}")
    }

    /// All that it has written.
    pub fn logs(&self) -> Result<String> {
        let output = self.docker.command().args(["logs", &self.name]).output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Waits until the image's own check of its health succeeds.
    pub fn wait_ready(&self) -> Result<()> {
        self.wait("is not ready", || {
            if !self.is_running()? {
                bail!("{} ended ({})", self.name, self.exit_code()?);
            }
            let check = ["exec", &self.name, "smartengine-healthcheck"];
            Ok(self.docker.output(&check).is_ok())
        })
    }

    pub fn wait_log(&self, text: &str) -> Result<()> {
        self.wait(&format!("does not say {text:?}"), || {
            Ok(self.logs()?.contains(text))
        })
    }

    /// Waits until it has ended by itself; gives its exit code.
    pub fn wait_end(&self) -> Result<i32> {
        self.wait("does not end", || Ok(!self.is_running()?))?;
        self.exit_code()
    }

    pub fn wait(&self, what: &str, done: impl FnMut() -> Result<bool>) -> Result<()> {
        match wait_until(done) {
            Ok(true) => Ok(()),
            Ok(false) => bail!("{} {what}; its log:\n{}", self.name, self.logs()?),
            Err(error) => bail!("{error:#}; its log:\n{}", self.logs()?),
        }
    }

    /// `docker stop` within `limit` seconds; gives how long it took and the exit code.
    pub fn stop(&self, limit: u32) -> Result<(Duration, i32)> {
        let start = Instant::now();
        self.docker
            .output(&["stop", "-t", &limit.to_string(), &self.name])?;
        Ok((start.elapsed(), self.exit_code()?))
    }

    pub fn kill(&self) -> Result<()> {
        self.docker.output(&["kill", &self.name])?;
        Ok(())
    }

    pub fn start(&self) -> Result<()> {
        self.docker.output(&["start", &self.name])?;
        Ok(())
    }

    /// A program in the container.
    pub fn exec(&self, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["exec", self.name.as_str()];
        all.extend(arguments);
        self.docker.output(&all)
    }

    /// Statements by the socket; gives what they answer, without column names.
    pub fn sql(&self, user: &str, password: &str, statements: &str) -> Result<String> {
        let mut command: Command = self.docker.command();
        command
            .args(["exec", "-i", "-e", "MYSQL_PWD", &self.name])
            .args(["mysql", "--batch", "--skip-column-names", "-u", user])
            .env("MYSQL_PWD", password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        child
            .stdin
            .take()
            .context("the input is piped")?
            .write_all(statements.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            // The client says some things, of a password that has expired, on its standard output.
            let [said, error] =
                [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
            bail!("{}", format!("{said}{error}").trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.docker.output(&["rm", "-f", "-v", &self.name]);
    }
}
