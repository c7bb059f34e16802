//! A store that an older server wrote is attached by a newer one, whose disk is empty; then the older one has to refuse it, and leave every byte as it was.
//! Within a series of long-term support it has to go on with it.
//!
//! What is made and compared is what `cargo xtask lostdisk` makes and compares. Between versions some of it may be told in other words: see [`told`].

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::host::progress::Step;
use crate::packages::mysql::Mysql;
use crate::plugin::Plugin;
use crate::server::client::Client;
use crate::server::{Server, Setup};
use crate::server_tests::lostdisk::compare::Portrait;
use crate::server_tests::lostdisk::schema;

/// Rows of the large table.
const ROWS: u64 = 5_000;
/// What only the older server makes: its accounts of before.
const OLD_ACCOUNTS: [&str; 4] = [
    "GRANT ALL ON *.* TO 'boss'@'localhost' WITH GRANT OPTION",
    "CREATE USER admin@localhost IDENTIFIED BY 'word'",
    "GRANT ALL ON *.* TO admin@localhost WITH GRANT OPTION",
    "REVOKE FILE, SHOW_ROUTINE ON *.* FROM root@localhost",
];
/// An account of a plugin that newer servers do not have, made where the older one has it.
const NATIVE: &str = "native@localhost";
const NATIVE_PLUGIN: &str = "mysql_native_password";
/// What the newer server writes, so that the store is its own.
const WRITTEN: [&str; 4] = [
    "CREATE DATABASE after",
    "CREATE TABLE after.t (id INT PRIMARY KEY)",
    "INSERT INTO after.t VALUES (1), (2)",
    "INSERT INTO shop.big (id, k, pad) VALUES (-1, -1, 'newer')",
];

/// The series within which MySQL goes back to an earlier patch release.
const LONG_TERM: [&str; 3] = ["8.0", "8.4", "9.7"];

/// What a pair came to.
pub struct Attached {
    /// How many objects were compared.
    pub objects: usize,
    /// Whether the older server goes on with what the newer one wrote.
    pub goes_back: bool,
}

/// One server of the pair.
pub struct Side<'a> {
    pub version: &'a str,
    pub mysql: &'a Mysql,
    pub plugin: &'a Plugin,
}

pub fn run(work: &Path, older: &Side, newer: &Side) -> Result<Attached> {
    let step = Step::spinner(format!(
        "attach a store of {} with {}",
        older.version, newer.version
    ));
    let work = work.join(format!("{}-to-{}", older.version, newer.version));
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    }
    fs::create_dir_all(work.join("store"))?;
    let server = start(&work, older, "older")?;
    schema::make(&server, ROWS)?;
    let mut client = server.connect()?;
    for sql in OLD_ACCOUNTS {
        client.query(sql).with_context(|| sql.to_owned())?;
    }
    let has_native = has_plugin(&mut client)?;
    if has_native {
        client.query(&format!(
            "CREATE USER {NATIVE} IDENTIFIED WITH {NATIVE_PLUGIN} BY 'word'"
        ))?;
        client.query(&format!("GRANT SELECT ON shop.* TO {NATIVE}"))?;
    }
    // Both are asked by the newer one's programs.
    let before = Portrait::of(&server, newer.mysql)?;
    let rows = rows(&mut client)?;
    drop(client);
    server.kill()?;

    let server = start(&work, newer, "newer")?;
    let after = Portrait::of(&server, newer.mysql)?;
    before
        .told(told)
        .compare(&after.told(told))
        .with_context(|| {
            format!(
                "a store of {} attached by {}; logs and data are in {}",
                older.version,
                newer.version,
                work.display()
            )
        })?;
    let mut client = server.connect()?;
    if has_native && !has_plugin(&mut client)? {
        let log = fs::read_to_string(work.join("newer.log"))?;
        let named = log
            .lines()
            .any(|line| line.contains(NATIVE) && line.contains(NATIVE_PLUGIN));
        ensure!(named, "the log of {} does not name {NATIVE}", newer.version);
    }
    let now = self::rows(&mut client)?;
    for (table, hash) in &rows {
        ensure!(
            now.get(table) == Some(hash),
            "{table}: its rows are not those that {} wrote; logs and data are in {}",
            older.version,
            work.display()
        );
    }
    for sql in WRITTEN {
        client.query(sql).with_context(|| sql.to_owned())?;
    }
    drop(client);
    server.shut_down()?;

    let goes_back = goes_back(older.version, newer.version);
    if goes_back {
        let server = start(&work, older, "older-again")?;
        server.connect()?.query("INSERT INTO after.t VALUES (3)")?;
        server.shut_down()?;
    } else {
        refuse(&work, older, newer)?;
    }
    // And its own server still takes it, on another empty disk.
    let server = start(&work, newer, "newer-again")?;
    let rows = server.connect()?.query("SELECT COUNT(*) FROM after.t")?;
    let wanted = if goes_back { "3" } else { "2" };
    ensure!(
        rows.scalar() == wanted,
        "after.t has {} rows, not {wanted}",
        rows.scalar()
    );
    server.shut_down()?;
    step.done();
    fs::remove_dir_all(&work).with_context(|| format!("remove {}", work.display()))?;
    Ok(Attached {
        objects: after.len() + rows.len(),
        goes_back,
    })
}

fn has_plugin(client: &mut Client) -> Result<bool> {
    let found = client.query(&format!(
        "SELECT COUNT(*) FROM information_schema.plugins WHERE plugin_name = '{NATIVE_PLUGIN}' AND plugin_status = 'ACTIVE'"
    ))?;
    Ok(found.scalar() == "1")
}

/// Whether MySQL lets the older server go on with what the newer one wrote.
fn goes_back(older: &str, newer: &str) -> bool {
    let series = |version: &str| {
        version
            .rsplit_once('.')
            .map(|(series, _)| series.to_owned())
    };
    let (from, to) = (series(newer), series(older));
    older == newer || (from == to && to.is_some_and(|to| LONG_TERM.contains(&to.as_str())))
}

/// A hash of each table's rows, as a client is given them.
fn rows(client: &mut Client) -> Result<BTreeMap<String, u64>> {
    let tables = client.query(
        "SELECT CONCAT('`', REPLACE(table_schema, '`', '``'), '`.`', REPLACE(table_name, '`', '``'), '`') FROM information_schema.tables \
         WHERE table_type = 'BASE TABLE' AND engine = 'SMARTENGINE'",
    )?;
    let mut hashes = BTreeMap::new();
    for index in 0..tables.len() {
        let Some(table) = tables.row(index).into_iter().next().flatten() else {
            continue;
        };
        let rows = client.query(&format!("SELECT * FROM {table} ORDER BY 1"))?;
        let mut hasher = DefaultHasher::new();
        for row in 0..rows.len() {
            rows.raw(row).hash(&mut hasher);
        }
        hashes.insert(table, hasher.finish());
    }
    ensure!(!hashes.is_empty(), "there are no tables to compare");
    Ok(hashes)
}

/// The older server must not start on what the newer one wrote, says why, and changes nothing.
fn refuse(work: &Path, older: &Side, newer: &Side) -> Result<()> {
    let store = work.join("store");
    let before = files(&store)?;
    match start(work, older, "older-again") {
        Ok(server) => {
            drop(server);
            bail!(
                "{} started on a store that {} had written",
                older.version,
                newer.version
            );
        }
        Err(error) => {
            let log = fs::read_to_string(work.join("older-again.log"))?;
            let said = log
                .lines()
                .any(|line| line.contains(older.version) && line.contains(newer.version));
            ensure!(
                said,
                "{} did not start on a store of {}, and no line of its log names both: {error:#}",
                older.version,
                newer.version
            );
        }
    }
    let after = files(&store)?;
    for (name, hash) in &before {
        match after.get(name) {
            None => bail!(
                "{} removed {name} from a store that it refused",
                older.version
            ),
            Some(now) if now != hash => {
                bail!(
                    "{} changed {name} of a store that it refused",
                    older.version
                )
            }
            Some(_) => {}
        }
    }
    if let Some(name) = after.keys().find(|name| !before.contains_key(*name)) {
        bail!("{} wrote {name} to a store that it refused", older.version);
    }
    Ok(())
}

fn start(work: &Path, side: &Side, name: &str) -> Result<Server> {
    let folder = work.join(name);
    fs::create_dir_all(&folder)?;
    let options = [
        format!(
            "--smartengine-store-url=file://{}",
            work.join("store").display()
        ),
        "--smartengine-commit-durability=object".to_owned(),
        // An attach that is refused must stop the server, not leave it without the engine.
        "--smartengine=FORCE_PLUS_PERMANENT".to_owned(),
        "--gtid-mode=ON".to_owned(),
        "--enforce-gtid-consistency=ON".to_owned(),
        "--partial-revokes=ON".to_owned(),
    ];
    let setup = Setup {
        mysql: side.mysql.clone(),
        datadir: folder.join("data"),
        plugin: Some(side.plugin.clone()),
        port: None,
        log: Some(work.join(format!("{name}.log"))),
        options: options.map(OsString::from).to_vec(),
        environment: Vec::new(),
    };
    setup
        .start()
        .with_context(|| format!("start {}", side.version))
}

/// Every file below the folder, with a hash of its bytes.
fn files(folder: &Path) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_path_buf()];
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            found.insert(path.display().to_string(), hasher.finish());
        }
    }
    Ok(found)
}

/// What the versions say in other words, in words of neither; `None` is what is not compared.
///
/// - mysqldump puts the server's version into its heading, and says what an older one has not.
/// - CHECKSUM TABLE counts bits of a record that are not used, which versions fill in another way, for InnoDB too: [`rows`] compares instead.
/// - The list of an almighty account's rights is compared as a set: see [`rights`].
fn told(asked: &str, answer: &str) -> Option<String> {
    if asked.starts_with("SHOW GRANTS FOR ")
        && ["'root'", "'admin'", "'boss'"]
            .iter()
            .any(|name| asked.contains(name))
    {
        let rights: Vec<String> = rights(answer).into_iter().collect();
        return Some(rights.join("\n"));
    }
    if asked.starts_with("CHECKSUM TABLE ") {
        return None;
    }
    let lines = answer.lines().filter(|line| {
        *line != "--"
            && !line.starts_with("-- Server version")
            && !line.starts_with("-- MySQL dump")
            && !line.starts_with("-- WARNING: can't read the INFORMATION_SCHEMA.libraries")
    });
    Some(lines.collect::<Vec<_>>().join("\n"))
}

/// Rights that came after 8.0, which MySQL's upgrade gives to those who could do the same before.
const NEW_RIGHTS: [&str; 5] = [
    "TRANSACTION_GTID_TAG",
    "OPTIMIZE_LOCAL_TABLE",
    "FLUSH_PRIVILEGES",
    "CREATE_SPATIAL_REFERENCE_SYSTEM",
    "MANAGE_DATA_MASKING_POLICY",
];
/// What has become of a right that newer servers do not have.
const SUCCESSORS: (&str, [&str; 2]) = (
    "SET_USER_ID",
    ["SET_ANY_DEFINER", "ALLOW_NONEXISTENT_DEFINER"],
);

/// Each right that SHOW GRANTS lists, with what it is for and whether it may be granted on, in the words of newer servers; new ones are left out.
fn rights(answer: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in answer.lines() {
        let Some((list, rest)) = line
            .strip_prefix("GRANT ")
            .and_then(|line| line.split_once(" ON "))
        else {
            found.insert(line.to_owned());
            continue;
        };
        for right in list.split(',').map(str::trim) {
            if right == SUCCESSORS.0 {
                found.extend(SUCCESSORS.1.map(|right| format!("{right} ON {rest}")));
            } else if !NEW_RIGHTS.contains(&right) {
                found.insert(format!("{right} ON {rest}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heading_of_a_dump_is_not_compared() {
        let dump = |version: &str| format!("-- Server version\t{version}\nCREATE TABLE t");
        assert_eq!(
            told("mysqldump shop", &dump("8.0.36")),
            told("mysqldump shop", &dump("9.7.4"))
        );
        assert_ne!(told("mysqldump shop", "a"), told("mysqldump shop", "b"));
    }

    #[test]
    fn rights_are_compared_one_by_one_in_the_newer_words() {
        let old =
            rights("GRANT SELECT, DROP ON *.* TO `a`\nGRANT SET_USER_ID,AUDIT_ADMIN ON *.* TO `a`");
        assert!(old.contains("DROP ON *.* TO `a`"));
        let old = rights("GRANT SELECT, SET_USER_ID ON *.* TO `a`\nGRANT `r` TO `a`");
        let new = rights(
            "GRANT `r` TO `a`\nGRANT SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER, OPTIMIZE_LOCAL_TABLE, SELECT ON *.* TO `a`",
        );
        assert_eq!(old, new);
        assert_ne!(old, rights("GRANT SELECT ON *.* TO `a`\nGRANT `r` TO `a`"));
        let granted_on = rights("GRANT SELECT ON *.* TO `a` WITH GRANT OPTION");
        assert_ne!(granted_on, rights("GRANT SELECT ON *.* TO `a`"));
    }

    #[test]
    fn only_a_series_of_long_term_support_goes_back() {
        assert!(goes_back("8.0.35", "8.0.36"));
        assert!(goes_back("9.7.4", "9.7.10"));
        assert!(!goes_back("8.0.36", "8.4.0"));
        assert!(!goes_back("9.6.0", "9.6.1"));
    }

    #[test]
    fn a_changed_file_of_a_store_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let file = folder.path().join("sub/a");
        fs::write(&file, "one").unwrap();
        let before = files(folder.path()).unwrap();
        assert_eq!(before, files(folder.path()).unwrap());
        fs::write(&file, "two").unwrap();
        assert_ne!(before, files(folder.path()).unwrap());
    }
}
