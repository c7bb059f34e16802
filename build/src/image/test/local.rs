//! Cases without a bucket: what the official image does too, and what a crash of a first start leaves.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Lab, holds, lacks, same};
use crate::host::exec;

/// Has what shells, option files and SQL take for something else.
const PASSWORD: &str = r#"se'c"r\et #1; `$x`"#;
/// What Docker gives a container by itself.
const STOP_SECONDS: u32 = 10;

/// Fails where the server of a first start was told a password.
const SEEING_SCRIPT: &str = r#"#!/bin/bash
for process in /proc/[0-9]*; do
    [ "$(cat "$process/comm" 2>/dev/null)" = mysqld ] || continue
    tr '\0' '\n' <"$process/environ" | grep -q ^PATH= || exit 1
    ! tr '\0' '\n' <"$process/environ" | grep -q PASSWORD= || exit 1
    seen=yes
done
[ -n "$seen" ] || exit 1
MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot shop -e "INSERT INTO t VALUES (4, 'run')"
"#;

pub fn commands(lab: &Lab) -> Result<()> {
    let run = |arguments: &[&str]| {
        let all = [&["run", "--rm", lab.image], arguments].concat();
        lab.docker.output(&all)
    };
    holds(&run(&["mysql", "--version"])?, "Ver ")?;
    holds(&run(&["--version"])?, "mysqld")?;
    same(&run(&["bash", "-c", "echo $((6 * 7))"])?, "42")?;
    // What is copied comes with its licence, ours and Debian's.
    for file in [
        "mysql-plugin-smartengine/THIRD-PARTY-LICENSES",
        "mysql-plugin-smartengine/LICENSE-GPL-2.0",
        "mysql-server-core/copyright",
    ] {
        run(&["test", "-s", &format!("/usr/share/doc/{file}")])?;
    }
    // Numbers that volumes are given to.
    same(&run(&["id", "-u", "mysql"])?, "999")
}

pub fn refusals(lab: &Lab) -> Result<()> {
    for (name, variables, words) in [
        ("none", &[][..], "no password for its root"),
        (
            "two",
            &["MYSQL_ROOT_PASSWORD=x", "MYSQL_RANDOM_ROOT_PASSWORD=1"],
            "set one of them",
        ),
        (
            "both",
            &["MYSQL_ROOT_PASSWORD=x", "MYSQL_ROOT_PASSWORD_FILE=/x"],
            "set one of them",
        ),
        (
            "file",
            &["MYSQL_ROOT_PASSWORD_FILE=/none"],
            "/none cannot be read",
        ),
        (
            "root",
            &["MYSQL_ROOT_PASSWORD=x", "MYSQL_USER=root"],
            "MYSQL_USER=root",
        ),
        (
            "url",
            &["SMARTENGINE_STORE_URL=s3://b/p?secret_key=hidden"],
            "seems to hold credentials",
        ),
    ] {
        let mut options = Vec::new();
        for variable in variables {
            options.extend(["-e", variable]);
        }
        let container = lab.run(name, &options, &[])?;
        let code = container.wait_end()?;
        let logs = container.logs()?;
        holds(&logs, words)?;
        lacks(&logs, "hidden")?;
        ensure!(code == 1, "{name}: it ended with {code}");
    }
    Ok(())
}

pub fn everything(lab: &Lab) -> Result<()> {
    let scripts = lab.folder.join("everything");
    let script =
        |name: &str, text: &[u8], mode| lab.file(&format!("everything/{name}"), text, mode);
    script(
        "1.sql",
        b"CREATE TABLE t (id INT PRIMARY KEY, how TEXT); INSERT INTO t VALUES (1, 'sql');",
        0o644,
    )?;
    script(
        "2.sql.gz",
        &packed("gzip", "INSERT INTO t VALUES (2, 'gz');")?,
        0o644,
    )?;
    // Packed in the image, which has the program.
    let zst = lab.docker.output(&[
        "run",
        "--rm",
        lab.image,
        "bash",
        "-c",
        "echo \"INSERT INTO t VALUES (3, 'zst');\" | zstd | base64 -w0",
    ])?;
    let zst = exec::output(
        Command::new("sh").args(["-c", &format!("echo {zst} | base64 -d | od -An -v -tx1")]),
    )?;
    let zst: Vec<u8> = zst
        .split_whitespace()
        .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect();
    script("3.sql.zst", &zst, 0o644)?;
    script("4.sh", SEEING_SCRIPT.as_bytes(), 0o755)?;
    script(
        "5.sh",
        b"docker_process_sql <<<\"INSERT INTO t VALUES (5, 'sourced')\"\n",
        0o644,
    )?;
    script("6.txt", b"nothing", 0o644)?;
    for (name, text) in [
        ("root", PASSWORD),
        ("user", "app"),
        ("password", "of-the-app"),
        ("database", "shop"),
    ] {
        lab.file(
            &format!("secrets/{name}"),
            format!("{text}\n").as_bytes(),
            0o600,
        )?;
    }
    // What the client says of its own options, and of a file that it does not take, is no answer of the server's.
    let conf = lab.file(
        "conf.d/test.cnf",
        b"[mysqld]\nsmartengine_block_cache_size = 64M\nmax_connections = 50\npassword_history = 3\n[client]\nloose-unknown-to-all = 1\n",
        0o644,
    )?;
    lab.file(
        "conf.d/writable.cnf",
        b"[mysqld]\nmax_connections = 60\n",
        0o666,
    )?;
    let conf = conf.parent().context("a folder")?;
    let volume = lab.volume("everything")?;
    let container = lab.run(
        "everything",
        &[
            "-p",
            "127.0.0.1::3306",
            "--health-interval=2s",
            "-v",
            &volume.mount(),
            "-v",
            &Lab::mount(&scripts, "/docker-entrypoint-initdb.d"),
            "-v",
            &Lab::mount(&lab.folder.join("secrets"), "/run/secrets"),
            "-v",
            &Lab::mount(conf, "/etc/mysql/conf.d"),
            "-e",
            "MYSQL_ROOT_PASSWORD_FILE=/run/secrets/root",
            "-e",
            "MYSQL_DATABASE_FILE=/run/secrets/database",
            "-e",
            "MYSQL_USER_FILE=/run/secrets/user",
            "-e",
            "MYSQL_PASSWORD_FILE=/run/secrets/password",
        ],
        // A server takes a value in a word of its own too.
        &["--max-connections", "7", "-h", "/var/lib/mysql"],
    )?;
    container.wait_ready()?;
    let logs = container.logs()?;
    for part in [
        "1.sql",
        "2.sql.gz",
        "3.sql.zst",
        "running",
        "sourcing",
        "ignoring",
        "the database is complete",
    ] {
        holds(&logs, part)?;
    }
    for word in [PASSWORD, "of-the-app", "GENERATED ROOT PASSWORD"] {
        lacks(&logs, word)?;
    }
    same(
        &container.sql(
            "app",
            "of-the-app",
            "SELECT GROUP_CONCAT(how ORDER BY id) FROM shop.t",
        )?,
        "sql,gz,zst,run,sourced",
    )?;
    let asked = "SELECT @@max_connections, @@smartengine_block_cache_size, ENGINE FROM information_schema.TABLES WHERE TABLE_NAME = 't'";
    same(
        &container.sql("root", PASSWORD, asked)?,
        "7\t67108864\tSMARTENGINE",
    )?;
    same(
        &container.sql(
            "root",
            PASSWORD,
            "SELECT CONVERT_TZ('2026-07-01 12:00', 'UTC', 'Europe/Berlin')",
        )?,
        "2026-07-01 14:00:00",
    )?;
    ensure!(
        container.sql("root", "", "DO 0").is_err(),
        "root needs no password"
    );
    ensure!(
        container.sql("smartengine.image", "", "DO 0").is_err(),
        "the image's account is open"
    );
    // The server is process 1, is not root, and knows no password.
    holds(
        &container.exec(&["cat", "/proc/1/status"])?,
        "Uid:\t999\t999",
    )?;
    let variables = [
        "exec",
        "-u",
        "999",
        &container.name,
        "cat",
        "/proc/1/environ",
    ];
    lacks(&lab.docker.output(&variables)?, "PASSWORD")?;
    container.wait("is not healthy", || Ok(container.health()? == "healthy"))?;

    let dump = dump(lab, &container.name)?;
    holds(&dump, "(5,'sourced')")?;
    let (took, code) = container.stop(STOP_SECONDS)?;
    ensure!(
        code == 0 && took < Duration::from_secs(8),
        "the stop took {took:?} and ended with {code}"
    );
    container.start()?;
    container.wait_ready()?;
    container.sql(
        "app",
        "of-the-app",
        "INSERT INTO shop.t VALUES (6, 'before the kill')",
    )?;
    container.kill()?;
    container.start()?;
    container.wait_ready()?;
    // Scripts of another run would have met their own rows.
    same(
        &container.sql("app", "of-the-app", "SELECT COUNT(*) FROM shop.t")?,
        "6",
    )
}

/// What mysqldump on this machine reads through the published port.
fn dump(lab: &Lab, container: &str) -> Result<String> {
    let published = lab.docker.output(&["port", container, "3306/tcp"])?;
    let port = published
        .rsplit(':')
        .next()
        .context("a port is published")?;
    exec::output(
        Command::new(lab.mysql.client("mysqldump"))
            .args([
                "--no-defaults",
                "--host=127.0.0.1",
                "--port",
                port.trim(),
                "--user=root",
            ])
            .args(["--no-tablespaces", "--single-transaction", "shop"])
            .env("MYSQL_PWD", PASSWORD),
    )
}

fn packed(program: &str, text: &str) -> Result<Vec<u8>> {
    use std::io::Write;
    let mut child = exec::spawn(
        Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped()),
    )?;
    child
        .stdin
        .take()
        .context("piped")?
        .write_all(text.as_bytes())?;
    Ok(child.wait_with_output()?.stdout)
}

pub fn read_only(lab: &Lab) -> Result<()> {
    // One that fails would end the first start.
    let script = lab.file(
        "read-only/signs-in.sh",
        b"#!/bin/bash\nMYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -uroot -e 'DO 0'\n",
        0o755,
    )?;
    let scripts = Lab::mount(
        script.parent().context("a folder")?,
        "/docker-entrypoint-initdb.d",
    );
    let container = lab.run(
        "read-only",
        &[
            "-v",
            &scripts,
            "--read-only",
            "--cap-drop=ALL",
            "--tmpfs=/tmp",
            "--tmpfs=/var/run/mysqld",
            "--user=1000:1000",
            "-e",
            "MYSQL_RANDOM_ROOT_PASSWORD=yes",
            "-e",
            "MYSQL_ROOT_HOST=localhost",
            "-e",
            "MYSQL_ONETIME_PASSWORD=yes",
            "-e",
            "MYSQL_INITDB_SKIP_TZINFO=yes",
        ],
        // Its health is asked where it answers.
        &["--bind-address=127.0.0.2"],
    )?;
    container.wait_ready()?;
    let logs = container.logs()?;
    let printed: Vec<_> = logs
        .lines()
        .filter_map(|line| line.split_once("GENERATED ROOT PASSWORD: "))
        .collect();
    ensure!(
        printed.len() == 1,
        "the password is printed {} times",
        printed.len()
    );
    let password = printed[0].1.trim();
    // It is right, and has to be changed: a wrong one would be refused in other words.
    let error = container
        .sql("root", password, "DO 0")
        .expect_err("a password for one use was taken as it is");
    holds(&format!("{error:#}"), "--connect-expired-password")?;
    let (_, code) = container.stop(STOP_SECONDS)?;
    ensure!(code == 0, "it ended with {code}");
    Ok(())
}

/// Each step at which a first start can end, and what the next start makes of it.
pub fn cut_short(lab: &Lab) -> Result<()> {
    let script = lab.file("slow/slow.sh", b"sleep 600\n", 0o755)?;
    let scripts = Lab::mount(
        script.parent().context("a folder")?,
        "/docker-entrypoint-initdb.d",
    );
    let volume = lab.volume("cut-short")?;
    let options = ["-v", &volume.mount(), "-e", "MYSQL_ROOT_PASSWORD=x"];
    let container = lab.run("cut-short", &options, &[])?;
    // While the server's own files are made: they are made anew.
    container.wait_log("making a data directory")?;
    container.kill()?;
    container.start()?;
    container.wait_ready()?;
    holds(&container.logs()?, "it is made anew")?;
    // While accounts are made: root's password is the last of them, and may be there or not.
    for statement in [
        "ALTER USER 'root'@'localhost' IDENTIFIED BY ''",
        "ALTER USER 'root'@'localhost' IDENTIFIED BY 'x'",
    ] {
        container.sql(
            "root",
            "x",
            &format!(
                "ALTER USER 'smartengine.image'@'localhost' ACCOUNT UNLOCK ATTRIBUTE '{{\"first_start\": \"accounts\"}}'; {statement}"
            ),
        )?;
        container.exec(&[
            "bash",
            "-c",
            "echo first-start >/var/lib/mysql/.smartengine-first-start",
        ])?;
        container.kill()?;
        container.start()?;
        container.wait_ready()?;
        holds(&container.logs()?, "it goes on")?;
        container.sql("root", "x", "DO 0")?;
    }
    // A volume that was emptied, but for the image's own note in it, is a new one.
    container.exec(&[
        "bash",
        "-c",
        "rm -rf /var/lib/mysql/* /var/lib/mysql/.smartengine",
    ])?;
    container.kill()?;
    container.start()?;
    container.wait_ready()?;
    container.sql("root", "x", "DO 0")?;
    drop(container);
    drop(volume);

    // While init scripts run: it ends in time when it is told to, and nobody takes what is there for complete.
    let volume = lab.volume("cut-short")?;
    let options = [
        "-v",
        &volume.mount(),
        "-v",
        &scripts,
        "-e",
        "MYSQL_ROOT_PASSWORD=x",
    ];
    let container = lab.run("cut-short", &options, &[])?;
    container.wait_log("running /docker-entrypoint-initdb.d/slow.sh")?;
    ensure!(
        container.exec(&["smartengine-healthcheck"]).is_err(),
        "a first start counts as healthy"
    );
    let (took, code) = container.stop(STOP_SECONDS)?;
    ensure!(
        code == 143 && took < Duration::from_secs(8),
        "the stop took {took:?} and ended with {code}"
    );
    container.start()?;
    let code = container.wait_end()?;
    ensure!(code == 1, "it ended with {code}");
    holds(&container.logs()?, "cut short (stage scripts)")?;
    drop(container);
    let accepting = [
        &options[..2],
        &["-e", "SMARTENGINE_ACCEPT_UNFINISHED_START=1"],
    ]
    .concat();
    let container = lab.run("cut-short", &accepting, &[])?;
    container.wait_ready()?;
    container.sql("root", "x", "DO 0")?;
    Ok(())
}

pub fn failing_script(lab: &Lab) -> Result<()> {
    let cut = {
        let mut bytes = packed("gzip", &"SELECT 1;\n".repeat(1000))?;
        bytes.truncate(bytes.len() - 10);
        bytes
    };
    for (name, text) in [
        ("a.sql", &b"SELEC 1;"[..]),
        ("b.sh", b"exit 3"),
        ("b2.sh", b"false\necho went on"),
        ("b3.sh", b"exit 0"),
        ("c.sql.gz", &cut),
    ] {
        let file = lab.file(&format!("failing-{name}/{name}"), text, 0o644)?;
        let scripts = Lab::mount(
            file.parent().context("a folder")?,
            "/docker-entrypoint-initdb.d",
        );
        let options = ["-v", &scripts, "-e", "MYSQL_ALLOW_EMPTY_PASSWORD=1"];
        let container = lab.run("failing", &options, &[])?;
        let code = container.wait_end()?;
        ensure!(code != 0, "{name}: it ended with {code}");
        lacks(&container.logs()?, "the database is complete")?;
    }
    Ok(())
}
