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
    let volume = small_volume(lab, "fills", "600m")?;
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
    let container = lab.run("fills", &options, &["--disable-log-bin"])?;
    container.wait_ready()?;
    let sql = |statements: &str| container.sql("root", "", statements);
    sql(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, v LONGBLOB) ENGINE=SMARTENGINE; \
         INSERT INTO d.t VALUES (1, RANDOM_BYTES(1000))",
    )?;
    // dd ends with an error, which is what it is for.
    container.exec(&[
        "bash",
        "-c",
        "dd if=/dev/zero of=/var/lib/mysql/filler bs=64k 2>/dev/null || true",
    ])?;
    let mut acknowledged = 1;
    let error = loop {
        let next = acknowledged + 1;
        let row = format!("INSERT INTO d.t SELECT {next}, REPEAT(v, 1000) FROM d.t WHERE id = 1");
        match sql(&row) {
            Ok(_) => acknowledged = next,
            Err(error) => break format!("{error:#}"),
        }
        ensure!(acknowledged < 100, "rows go to a disk that is full");
    };
    let rows = "SELECT COUNT(*), SUM(LENGTH(v)) FROM d.t";
    let wanted = format!("{acknowledged}\t{}", 1000 + (acknowledged - 1) * 1_000_000);
    same(&sql(rows)?, &wanted)?;
    holder.exec(&["rm", "/var/lib/mysql/filler"])?;
    container.kill()?;
    container.start()?;
    container.wait_ready()?;
    same(&sql(rows)?, &wanted)?;
    sql("INSERT INTO d.t VALUES (1000, 'room')")?;
    println!("image: a full disk after {acknowledged} rows: {error}");
    Ok(())
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
