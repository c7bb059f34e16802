//! Queries that both engines have to answer alike, row for row.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Side;
use crate::host::table::Table;
use crate::server::Server;
use crate::server::client::Rows;

struct Query {
    name: &'static str,
    sql: &'static str,
}

/// Each orders its rows completely, so that there is one right answer.
const QUERIES: [Query; 12] = [
    Query {
        name: "delay by airline (join, group)",
        sql: "SELECT a.name, COUNT(*), AVG(f.arr_delay), MAX(f.arr_delay) FROM flights f JOIN airlines a USING (carrier) \
              GROUP BY a.name ORDER BY AVG(f.arr_delay) DESC, a.name",
    },
    Query {
        name: "worst arrivals (order by desc limit)",
        sql: "SELECT carrier, flight, time_hour, arr_delay FROM flights WHERE carrier = 'UA' \
              ORDER BY carrier DESC, arr_delay DESC, time_hour, flight LIMIT 25",
    },
    Query {
        name: "last departures (key backwards)",
        sql: "SELECT * FROM flights ORDER BY time_hour DESC, carrier DESC, flight DESC LIMIT 100",
    },
    Query {
        name: "one week (key range)",
        sql: "SELECT time_hour, carrier, flight, dep_delay FROM flights \
              WHERE time_hour BETWEEN '2013-07-01' AND '2013-07-07 23:00:00' ORDER BY time_hour, carrier, flight",
    },
    Query {
        name: "busiest routes (covering index)",
        sql: "SELECT origin, dest, COUNT(*) AS n FROM flights GROUP BY origin, dest ORDER BY n DESC, origin, dest LIMIT 40",
    },
    Query {
        name: "destinations by name (join, like)",
        sql: "SELECT p.name, COUNT(*) FROM airports p JOIN flights f ON f.dest = p.faa WHERE p.name LIKE 'S%' \
              GROUP BY p.faa, p.name ORDER BY p.name, p.faa",
    },
    Query {
        name: "planes by maker (join on an index)",
        sql: "SELECT p.manufacturer, COUNT(DISTINCT f.tailnum), SUM(f.distance) FROM planes p JOIN flights f USING (tailnum) \
              WHERE p.year >= 2005 GROUP BY p.manufacturer ORDER BY SUM(f.distance) DESC, p.manufacturer",
    },
    Query {
        name: "one plane's year (index range)",
        sql: "SELECT time_hour, origin, dest, air_time FROM flights WHERE tailnum = 'N725MQ' ORDER BY time_hour, flight",
    },
    Query {
        name: "delay and visibility (join of two keys)",
        sql: "SELECT w.visib, COUNT(*), AVG(f.dep_delay) FROM flights f JOIN weather w \
              ON w.origin = f.origin AND w.time_hour = f.time_hour GROUP BY w.visib ORDER BY w.visib",
    },
    Query {
        name: "never flown (anti join)",
        sql: "SELECT p.faa, p.name FROM airports p WHERE NOT EXISTS (SELECT 1 FROM flights f WHERE f.dest = p.faa) \
              AND p.tzone = 'America/New_York' ORDER BY p.faa",
    },
    Query {
        name: "busiest hour of each day (window)",
        sql: "SELECT month, day, hour, n FROM (SELECT month, day, hour, COUNT(*) AS n, \
              ROW_NUMBER() OVER (PARTITION BY month, day ORDER BY COUNT(*) DESC, hour) AS place \
              FROM flights GROUP BY month, day, hour) t WHERE place = 1 ORDER BY month, day",
    },
    Query {
        name: "cancelled flights (null, group)",
        sql: "SELECT origin, month, COUNT(*) FROM flights WHERE dep_time IS NULL GROUP BY origin, month \
              ORDER BY origin, month",
    },
];

/// How often each query is timed; the quickest run counts.
const ROUNDS: u32 = 3;

/// Runs every query on both sides, compares the rows and prints the times.
pub fn run_all(server: &Server, sides: &mut [Side]) -> Result<()> {
    let mut table = Table::new(&[
        "query",
        "rows",
        sides[0].engine.name(),
        sides[1].engine.name(),
    ]);
    for query in &QUERIES {
        let rows = same_rows(server, sides, query.sql).with_context(|| query.name)?;
        let mut cells = vec![query.name.to_string(), rows.to_string()];
        for side in sides.iter_mut() {
            let time = best_time(server, side, query)?;
            side.queries += time;
            cells.push(format!("{:.1} ms", time.as_secs_f64() * 1000.0));
        }
        table.row(cells);
    }
    println!("\n{table}");
    Ok(())
}

fn best_time(server: &Server, side: &Side, query: &Query) -> Result<Duration> {
    let mut client = side.connect(server)?;
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        client.query(query.sql)?;
        best = best.min(started.elapsed());
    }
    Ok(best)
}

/// Runs a query on both sides; fails where a row differs. Returns how many rows there are.
pub fn same_rows(server: &Server, sides: &[Side], sql: &str) -> Result<usize> {
    let ask = |side: &Side| -> Result<Rows> {
        side.connect(server)?
            .query(sql)
            .with_context(|| format!("{}: {sql}", side.engine.name()))
    };
    let (ours, theirs) = (ask(&sides[0])?, ask(&sides[1])?);
    if let Some(difference) = difference(&ours, &theirs) {
        bail!(
            "{} and {} answer differently to {sql}\n{difference}",
            sides[0].engine.name(),
            sides[1].engine.name()
        );
    }
    Ok(ours.len())
}

fn difference(ours: &Rows, theirs: &Rows) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} rows against {}", ours.len(), theirs.len()));
    }
    let index = (0..ours.len()).find(|index| ours.raw(*index) != theirs.raw(*index))?;
    Some(format!(
        "row {}: {:?}\nagainst {:?}",
        index + 1,
        ours.row(index),
        theirs.row(index)
    ))
}
