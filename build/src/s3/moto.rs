//! moto, a server in Python that keeps its objects in memory: for machines where Ceph does not start.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::daemon;
use crate::host::exec;
use crate::host::paths::{self, FolderLock};
use crate::host::progress::Step;
use crate::packages::tools::{is_complete, mark_complete};

const PACKAGE: &str = "moto[server]==5.2.*";
const LAYOUT: &str = "1";
const START_LIMIT: Duration = Duration::from_secs(60);
const USUAL_PORT: u16 = 7480;

/// Where the Python packages are.
fn packages() -> Result<PathBuf> {
    let folder = paths::cache()?.join("moto");
    if !is_complete(&folder, LAYOUT) {
        let _lock = FolderLock::acquire(&folder)?;
        if !is_complete(&folder, LAYOUT) {
            let step = Step::spinner("download moto from PyPI");
            exec::output(
                exec::pip()?
                    .args(["install", "--quiet", "--target"])
                    .arg(folder.join("packages"))
                    .arg(PACKAGE),
            )
            .context("fetch moto from PyPI")?;
            mark_complete(&folder, LAYOUT)?;
            step.done();
        }
    }
    Ok(folder.join("packages"))
}

pub fn start(folder: &Path, port: Option<u16>) -> Result<String> {
    launch(folder, port, None)
}

/// Starts one that speaks TLS; gives the file of the authority that vouches for it as well.
pub fn start_tls(folder: &Path) -> Result<(String, PathBuf)> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    exec::output(
        Command::new("python3")
            .args(["-c", MAKE_CERTIFICATES])
            .arg(folder)
            .env("PYTHONPATH", packages()?),
    )?;
    let endpoint = launch(folder, None, Some(folder))?;
    Ok((endpoint, folder.join("ca.pem")))
}

fn launch(folder: &Path, port: Option<u16>, certificates: Option<&Path>) -> Result<String> {
    if let Some(endpoint) = running(folder)? {
        return Ok(endpoint);
    }
    let packages = packages()?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let port = daemon::choose_port(port, USUAL_PORT)?;
    let log = folder.join("moto.log");
    let file = fs::File::create(&log)?;
    let mut command = daemon::detached(Path::new("python3"));
    command
        .args(["-c", SERVE])
        // The folder in the command line is what it is known by.
        .arg(format!("{}/", folder.display()))
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .args(certificates.iter().flat_map(|dir| {
            let file = |name: &str| dir.join(name).into_os_string();
            [
                "-c".into(),
                file("server.pem"),
                "-k".into(),
                file("server.key"),
            ]
        }))
        .env("PYTHONPATH", &packages)
        .stdout(file.try_clone()?)
        .stderr(file);
    let mut child = exec::spawn(&mut command)?;
    fs::write(folder.join("moto.pid"), child.id().to_string())?;
    fs::write(folder.join("port"), port.to_string())?;
    let started = daemon::wait(START_LIMIT, || {
        let ready = match certificates {
            Some(_) => TcpStream::connect(("127.0.0.1", port)).is_ok(),
            None => daemon::answers(port),
        };
        ready || alive(folder).is_none()
    });
    if !started || alive(folder).is_none() {
        // It is still our child, and would remain as a zombie.
        let _ = child.kill();
        let _ = child.wait();
        bail!("it does not answer; {}", daemon::tail(&log));
    }
    Ok(match certificates {
        Some(_) => format!("https://127.0.0.1:{port}"),
        None => endpoint(port),
    })
}

/// Makes a certificate authority and a certificate for 127.0.0.1, both valid for a day.
const MAKE_CERTIFICATES: &str = r#"
import datetime, ipaddress, pathlib, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
folder = pathlib.Path(sys.argv[1])
now = datetime.datetime.now(datetime.timezone.utc)
def name(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
def make(subject, issuer, key, signer, extensions):
    builder = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
               .not_valid_after(now + datetime.timedelta(days=1)))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
(folder / "ca.pem").write_bytes(make("test authority", "test authority", authority, authority, [x509.BasicConstraints(True, None)]))
(folder / "server.pem").write_bytes(make("127.0.0.1", "test authority", server, authority, [
    x509.BasicConstraints(False, None), x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])]))
(folder / "server.key").write_bytes(server.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                         serialization.NoEncryption()))
"#;

/// Starts the server; its first argument only says which folder it belongs to.
const SERVE: &str = "import sys; del sys.argv[1]; from moto.server import main; main(sys.argv[1:])";

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn alive(folder: &Path) -> Option<u32> {
    daemon::alive(&folder.join("moto.pid"), folder)
}

pub fn running(folder: &Path) -> Result<Option<String>> {
    if alive(folder).is_none() {
        return Ok(None);
    }
    Ok(Some(endpoint(daemon::read_port(&folder.join("port"))?)))
}

pub fn stop(folder: &Path) -> Result<bool> {
    daemon::stop(&folder.join("moto.pid"), folder)
}
