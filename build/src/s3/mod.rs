//! `cargo xtask s3`: an S3 server on this machine, for trying and testing: a Ceph RADOS Gateway, or moto where that cannot run.
//!
//! A server and all of its files are in one folder below `target/s3`, and it listens on 127.0.0.1 alone. It goes on running after the command that
//! started it, until `down`; what is in it stays for the next `up`, unless `down --remove` takes it away. Its credentials are known to
//! everyone who can read this file.

mod ceph;
pub mod daemon;
mod moto;
mod proxy;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::host::exec;
use crate::host::in_use;
use crate::host::paths;

pub const ACCESS_KEY: &str = "smartengine";
pub const SECRET_KEY: &str = "only-for-this-machine";
/// The bucket that is made unless another one is named.
const BUCKET: &str = "smartengine";
/// The bucket of tests.
pub const TEST_BUCKET: &str = "smartengine-test";
const REGION: &str = "us-east-1";

#[derive(clap::Subcommand)]
pub enum S3 {
    /// Start a server with a bucket, in the background, and say how to use it
    ///
    /// Ceph comes from Debian's packages, moto from PyPI, both fetched once into the cache folder. Without --moto, moto is
    /// taken where Ceph cannot be started.
    Up(UpArgs),
    /// Stop the servers
    Down {
        /// Remove what is in them as well
        #[arg(long)]
        remove: bool,
    },
    /// Say what runs, and how to use it
    Status,
    /// Put a proxy before the server that slows requests or lets them fail, in the foreground
    Proxy(proxy::ProxyArgs),
}

#[derive(clap::Args)]
pub struct UpArgs {
    /// moto instead of Ceph: it keeps everything in memory, and starts in a second
    #[arg(long)]
    moto: bool,
    /// TCP port on 127.0.0.1 of a server that is started for the first time [default: 7480, or any if that is taken]
    #[arg(long)]
    port: Option<u16>,
    /// The bucket to make
    #[arg(long, default_value = BUCKET)]
    bucket: String,
}

/// The two kinds of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ceph,
    Moto,
}

/// A server that runs.
#[derive(Clone, Debug)]
pub struct Server {
    pub kind: Kind,
    /// Such as `http://127.0.0.1:7480`.
    pub endpoint: String,
    /// The certificates of the authority that vouches for it, where it speaks TLS.
    pub authority: Option<PathBuf>,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Ceph => "Ceph RADOS Gateway",
            Self::Moto => "moto",
        }
    }

    fn folder(self) -> PathBuf {
        paths::target().join("s3").join(match self {
            Self::Ceph => "ceph",
            Self::Moto => "moto",
        })
    }

    fn start(self, folder: &Path, port: Option<u16>) -> Result<Server> {
        let endpoint = match self {
            Self::Ceph => ceph::start(folder, port)?,
            Self::Moto => moto::start(folder, port)?,
        };
        Ok(Server {
            kind: self,
            endpoint,
            authority: None,
        })
    }

    fn stop(self, folder: &Path) -> Result<bool> {
        match self {
            Self::Ceph => ceph::stop(folder),
            Self::Moto => moto::stop(folder),
        }
    }
}

/// The URL with the endpoint of the S3 server of this checkout, and its credentials, where that is what is meant.
pub fn with_own_server(store: String) -> Result<(String, Vec<(String, String)>)> {
    let elsewhere = ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    if !store.starts_with("s3://") || store.contains("endpoint=") || elsewhere {
        return Ok((store, Vec::new()));
    }
    let Some(server) = running()? else {
        return Ok((store, Vec::new()));
    };
    let bucket = store.trim_start_matches("s3://").split(['/', '?']).next();
    server.make_bucket(bucket.unwrap_or_default())?;
    let separator = if store.contains('?') { '&' } else { '?' };
    let url = format!("{store}{separator}endpoint={}", server.endpoint);
    Ok((url, server.environment()))
}

/// A prefix in a bucket of the S3 server of this checkout, whatever the environment says of others, and its credentials.
pub fn own_store(prefix: &str) -> Result<(String, Vec<(String, String)>)> {
    let server =
        running()?.context("no S3 server of this checkout runs; cargo xtask s3 up starts one")?;
    server.make_bucket(BUCKET)?;
    Ok((server.url(BUCKET, prefix), server.environment()))
}

pub fn run(args: &S3) -> Result<()> {
    match args {
        S3::Up(args) => {
            let kinds: &[Kind] = match args.moto {
                true => &[Kind::Moto],
                false => &[Kind::Ceph, Kind::Moto],
            };
            let server = start_any(kinds, Kind::folder, args.port)?;
            server.make_bucket(&args.bucket)?;
            server.explain(&args.bucket);
            Ok(())
        }
        S3::Down { remove } => down(*remove),
        S3::Status => {
            match running()? {
                Some(server) => server.explain(BUCKET),
                None => {
                    println!("no S3 server of this checkout runs; cargo xtask s3 up starts one")
                }
            }
            Ok(())
        }
        S3::Proxy(args) => proxy::run(args),
    }
}

/// Starts the first of these that can be started; says why another could not.
fn start_any(
    kinds: &[Kind],
    folder: impl Fn(Kind) -> PathBuf,
    port: Option<u16>,
) -> Result<Server> {
    let mut failures = Vec::new();
    for &kind in kinds {
        match kind.start(&folder(kind), port) {
            Ok(server) => return Ok(server),
            Err(error) => {
                eprintln!("{} could not be started: {error:#}", kind.name());
                failures.push(format!("{}: {error:#}", kind.name()));
                // What did start of it would go on running.
                let _ = kind.stop(&folder(kind));
            }
        }
    }
    bail!("no S3 server could be started: {}", failures.join("; "))
}

fn down(remove: bool) -> Result<()> {
    for kind in [Kind::Ceph, Kind::Moto] {
        let folder = kind.folder();
        if kind.stop(&folder)? {
            println!("{} is stopped", kind.name());
        }
        if remove && folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
    }
    Ok(())
}

/// Starts a server unless one runs.
pub fn run_one() -> Result<()> {
    if running()?.is_none() {
        let server = start_any(&[Kind::Ceph, Kind::Moto], Kind::folder, None)?;
        println!("{} runs at {}", server.kind.name(), server.endpoint);
    }
    Ok(())
}

/// The server of this checkout that runs, if one does.
pub fn running() -> Result<Option<Server>> {
    for (kind, endpoint) in [
        (Kind::Ceph, ceph::running(&Kind::Ceph.folder())?),
        (Kind::Moto, moto::running(&Kind::Moto.folder())?),
    ] {
        if let Some(endpoint) = endpoint {
            return Ok(Some(Server {
                kind,
                endpoint,
                authority: None,
            }));
        }
    }
    Ok(None)
}

/// A server of a command's own, in a folder below `target/s3`; stopped when dropped.
pub struct OwnServer {
    pub server: Server,
    folder: PathBuf,
}

impl OwnServer {
    /// Starts an empty server: Ceph, or moto where that cannot be started, which is said.
    pub fn start(name: &str) -> Result<Self> {
        let folder = |kind: Kind| match kind {
            Kind::Ceph => paths::target().join(format!("s3/{name}-ceph")),
            Kind::Moto => paths::target().join(format!("s3/{name}-moto")),
        };
        in_use::occupy(&paths::target().join("s3").join(name))?;
        for kind in [Kind::Ceph, Kind::Moto] {
            // One that an earlier command left when it was killed.
            kind.stop(&folder(kind))?;
            if folder(kind).exists() {
                fs::remove_dir_all(folder(kind))?;
            }
        }
        let port = crate::server::free_port()?;
        let server = start_any(&[Kind::Ceph, Kind::Moto], folder, Some(port))?;
        let folder = folder(server.kind);
        Ok(Self { server, folder })
    }

    /// Starts a server that speaks TLS, which is moto.
    pub fn start_tls(name: &str) -> Result<Self> {
        let folder = paths::target().join(format!("s3/{name}-tls"));
        in_use::occupy(&folder)?;
        Kind::Moto.stop(&folder)?;
        let (endpoint, authority) = moto::start_tls(&folder)?;
        let server = Server {
            kind: Kind::Moto,
            endpoint,
            authority: Some(authority),
        };
        Ok(Self { server, folder })
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if let Err(error) = self.server.kind.stop(&self.folder) {
            eprintln!("{}: {error:#}", self.server.kind.name());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    /// What it is.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// The variables by which a client finds its credentials.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", REGION),
        ]
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .to_vec()
    }

    /// The URL of a prefix in a bucket of this server.
    pub fn url(&self, bucket: &str, prefix: &str) -> String {
        let authority = match &self.authority {
            Some(file) => format!("&ca={}", file.display()),
            None => String::new(),
        };
        format!(
            "s3://{bucket}/{prefix}?endpoint={}{authority}",
            self.endpoint
        )
    }

    /// Makes a bucket unless it is there.
    pub fn make_bucket(&self, bucket: &str) -> Result<()> {
        let mut python = match self.kind {
            Kind::Ceph => ceph::python()?,
            Kind::Moto => Command::new("python3"),
        };
        python
            .args(["-c", MAKE_BUCKET])
            .args([&self.endpoint, bucket, ACCESS_KEY, SECRET_KEY]);
        if let Some(file) = &self.authority {
            python.env("SSL_CERT_FILE", file);
        }
        exec::output(&mut python).with_context(|| format!("make the bucket {bucket}"))?;
        Ok(())
    }

    fn explain(&self, bucket: &str) {
        println!("{} at {}", self.kind.name(), self.endpoint);
        for (name, value) in self.environment() {
            println!("export {name}={value}");
        }
        println!(
            "export SMARTENGINE_TEST_S3_URL='{}'",
            self.url(bucket, "test")
        );
        println!("cargo xtask run --store s3://{bucket}/data");
    }
}

/// Signs one request as S3 did first, which takes nothing but what Python brings.
const MAKE_BUCKET: &str = r#"
import base64, email.utils, hashlib, hmac, sys, urllib.error, urllib.request
endpoint, bucket, key, secret = sys.argv[1:]
date = email.utils.formatdate(usegmt=True)
text = f"PUT\n\n\n{date}\n/{bucket}"
sign = base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()
request = urllib.request.Request(f"{endpoint}/{bucket}", method="PUT", data=b"", headers={
    "Date": date, "Authorization": f"AWS {key}:{sign}", "Content-Type": ""})
try:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).read()
except urllib.error.HTTPError as error:
    body = error.read().decode(errors="replace")
    if "BucketAlready" not in body:
        sys.exit(f"{error.code}: {body}")
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_bucket_prefix_and_endpoint() {
        let server = Server {
            kind: Kind::Moto,
            endpoint: "http://127.0.0.1:7480".to_string(),
            authority: None,
        };
        assert_eq!(
            server.url("b", "data"),
            "s3://b/data?endpoint=http://127.0.0.1:7480"
        );
    }
}
