//! What a server shows of its users' work: by mysqldump, SHOW GRANTS, SHOW CREATE USER and checksums.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Result, bail};

use crate::host::exec;
use crate::packages::mysql::Mysql;
use crate::server::Server;
use crate::server::client::Client;

use super::column;
use super::load::SCHEMA;

/// Everything shown, each under what it was asked by.
pub struct Portrait(BTreeMap<String, String>);

impl Portrait {
    pub fn of(server: &Server, mysql: &Mysql) -> Result<Self> {
        let mut shown = BTreeMap::new();
        let mut client = server.connect()?;
        client.query("SET SESSION print_identified_with_as_hex = ON")?;
        let schemas = column(
            &mut client,
            &format!(
                "SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN \
                 ('mysql', 'sys', 'information_schema', 'performance_schema', 'mtr', '{SCHEMA}') ORDER BY 1"
            ),
        )?;
        for schema in &schemas {
            let quoted = schema.replace('`', "``");
            show(
                &mut client,
                &format!("SHOW CREATE DATABASE `{quoted}`"),
                &mut shown,
            )?;
            dump(server, mysql, schema, &mut shown)?;
        }
        let tables = client.query(&format!(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema NOT IN \
             ('mysql', 'sys', 'information_schema', 'performance_schema', '{SCHEMA}') ORDER BY 1, 2"
        ))?;
        for index in 0..tables.len() {
            let row = tables.row(index);
            let name = |column: usize| {
                let value = row.get(column).cloned().flatten().unwrap_or_default();
                format!("`{}`", value.replace('`', "``"))
            };
            let sql = format!("CHECKSUM TABLE {}.{} EXTENDED", name(0), name(1));
            show(&mut client, &sql, &mut shown)?;
        }
        let users = column(
            &mut client,
            "SELECT CONCAT(QUOTE(user), '@', QUOTE(host)) FROM mysql.user ORDER BY 1",
        )?;
        for user in users {
            // Its password is drawn anew by each initialisation.
            if user.starts_with("'mysql.") {
                continue;
            }
            show(&mut client, &format!("SHOW CREATE USER {user}"), &mut shown)?;
            show(&mut client, &format!("SHOW GRANTS FOR {user}"), &mut shown)?;
        }
        // What the definitions as text leave out.
        let columns = format!(
            "SELECT table_schema, table_name, column_name, column_type, extra, generation_expression FROM information_schema.columns \
             WHERE table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'mtr', '{SCHEMA}') \
             ORDER BY table_schema, table_name, ordinal_position"
        );
        for sql in [
            columns.as_str(),
            "SELECT routine_schema, routine_name, character_set_client, collation_connection, database_collation, sql_mode \
             FROM information_schema.routines WHERE routine_schema <> 'sys' ORDER BY 1, 2",
            // Second passwords, and rights taken back in part.
            "SELECT user, host, user_attributes FROM mysql.user WHERE user NOT LIKE 'mysql.%' ORDER BY 1, 2",
            "SELECT * FROM mysql.default_roles ORDER BY 1, 2, 3, 4",
            "SELECT * FROM mysql.role_edges ORDER BY 1, 2, 3, 4",
            "SELECT trigger_schema, trigger_name, action_order FROM information_schema.triggers WHERE trigger_schema <> 'sys' ORDER BY 1, 2",
            "SELECT event_schema, event_name, status, time_zone, originator > 0 FROM information_schema.events ORDER BY 1, 2",
        ] {
            show(&mut client, sql, &mut shown)?;
        }
        Ok(Self(shown))
    }

    /// The same as `teller` tells it, which gets what was asked and what was answered; what it has nothing to say of is left out.
    pub fn told(&self, teller: impl Fn(&str, &str) -> Option<String>) -> Self {
        let told = self
            .0
            .iter()
            .filter_map(|(asked, answer)| Some((asked.clone(), teller(asked, answer)?)));
        Self(told.collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Fails naming everything that is not the same.
    pub fn compare(&self, after: &Self) -> Result<()> {
        let mut differences = Vec::new();
        for (name, before) in &self.0 {
            match after.0.get(name) {
                None => differences.push(format!("{name}: gone")),
                Some(now) if now != before => {
                    differences.push(format!("{name}: it was\n{before}\nand is\n{now}"));
                }
                Some(_) => {}
            }
        }
        let new = after.0.keys().filter(|name| !self.0.contains_key(*name));
        differences.extend(new.map(|name| format!("{name}: was not there before")));
        if differences.is_empty() {
            return Ok(());
        }
        bail!(
            "{} things differ:\n{}",
            differences.len(),
            differences.join("\n")
        )
    }
}

fn show(client: &mut Client, sql: &str, shown: &mut BTreeMap<String, String>) -> Result<()> {
    let rows = client.query(sql)?;
    let lines: Vec<String> = (0..rows.len())
        .map(|index| {
            let values = rows.row(index).into_iter();
            let texts: Vec<String> = values
                .map(|value| value.unwrap_or_else(|| "NULL".to_owned()))
                .collect();
            texts.join("\t")
        })
        .collect();
    shown.insert(sql.to_owned(), lines.join("\n"));
    Ok(())
}

/// Definitions by mysqldump, which knows how to ask for all of them. The order in it is the names'.
fn dump(
    server: &Server,
    mysql: &Mysql,
    schema: &str,
    shown: &mut BTreeMap<String, String>,
) -> Result<()> {
    let mut command = Command::new(mysql.client("mysqldump"));
    command
        .arg("--no-defaults")
        .arg("--user=root")
        .arg(format!("--socket={}", server.socket().display()))
        .args([
            "--no-data",
            "--routines",
            "--events",
            "--triggers",
            "--skip-dump-date",
            "--set-gtid-purged=OFF",
            "--databases",
        ])
        .arg(schema);
    // A view of a session in latin1 is told in its bytes.
    let text = escaped(&exec::output_bytes(&mut command)?);
    // The counter of a table may be ahead of what was committed.
    shown.insert(format!("mysqldump {schema}"), text);
    Ok(())
}

/// Bytes that are no UTF-8 as `\xe4`, so that they stay apart.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_other_character_sets_stay_apart() {
        assert_eq!(escaped("ä".as_bytes()), "ä");
        assert_eq!(escaped(b"a\xe4b\xff"), "a\\xe4b\\xff");
    }
}
