//! The last scene of the demo on a bucket: the server is killed and its whole disk removed, and another one, on an empty disk, is the same.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::server::{Server, Setup};

/// Loses the disk; returns the new server.
pub fn run(setup: &Setup, server: Server, schemas: &[&str]) -> Result<Server> {
    let before = sums(&server, schemas)?;
    server.kill()?;
    fs::remove_dir_all(&setup.datadir)
        .with_context(|| format!("remove {}", setup.datadir.display()))?;
    println!("\nkilled with -9, and its data directory removed");
    setup.initialize()?;
    let started = Instant::now();
    let server = setup.start().context("start on an empty disk")?;
    let up = started.elapsed();
    let after = sums(&server, schemas)?;
    println!(
        "a new server on an empty disk takes connections after {:.1} s",
        up.as_secs_f64()
    );
    for (table, sum) in &before {
        let now = after.iter().find(|(name, _)| name == table);
        ensure!(
            now.is_some_and(|(_, now)| now == sum),
            "{table} had the checksum {sum} and has {now:?}"
        );
        println!("  {table}: {sum}, as before");
    }
    ensure!(
        after.len() == before.len(),
        "there are other tables than before"
    );
    Ok(server)
}

/// A checksum over all rows of each table.
fn sums(server: &Server, schemas: &[&str]) -> Result<Vec<(String, String)>> {
    let mut client = server.connect()?;
    let mut sums = Vec::new();
    for schema in schemas {
        let tables = client.query(&format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}' AND engine = 'SMARTENGINE' ORDER BY 1"
        ))?;
        for index in 0..tables.len() {
            let name = tables.row(index).into_iter().next().flatten();
            let table = format!("{schema}.{}", name.unwrap_or_default());
            let sum = client.query(&format!("CHECKSUM TABLE {table} EXTENDED"))?;
            let sum = sum.row(0).pop().flatten().unwrap_or_default();
            sums.push((table, sum));
        }
    }
    ensure!(!sums.is_empty(), "there are no tables of SMARTENGINE");
    Ok(sums)
}
