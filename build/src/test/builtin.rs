//! What a server does that has the engine built in, tried without building one: the object that such a server is linked with is preloaded into the stock
//! server, and takes the place of one of the plugins that this one has built in (`mysql-plugin/tests/stand_in/builtin.cc`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::host::exec;
use crate::host::paths;
use crate::packages::mysql::Mysql;
use crate::plugin::PluginArgs;
use crate::plugin::builtin;
use crate::server::Setup;

/// What the engine is called in the server's tables, and how it is there.
const ENGINE: &str = "SELECT CONCAT(support, ', ', plugin_status, ', ', load_option, ', ', plugin_library IS NULL) FROM information_schema.engines \
                      JOIN information_schema.plugins ON plugin_name = engine WHERE engine = 'SMARTENGINE'";

/// The server's files are in `target/builtin`.
pub fn check(mysql: &Mysql) -> Result<()> {
    let work = paths::fresh("builtin")?;
    let object = work.join("smartengine.o");
    builtin::object(mysql, PluginArgs::default(), &object)?;
    let library = work.join("builtin.so");
    let stand_in = paths::workspace().join("mysql-plugin/tests/stand_in/builtin.cc");
    let mut compiler = Command::new("g++");
    compiler.args([
        "-std=c++17",
        "-shared",
        "-fPIC",
        "-Wall",
        "-Wextra",
        "-Werror",
    ]);
    compiler.arg(&stand_in).arg(&object).arg("-o").arg(&library);
    exec::run(compiler.args(["-lpthread", "-ldl", "-lm"]))
        .context("link the engine as it is built in")?;

    let store = work.join("store");
    fs::create_dir(&store)?;
    let setup = Setup {
        mysql: mysql.clone(),
        datadir: work.join("data"),
        plugin: None,
        port: None,
        log: Some(work.join("server.log")),
        options: [
            "--default-storage-engine=SMARTENGINE".to_owned(),
            "--smartengine-commit-durability=object".to_owned(),
            format!("--smartengine-store-url=file://{}", store.display()),
        ]
        .map(Into::into)
        .into(),
        environment: vec![("LD_PRELOAD".into(), library.display().to_string())],
    };
    initialize(&setup)?;
    ensure!(
        files(&store)?.is_empty(),
        "mysqld --initialize wrote to the store"
    );

    let server = setup.start()?;
    let mut client = server.connect()?;
    let there = client.query(ENGINE)?.scalar();
    ensure!(
        there == "DEFAULT, ACTIVE, ON, 1",
        "the engine is there as {there:?}"
    );
    client.query("CREATE DATABASE shop")?;
    client.query("CREATE TABLE shop.orders (id INT PRIMARY KEY)")?;
    client.query("INSERT INTO shop.orders VALUES (1), (2)")?;
    client.query("XA START 'third'")?;
    client.query("INSERT INTO shop.orders VALUES (3)")?;
    client.query("XA END 'third'")?;
    client.query("XA PREPARE 'third'")?;
    server.kill()?;

    let server = setup.start().context("after a kill")?;
    let mut client = server.connect()?;
    let sum = "SELECT CONCAT(COUNT(*), ', ', SUM(id)) FROM shop.orders";
    let before = client.query(sum)?.scalar();
    client.query("XA COMMIT 'third'")?;
    let after = client.query(sum)?.scalar();
    ensure!(
        (before.as_str(), after.as_str()) == ("2, 3", "3, 6"),
        "after a kill the rows are {before}, with what was prepared {after}"
    );
    server.kill()?;

    // The server is lost, and another one is made for what the store holds.
    fs::remove_dir_all(&setup.datadir)?;
    let held = files(&store)?;
    initialize(&setup)?;
    ensure!(
        files(&store)? == held,
        "mysqld --initialize changed a store that holds a database"
    );
    let server = setup
        .start()
        .context("with a store that holds a database")?;
    let rows = server.connect()?.query(sum)?.scalar();
    ensure!(rows == "3, 6", "a new server has {rows} of the store");
    server.shut_down()?;

    let mut without = setup.clone();
    without.options = ["--smartengine=OFF".into()].into();
    let server = without.start().context("without the engine")?;
    let there = server.connect()?.query(ENGINE)?.scalar();
    ensure!(
        there == "NO, DISABLED, OFF, 1",
        "with smartengine=OFF the engine is there as {there:?}"
    );
    server.shut_down()
}

/// With the engine's options, which a server takes there that has it built in.
fn initialize(setup: &Setup) -> Result<()> {
    fs::create_dir(&setup.datadir)?;
    let mut mysqld = setup.mysqld();
    mysqld
        .args(["--initialize-insecure", "--secure-file-priv="])
        .args(&setup.options);
    exec::output(&mut mysqld).map(drop)
}

/// All files below a folder, with what is in them.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else {
            all.insert(path.clone(), fs::read(&path)?);
        }
    }
    Ok(all)
}
