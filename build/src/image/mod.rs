//! `cargo xtask image`: a container image of a stock server with the plugin, from the files in `build/docker`.
//!
//! What the image does is described there, in `entrypoint.sh`. Here the context is gathered, in `target/image/context`, and Docker builds it. The
//! server is Debian's, in the version that the plugin was built for, or that of another image (`--base`). Docker is the one that runs; where none
//! does, root gets one of our own for as long as the command takes.

mod base;
mod context;
mod docker;
mod test;

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::host::exec;
use crate::host::progress::Step;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{self, PluginArgs};
use crate::test::tally::Tally;

use context::Source;
use docker::Docker;

/// What the image is on unless another base is named.
pub const DEBIAN: &str = "debian:sid-slim";
const TAG: &str = "smartengine-mysql:latest";
/// What nobody should have to pull more than.
const LARGEST: u64 = 400_000_000;

#[derive(clap::Args, Clone, Debug)]
pub struct ImageArgs {
    /// Name of the image
    #[arg(long, default_value = TAG)]
    tag: String,
    /// What it is built on: an image with a server, such as mysql:8.0.35, for which the plugin is built
    ///
    /// The source tree of the server's version is given by --mysql-source. With --builder the plugin is compiled in a first stage of the
    /// image's build, without it on this machine (and checked against the same server, if --mysql-root names it). [default: debian:sid-slim, which
    /// gets Debian's packages]
    #[arg(long, value_name = "IMAGE")]
    base: Option<String>,
    /// The image to compile the plugin in, such as rust:1.95-bookworm
    #[arg(long, value_name = "IMAGE", requires = "base")]
    builder: Option<String>,
    /// Make debian:sid-slim from Debian's packages, by debootstrap, where no registry can be reached; needs root
    #[arg(long, conflicts_with = "base")]
    bootstrap: bool,
    /// Then try the image: first starts, kills, lost volumes, buckets, on an S3 server of this machine
    #[arg(long)]
    test: bool,
}

impl Default for ImageArgs {
    fn default() -> Self {
        Self {
            tag: TAG.to_string(),
            base: None,
            builder: None,
            bootstrap: false,
            test: false,
        }
    }
}

pub fn run(args: &ImageArgs, mysql: &MysqlArgs) -> Result<()> {
    if args.test
        && let Some(reason) = docker::missing()
    {
        println!("image: skipped: {reason}");
        return Ok(());
    }
    let docker = Docker::locate()?;
    build(args, mysql, &docker)?;
    if args.test {
        let tally = test::run(&docker, &args.tag, &Mysql::locate(mysql)?)?;
        println!("{} passed, {} failed", tally.passed, tally.failed);
        ensure!(tally.failed == 0, "{} tests failed", tally.failed);
    }
    Ok(())
}

/// The part of `cargo xtask test`.
pub fn run_tests(mysql: &MysqlArgs) -> Result<Tally> {
    if let Some(reason) = docker::missing() {
        println!("image: skipped: {reason}");
        return Ok(Tally::one_skipped());
    }
    let docker = Docker::locate()?;
    let args = ImageArgs::default();
    build(&args, mysql, &docker)?;
    test::run(&docker, &args.tag, &Mysql::locate(mysql)?)
}

fn build(args: &ImageArgs, mysql: &MysqlArgs, docker: &Docker) -> Result<()> {
    // The base may have the server, so the headers alone do.
    let server = Mysql::for_building(mysql)?;
    let source = match &args.builder {
        Some(_) => Source::Checkout(server.clone()),
        // The libraries of a base that was named may be older than this machine's.
        None => {
            let how = PluginArgs {
                portable: args.base.is_some(),
                ..PluginArgs::default()
            };
            Source::Built(plugin::build(&server, how)?.library)
        }
    };
    let (base, version) = match &args.base {
        Some(base) => (base.as_str(), String::new()),
        None => (
            DEBIAN,
            server
                .debian_version()
                .context("name an image that has it, with --base")?,
        ),
    };
    if args.base.is_none() && (args.bootstrap || docker.is_own()) && !docker.has_image(DEBIAN)? {
        base::make(docker, DEBIAN)?;
    }
    let context = context::gather(&source)?;
    let step = Step::spinner(format!("build the image {}", args.tag));
    let mut command = docker.command();
    command
        // The builder that every Docker has; the other one is a package of its own with many.
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "--tag", &args.tag])
        .args(["--build-arg", &format!("BASE={base}")])
        .args(["--build-arg", &format!("MYSQL_VERSION={version}")]);
    if let Some(builder) = &args.builder {
        command.args(["--build-arg", &format!("BUILDER={builder}")]);
    }
    let log = context.with_file_name("build.log");
    run_logged(command.arg(&context), &log)?;
    step.done();
    let bytes = docker.size(&args.tag)?;
    println!("{} ({:.0} MB)", args.tag, bytes as f64 / 1e6);
    ensure!(
        args.base.is_some() || bytes <= LARGEST,
        "the image has {bytes} bytes, and no more than {LARGEST} are allowed"
    );
    Ok(())
}

/// Runs to the end with its output in a file, whose end is shown if that was a failure.
fn run_logged(command: &mut Command, log: &std::path::Path) -> Result<()> {
    let file = std::fs::File::create(log).with_context(|| format!("create {}", log.display()))?;
    command.stdout(file.try_clone()?).stderr(file);
    if !exec::run_status(command)? {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(25)..].join("\n  ");
        bail!(
            "docker build failed; the end of {}:\n  {tail}",
            log.display()
        );
    }
    Ok(())
}
