//! A disk that is too small, from the beginning or later.

use anyhow::{Result, ensure};

use super::{Lab, Volume, holds, same};

pub fn full(lab: &Lab) -> Result<()> {
    let container = lab.run(
        "full",
        &[
            "--mount=type=tmpfs,destination=/var/lib/mysql,tmpfs-size=40m",
            "-e",
            "MYSQL_ALLOW_EMPTY_PASSWORD=1",
        ],
        &[],
    )?;
    let code = container.wait_end()?;
    ensure!(code == 1, "it ended with {code}");
    holds(
        &container.logs()?,
        "could not be made; the lines above say why",
    )
}

/// It fills while the database runs: what was acknowledged is there, and after a restart with room again the server goes on.
pub fn fills(lab: &Lab) -> Result<()> {
    let volume = small_volume(lab, "fills", "700m")?;
    // Such a volume is empty again when nobody has it.
    let holder = lab.run("fills-holder", &["-v", &volume.mount()], &["sleep", "600"])?;
    let options = [
        "-v",
        &volume.mount(),
        "-e",
        "MYSQL_ALLOW_EMPTY_PASSWORD=1",
        "-e",
        "MYSQL_INITDB_SKIP_TZINFO=1",
    ];
    // The server itself waits for room where its binary log has none.
    let container = lab.run_on("fills", "fills", &options, &["--disable-log-bin"])?;
    container.wait_ready()?;
    let sql = |statements: &str| container.sql("root", "", statements);
    sql("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v LONGBLOB)")?;
    // dd ends with an error, which is what it is for.
    container.exec(&[
        "bash",
        "-c",
        "dd if=/dev/zero of=/var/lib/mysql/filler bs=64k 2>/dev/null || true",
    ])?;
    let mut acknowledged = 0;
    let error = loop {
        let next = acknowledged + 1;
        match sql(&row(next)) {
            Ok(_) => acknowledged = next,
            Err(error) => break format!("{error:#}"),
        }
        ensure!(acknowledged < 400, "rows go to a disk that is full");
    };
    let rows = "SELECT COUNT(*), IFNULL(SUM(LENGTH(v)), 0) FROM d.t";
    let wanted = format!("{acknowledged}\t{}", acknowledged * ROW);
    same(&sql(rows)?, &wanted)?;
    holder.exec(&["rm", "/var/lib/mysql/filler"])?;
    container.kill()?;
    container.start()?;
    container.wait_ready()?;
    same(&sql(rows)?, &wanted)?;
    sql(&row(1000))?;
    println!("image: a full disk after {acknowledged} rows: {error}");
    Ok(())
}

/// The bytes of a row's value.
const ROW: usize = 2_000_000;

/// A row that no log can make small.
fn row(id: usize) -> String {
    let pieces = ROW / 1000;
    format!(
        "SET SESSION group_concat_max_len = 10000000, SESSION cte_max_recursion_depth = 10000; INSERT INTO d.t WITH RECURSIVE n AS \
         (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < {pieces}) SELECT {id}, GROUP_CONCAT(HEX(RANDOM_BYTES(500)) SEPARATOR '') FROM n"
    )
}

/// A volume in memory of so many bytes, gone at the end.
fn small_volume<'a>(lab: &'a Lab, name: &str, size: &str) -> Result<Volume<'a>> {
    let name = format!("smartengine-test-{name}");
    let _ = lab.docker.output(&["volume", "rm", "-f", &name]);
    let size = format!("o=size={size}");
    lab.docker.output(&[
        "volume",
        "create",
        "--opt=type=tmpfs",
        "--opt=device=tmpfs",
        "--opt",
        &size,
        &name,
    ])?;
    Ok(Volume {
        docker: lab.docker,
        name,
    })
}
