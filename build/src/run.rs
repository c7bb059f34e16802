//! `cargo xtask run`: a server in the foreground with the plugin loaded.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::host::paths;
use crate::packages::mysql::{Mysql, MysqlArgs};
use crate::plugin::{self, PluginArgs};
use crate::s3;
use crate::server::Setup;

#[derive(clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    plugin: PluginArgs,
    /// Where SMARTENGINE keeps its data, such as file:///srv/store or s3://bucket/prefix [default: a folder in the data directory]
    ///
    /// An s3:// URL without an endpoint means the server that cargo xtask s3 up started, where it runs and the environment has no
    /// credentials for another. The bucket is made there if it has none of that name.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// TCP port on 127.0.0.1
    #[arg(long, default_value_t = 3307)]
    port: u16,
    /// Data directory of the server; made if it is not there [default: target/run/data]
    #[arg(long, value_name = "DIR")]
    datadir: Option<PathBuf>,
    /// Further options of mysqld, after --
    #[arg(last = true, value_name = "MYSQLD OPTIONS")]
    options: Vec<OsString>,
}

pub fn run(args: RunArgs, mysql: &MysqlArgs) -> Result<()> {
    let mysql = Mysql::locate(mysql)?;
    let plugin = plugin::build(&mysql, args.plugin)?;
    let datadir = match args.datadir {
        Some(dir) => std::path::absolute(dir)?,
        None => paths::target().join("run/data"),
    };
    let mut options = args.options;
    let mut environment = Vec::new();
    if let Some(store) = args.store {
        let (store, variables) = s3::with_own_server(store)?;
        environment = variables;
        options.insert(0, format!("--smartengine-store-url={store}").into());
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;
    let mut server = Setup {
        mysql: mysql.clone(),
        datadir: datadir.clone(),
        plugin: Some(plugin),
        port: Some(args.port),
        log: None,
        options,
        environment,
    }
    .start()?;
    println!("\nReady. Data directory: {}", datadir.display());
    println!("Connect with either of");
    let client = mysql.client("mysql");
    println!(
        "  {} -u root -S {}",
        client.display(),
        server.socket().display()
    );
    println!("  mysql -u root -h 127.0.0.1 -P {}", server.port());
    println!("Stop with Ctrl-C.\n");
    while !interrupted.load(Ordering::Relaxed) {
        if let Some(status) = server.ended()? {
            if status.success() {
                return Ok(());
            }
            bail!("the server ended ({status})");
        }
        thread::sleep(Duration::from_millis(100));
    }
    server.shut_down()
}
