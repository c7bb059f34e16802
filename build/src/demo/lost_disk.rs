//! The last scene of the demo on a bucket: the server is killed and its whole disk removed; another server, started on an empty disk, has to show the same.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::server::client::Client;
use crate::server::{Server, Setup};

/// Things that are not tables, made to be lost and found again.
const DEFINITIONS: [&str; 3] = [
    "CREATE VIEW stream.latest AS SELECT id, text FROM stream.events WHERE id > 10",
    "CREATE USER visitor@localhost IDENTIFIED BY 'a word'",
    "GRANT SELECT ON stream.latest TO visitor@localhost",
];

/// Loses the disk; returns the new server.
pub fn run(setup: &Setup, server: Server, schemas: &[&str]) -> Result<Server> {
    let mut client = server.connect()?;
    for statement in DEFINITIONS {
        client.query(statement)?;
    }
    let before = look(&mut client, schemas)?;
    let elsewhere = tables(&mut client, schemas, "InnoDB")?.len();
    drop(client);
    server.kill()?;
    fs::remove_dir_all(&setup.datadir)
        .with_context(|| format!("remove {}", setup.datadir.display()))?;
    println!("\nkilled with -9, and its data directory removed: what is left is in the bucket");
    setup.initialize()?;
    let started = Instant::now();
    let server = setup.start().context("start on an empty disk")?;
    println!(
        "a new server, on an empty data directory, takes connections after {:.1} s, and has",
        started.elapsed().as_secs_f64()
    );
    let mut client = server.connect()?;
    let after = look(&mut client, schemas)?;
    for (what, then) in &before {
        let now = after.iter().find(|(name, _)| name == what);
        ensure!(
            now.is_some_and(|(_, now)| now == then),
            "{what} was {then} and is {now:?}"
        );
        match what.starts_with("SHOW") {
            true => println!("  {what}: as before"),
            false => println!("  {what}: checksum {then}, as before"),
        }
    }
    ensure!(
        after.len() == before.len(),
        "there are other tables than before"
    );
    let left = tables(&mut client, schemas, "InnoDB")?.len();
    ensure!(left == 0, "{left} tables of InnoDB outlived their disk");
    println!("the {elsewhere} tables of InnoDB were on the disk alone, and are gone with it");
    drop(client);
    Ok(server)
}

/// A checksum over all rows of each table, and what the server shows of the rest.
fn look(client: &mut Client, schemas: &[&str]) -> Result<Vec<(String, String)>> {
    let mut seen = Vec::new();
    for table in tables(client, schemas, "SMARTENGINE")? {
        let sum = client.query(&format!("CHECKSUM TABLE {table} EXTENDED"))?;
        let sum = sum.row(0).pop().flatten().unwrap_or_default();
        seen.push((table, sum));
    }
    ensure!(!seen.is_empty(), "there are no tables of SMARTENGINE");
    client.query("SET SESSION print_identified_with_as_hex = ON")?;
    for statement in [
        "SHOW CREATE VIEW stream.latest",
        "SHOW CREATE USER visitor@localhost",
        "SHOW GRANTS FOR visitor@localhost",
    ] {
        let rows = client.query(statement)?;
        let rows: Vec<_> = (0..rows.len()).map(|index| rows.row(index)).collect();
        seen.push((statement.to_owned(), format!("{rows:?}")));
    }
    Ok(seen)
}

fn tables(client: &mut Client, schemas: &[&str], engine: &str) -> Result<Vec<String>> {
    let names = schemas
        .iter()
        .map(|name| format!("'{name}'"))
        .collect::<Vec<_>>();
    let rows = client.query(&format!(
        "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables \
         WHERE table_schema IN ({}) AND engine = '{engine}' ORDER BY 1",
        names.join(", ")
    ))?;
    Ok((0..rows.len())
        .filter_map(|index| rows.row(index).into_iter().next().flatten())
        .collect())
}
