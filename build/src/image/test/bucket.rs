//! Cases with a bucket.

use anyhow::{Context, Result, ensure};

use super::{Lab, holds, lacks, same};

const ROOT: [&str; 2] = ["-e", "MYSQL_ROOT_PASSWORD=first"];
const APPLIED: &str = "Init scripts and MYSQL_* of the environment are not applied again";

/// The bucket alone is kept: no volume is named, and the container's own is removed with it.
pub fn lost_volume(lab: &Lab) -> Result<()> {
    let script = lab.file("lost/1.sql", b"CREATE DATABASE made_by_script;", 0o644)?;
    let scripts = Lab::mount(
        script.parent().context("a folder")?,
        "/docker-entrypoint-initdb.d",
    );
    let durable = ["--smartengine-commit-durability=object"];
    let options = [&ROOT[..], &["-v", &scripts, "-e", "MYSQL_DATABASE=shop"]].concat();
    let container = lab.run_on("lost", "lost", &options, &durable)?;
    container.wait_ready()?;
    let rows = "CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1), (2), (3); CREATE USER app IDENTIFIED BY 'app'";
    container.sql("root", "first", rows)?;
    container.kill()?;
    drop(container);

    // Another password and other scripts: neither counts, and no password is needed at all.
    for options in [
        &[
            "-e",
            "MYSQL_ROOT_PASSWORD=second",
            "-e",
            "MYSQL_DATABASE=other",
            "-v",
            &scripts,
        ][..],
        &[],
    ] {
        let container = lab.run_on("lost", "lost", options, &durable)?;
        container.wait_ready()?;
        holds(&container.logs()?, APPLIED)?;
        same(
            &container.sql("root", "first", "SELECT COUNT(*) FROM shop.t")?,
            "3",
        )?;
        ensure!(
            container.sql("root", "second", "DO 0").is_err(),
            "the password was set again"
        );
        let others = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'other'";
        same(&container.sql("root", "first", others)?, "0")?;
        container.sql("app", "app", "DO 0")?;
        let (_, code) = container.stop(10)?;
        ensure!(code == 0, "it ended with {code}");
    }
    Ok(())
}

/// The later one takes the bucket over; the earlier one acknowledges nothing any more.
pub fn two(lab: &Lab) -> Result<()> {
    let first = lab.run_on("two", "two-a", &ROOT, &[])?;
    first.wait_ready()?;
    first.sql(
        "root",
        "first",
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (1)",
    )?;
    let second = lab.run_on("two", "two-b", &ROOT, &[])?;
    second.wait_ready()?;
    holds(&second.logs()?, APPLIED)?;
    second.sql("root", "first", "INSERT INTO d.t VALUES (2)")?;
    let refused = first.sql(
        "root",
        "first",
        "SET SESSION smartengine_commit_durability = 'object'; INSERT INTO d.t VALUES (3)",
    );
    let error = refused
        .err()
        .context("the server that was superseded took a row")?;
    holds(&format!("{error:#}"), "fenced")?;
    same(
        &second.sql(
            "root",
            "first",
            "SELECT GROUP_CONCAT(id ORDER BY id) FROM d.t",
        )?,
        "1,2",
    )
}

pub fn wrong_credentials(lab: &Lab) -> Result<()> {
    let secret = lab.file("wrong-secret", b"this-is-not-it", 0o644)?;
    let container = lab.run_on(
        "wrong",
        "wrong",
        &[
            &ROOT[..],
            &[
                "-e",
                "AWS_SECRET_ACCESS_KEY=",
                "-e",
                "AWS_SECRET_ACCESS_KEY_FILE=/run/secrets/key",
                "-v",
                &Lab::mount(&secret, "/run/secrets/key"),
            ],
        ]
        .concat(),
        &[],
    )?;
    let code = container.wait_end()?;
    ensure!(code == 1, "it ended with {code}");
    let logs = container.logs()?;
    holds(&logs, "before it could be used; its lines above say why")?;
    holds(&logs, "the credentials that were found are not good")?;
    lacks(&logs, "this-is-not-it")
}

/// The disk is lost while init scripts run: another container must not take what is in the bucket for a database.
pub fn half(lab: &Lab) -> Result<()> {
    let script = lab.file("half/slow.sh", b"sleep 600\n", 0o755)?;
    let scripts = Lab::mount(
        script.parent().context("a folder")?,
        "/docker-entrypoint-initdb.d",
    );
    let options = [&ROOT[..], &["-v", &scripts]].concat();
    let container = lab.run_on("half", "half", &options, &[])?;
    container.wait_log("running /docker-entrypoint-initdb.d/slow.sh")?;
    container.kill()?;
    drop(container);
    // Nor one that knows no password of it.
    for options in [&ROOT[..], &["-e", "MYSQL_RANDOM_ROOT_PASSWORD=1"]] {
        let container = lab.run_on("half", "half", options, &[])?;
        let code = container.wait_end()?;
        ensure!(code == 1, "it ended with {code}");
        let logs = container.logs()?;
        holds(&logs, "cut short (stage scripts)")?;
        lacks(&logs, "GENERATED ROOT PASSWORD")?;
    }
    // Nor one whose own volume is complete.
    let volume = lab.volume("half-other")?;
    let mount = volume.mount();
    let own = [&ROOT[..], &["-v", &mount]].concat();
    let container = lab.run("half-other", &own, &[])?;
    container.wait_ready()?;
    container.stop(10)?;
    drop(container);
    let container = lab.run_on("half", "half-other", &own, &[])?;
    let code = container.wait_end()?;
    ensure!(code == 1, "on another's volume it ended with {code}");
    Ok(())
}

/// A store that no image made, whose root signs in by a plugin that is gone: it is attached, and nothing is made in it.
pub fn anothers(lab: &Lab) -> Result<()> {
    let volume = lab.volume("anothers")?;
    let mount = volume.mount();
    let options = [&ROOT[..], &["-v", &mount]].concat();
    let container = lab.run_on("anothers", "anothers", &options, &[])?;
    container.wait_ready()?;
    container.sql(
        "root",
        "first",
        "CREATE DATABASE d; CREATE USER app IDENTIFIED BY 'app'; GRANT ALL ON d.* TO app; DROP USER 'smartengine.image'@'localhost'; \
         UPDATE mysql.user SET plugin = 'plugin_of_old' WHERE User = 'root'",
    )?;
    // What changes tables of accounts by hand is captured at the next start.
    container.stop(10)?;
    container.start()?;
    container.wait_ready()?;
    container.kill()?;
    drop(container);
    let container = lab.run_on("anothers", "anothers", &ROOT, &[])?;
    container.wait_ready()?;
    holds(&container.logs()?, "another server made it")?;
    container.sql("app", "app", "USE d")?;
    Ok(())
}

/// A server that cannot attach the catalog must not pass for a new one.
pub fn other_settings(lab: &Lab) -> Result<()> {
    let container = lab.run_on("settings", "settings", &ROOT, &[])?;
    container.wait_ready()?;
    let (_, code) = container.stop(10)?;
    ensure!(code == 0, "it ended with {code}");
    drop(container);
    let container = lab.run_on(
        "settings",
        "settings",
        &ROOT,
        &["--lower-case-table-names=1"],
    )?;
    let code = container.wait_end()?;
    ensure!(code == 1, "it ended with {code}");
    let logs = container.logs()?;
    holds(&logs, "the store was not attached")?;
    lacks(&logs, "the database is complete")
}
