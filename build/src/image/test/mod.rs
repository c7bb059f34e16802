//! Tries an image as people use it: each case starts containers of its own, with a volume, a bucket of a Ceph gateway, or neither.
//!
//! Containers that use the bucket share the machine's network, since the gateway listens on 127.0.0.1 alone.

mod bucket;
mod compose;
mod container;
mod disk;
mod local;
mod manifests;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::docker::Docker;
use crate::host::paths;
use crate::packages::mysql::Mysql;
use crate::s3::{OwnServer, TEST_BUCKET};
use crate::server::free_port;
use crate::test::tally::Tally;

use container::Container;

/// What a case has at hand.
struct Lab<'a> {
    docker: &'a Docker,
    image: &'a str,
    mysql: &'a Mysql,
    own: OwnServer,
    /// A folder of this run's.
    folder: PathBuf,
}

type Case = (&'static str, fn(&Lab) -> Result<()>);

/// How many cases run at a time.
const WORKERS: usize = 3;

/// What is tried; each case is begun in this order.
const CASES: [Case; 16] = [
    (
        "the Kubernetes manifest fits its schema",
        manifests::kubernetes,
    ),
    ("the compose file, started", compose::started),
    ("commands instead of the server", local::commands),
    ("what the environment lacks is refused", local::refusals),
    (
        "a first start with everything, restart, kill",
        local::everything,
    ),
    (
        "a random password, any user, no writable root",
        local::read_only,
    ),
    ("a first start cut short at any step", local::cut_short),
    ("an init script that fails", local::failing_script),
    ("a full disk", disk::full),
    ("a disk that fills", disk::fills),
    ("a lost volume is attached again", bucket::lost_volume),
    ("two containers on one bucket", bucket::two),
    ("wrong credentials", bucket::wrong_credentials),
    ("half of a first start in a bucket", bucket::half),
    ("a bucket of another server", bucket::anothers),
    ("a bucket of other settings", bucket::other_settings),
];

pub fn run(docker: &Docker, image: &str, mysql: &Mysql) -> Result<Tally> {
    let own = OwnServer::start("image")?;
    own.server.make_bucket(TEST_BUCKET)?;
    let lab = Lab {
        docker,
        image,
        mysql,
        own,
        folder: paths::fresh("image/test")?,
    };
    // Most of a case's time is waiting for servers to start and stop.
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(case) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = attempt(&lab, case);
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(()) => tally.passed += 1,
                        Err(error) => tally.fail(case.0, &format!("{error:#}")),
                    }
                }
            });
        }
    });
    Ok(tally.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn attempt(lab: &Lab, (name, case): &Case) -> Result<()> {
    let start = Instant::now();
    let result = case(lab);
    let seconds = start.elapsed().as_secs_f64();
    match &result {
        Ok(()) => println!("image: {name}: ok ({seconds:.1} s)"),
        Err(error) => println!("image: {name}: FAILED ({seconds:.1} s): {error:#}"),
    }
    result
}

impl<'a> Lab<'a> {
    fn run(&'a self, name: &str, options: &[&str], arguments: &[&str]) -> Result<Container<'a>> {
        Container::run(self.docker, name, options, self.image, arguments)
    }

    /// The same with the bucket, under a prefix.
    fn run_on(
        &'a self,
        prefix: &str,
        name: &str,
        options: &[&str],
        arguments: &[&str],
    ) -> Result<Container<'a>> {
        let server = &self.own.server;
        let mut all = vec!["--network=host".to_string()];
        let url = format!("SMARTENGINE_STORE_URL=s3://{TEST_BUCKET}/{prefix}");
        let endpoint = format!("SMARTENGINE_OBJECTSTORE_ENDPOINT={}", server.endpoint);
        let variables = server.environment().into_iter();
        let variables = variables.map(|(name, value)| format!("{name}={value}"));
        for variable in variables.chain([url, endpoint]) {
            all.extend(["-e".to_string(), variable]);
        }
        // Later ones win.
        all.extend(options.iter().map(|option| option.to_string()));
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        let port = format!("--port={}", free_port()?);
        let mut arguments = arguments.to_vec();
        arguments.extend([port.as_str(), "--mysqlx=OFF"]);
        self.run(name, &all, &arguments)
    }

    /// A file for a container.
    fn file(&self, name: &str, text: &[u8], mode: u32) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(path)
    }

    /// `-v` for a file or folder of the host.
    fn mount(host: &Path, inside: &str) -> String {
        format!("{}:{inside}:ro", host.display())
    }

    /// A new volume, gone at the end.
    fn volume(&'a self, name: &str) -> Result<Volume<'a>> {
        let name = format!("smartengine-test-{name}");
        let _ = self.docker.output(&["volume", "rm", "-f", &name]);
        self.docker.output(&["volume", "create", &name])?;
        Ok(Volume {
            docker: self.docker,
            name,
        })
    }
}

struct Volume<'a> {
    docker: &'a Docker,
    name: String,
}

impl Volume<'_> {
    /// `-v` for the data directory.
    fn mount(&self) -> String {
        format!("{}:/var/lib/mysql", self.name)
    }
}

impl Drop for Volume<'_> {
    fn drop(&mut self) {
        let _ = self.docker.output(&["volume", "rm", "-f", &self.name]);
    }
}

/// Fails with both texts unless one holds the other.
fn holds(text: &str, part: &str) -> Result<()> {
    ensure!(text.contains(part), "{part:?} is not in:\n{text}");
    Ok(())
}

fn lacks(text: &str, part: &str) -> Result<()> {
    ensure!(!text.contains(part), "{part:?} is in:\n{text}");
    Ok(())
}

fn same(got: &str, wanted: &str) -> Result<()> {
    ensure!(got == wanted, "{wanted:?} was expected, not {got:?}");
    Ok(())
}
