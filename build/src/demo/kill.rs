//! A server that is killed while several clients insert: what was acknowledged must be there, and no statement half.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::server::client::Client;
use crate::server::engines::Engine;
use crate::server::{Server, Setup};

const WRITERS: u32 = 4;
/// Rows of one statement.
const BATCH: u64 = 10;
/// Fewer acknowledged statements than this prove nothing.
const ENOUGH: u64 = 40;
const PATIENCE: Duration = Duration::from_secs(60);

/// Streams inserts, kills the server, starts it again and compares. Returns the new server.
pub fn run(setup: &Setup, server: Server, engine: Engine, stream: Duration) -> Result<Server> {
    let mut client = server.connect()?;
    client.query("CREATE DATABASE stream")?;
    client.query(&format!(
        "CREATE TABLE stream.events (id BIGINT AUTO_INCREMENT PRIMARY KEY, writer INT NOT NULL, statement INT NOT NULL, \
         part INT NOT NULL, text VARCHAR(100) NOT NULL, UNIQUE KEY by_part (writer, statement, part), KEY by_text (text)) \
         ENGINE={}",
        engine.name()
    ))?;
    drop(client);
    println!(
        "\n{WRITERS} clients insert into {}, {BATCH} rows a statement",
        engine.name()
    );
    // What each writer has been told is committed.
    let acknowledged: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| -> Result<()> {
        for (writer, counter) in acknowledged.iter().enumerate() {
            let mut client = server.connect()?;
            // It ends with the error that the server's death brings.
            scope.spawn(move || {
                while let Ok(()) = insert(&mut client, writer, counter.load(Ordering::Relaxed)) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let started = Instant::now();
        let total = || -> u64 { acknowledged.iter().map(|n| n.load(Ordering::Relaxed)).sum() };
        while started.elapsed() < stream || (total() < ENOUGH && started.elapsed() < PATIENCE) {
            thread::sleep(Duration::from_millis(10));
        }
        server.kill()
    })?;
    let counts: Vec<u64> = acknowledged
        .into_iter()
        .map(AtomicU64::into_inner)
        .collect();
    let total: u64 = counts.iter().sum();
    ensure!(
        total >= ENOUGH,
        "only {total} statements were acknowledged: see the server's log"
    );
    println!("killed with -9 after {total} acknowledged statements");
    let started = Instant::now();
    let server = setup.start().context("start after the kill")?;
    println!("started again in {:.1} s", started.elapsed().as_secs_f64());
    check(&mut server.connect()?, &counts)?;
    Ok(server)
}

fn text(writer: usize, statement: u64, part: u64) -> String {
    format!("writer {writer} statement {statement} part {part}")
}

fn insert(client: &mut Client, writer: usize, statement: u64) -> Result<()> {
    let rows: Vec<String> = (0..BATCH)
        .map(|part| {
            let text = text(writer, statement, part);
            format!("({writer}, {statement}, {part}, '{text}')")
        })
        .collect();
    client.query(&format!(
        "INSERT INTO stream.events (writer, statement, part, text) VALUES {}",
        rows.join(", ")
    ))?;
    Ok(())
}

/// Compares the table with what the writers were told.
fn check(client: &mut Client, acknowledged: &[u64]) -> Result<()> {
    let rows = client.query(
        "SELECT writer, statement, part, text FROM stream.events ORDER BY writer, statement, part",
    )?;
    let mut found = vec![0; acknowledged.len()];
    let mut next = (0, 0, 0);
    for index in 0..rows.len() {
        let row = rows.row(index);
        let number = |column: usize| -> Option<u64> { row.get(column)?.as_ref()?.parse().ok() };
        let (writer, statement, part) = number(0)
            .zip(number(1))
            .zip(number(2))
            .map(|((writer, statement), part)| (writer, statement, part))
            .with_context(|| format!("row {row:?} is not one that was written"))?;
        if writer != next.0 {
            next = (writer, 0, 0);
        }
        ensure!(
            (writer, statement, part) == next,
            "statement {statement} of writer {writer} is there in half: part {part} follows where {next:?} was to come"
        );
        let writer = usize::try_from(writer)?;
        let expected = text(writer, statement, part);
        ensure!(
            row[3].as_deref() == Some(expected.as_str()),
            "row {row:?} came back with another text"
        );
        next = match part + 1 {
            BATCH => {
                let slot = found
                    .get_mut(writer)
                    .context("a row of a writer that never was")?;
                *slot += 1;
                (next.0, statement + 1, 0)
            }
            part => (next.0, statement, part),
        };
    }
    ensure!(
        rows.len() as u64 == BATCH * found.iter().sum::<u64>(),
        "a statement is there in half: {} rows",
        rows.len()
    );
    for (writer, (found, told)) in found.iter().zip(acknowledged).enumerate() {
        ensure!(
            found >= told,
            "writer {writer}: {told} statements were acknowledged, {found} are there"
        );
        // The last one may have been committed and its answer lost; more cannot be.
        ensure!(
            *found <= told + 1,
            "writer {writer}: {found} statements are there, and only {told} were acknowledged"
        );
    }
    for index in ["by_part", "by_text"] {
        let count = client
            .query(&format!(
                "SELECT COUNT(*) FROM stream.events FORCE INDEX ({index}) WHERE text > ''"
            ))?
            .scalar();
        ensure!(
            count == rows.len().to_string(),
            "index {index} has {count} entries for {} rows",
            rows.len()
        );
    }
    // A counter that went back would hand out a number twice, which the primary key refuses.
    insert(client, acknowledged.len(), 0).context("insert after the restart")?;
    println!(
        "every acknowledged row is there, no half statement, indexes agree: {} rows",
        rows.len()
    );
    Ok(())
}
