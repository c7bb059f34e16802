//! Objects of every kind that a server's dictionary knows: those of the suite smartengine_catalog.

use anyhow::{Context, Result};

use crate::server::Server;

/// Statements, in this order.
const STATEMENTS: &[&str] = &[
    "CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs",
    "CREATE DATABASE `old ``data` CHARACTER SET latin1",
    "CREATE DATABASE empty_one",
    "CREATE TABLE shop.item (
        id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT COMMENT 'the id', name VARCHAR(80) NOT NULL COLLATE utf8mb4_unicode_ci,
        price DECIMAL(12,4) NOT NULL DEFAULT 0, gross DECIMAL(12,4) GENERATED ALWAYS AS (price * 1.19) STORED,
        label VARCHAR(100) AS (CONCAT('<', name, '>')) VIRTUAL, tags SET('a','b','c'), state ENUM('new','old') DEFAULT 'new',
        doc JSON, body MEDIUMTEXT, raw VARBINARY(20), made TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
        hidden INT INVISIBLE DEFAULT 7, code CHAR(8) DEFAULT (LEFT(UUID(), 8)), place POINT,
        PRIMARY KEY (id), UNIQUE KEY by_name (name, state), KEY by_price (price DESC, id), KEY by_label (label), KEY by_body (body(20)),
        KEY unused (made) INVISIBLE, CONSTRAINT positive CHECK (price >= 0)
     ) AUTO_INCREMENT=1000 COMMENT='what is sold' STATS_PERSISTENT=0",
    "CREATE TABLE shop.`odd name; --` (a INT, b TEXT CHARACTER SET utf8mb3, KEY (a))",
    "CREATE TABLE `old ``data`.t (x VARCHAR(10) PRIMARY KEY) CHARSET=latin1 COLLATE=latin1_german2_ci",
    "CREATE TABLE shop.big (id INT PRIMARY KEY, k INT NOT NULL, pad CHAR(60) NOT NULL, KEY (k))",
    "CREATE TABLE shop.copy LIKE shop.item",
    "ALTER TABLE shop.copy ADD COLUMN later INT DEFAULT 3, DROP COLUMN doc, RENAME COLUMN raw TO bytes",
    "RENAME TABLE shop.copy TO empty_one.moved",
    "INSERT INTO shop.item (name, price, tags, doc, body, raw, place, code, made) VALUES
        ('Tür', 1.5, 'a,c', '{\"k\": [1, 2]}', 'text', x'00ff', ST_GeomFromText('POINT(1 2)'), 'abc', '2026-01-02 03:04:05.678'),
        ('straße', 2, NULL, NULL, NULL, NULL, NULL, 'def', '2026-01-02 03:04:05')",
    "INSERT INTO shop.`odd name; --` VALUES (1, 'ä'), (NULL, NULL)",
    "INSERT INTO `old ``data`.t VALUES ('\u{e4}')",
    "CREATE ALGORITHM=MERGE DEFINER='gone'@'nowhere' SQL SECURITY INVOKER VIEW shop.cheap AS
        SELECT id, name FROM shop.item WHERE price < 2 WITH LOCAL CHECK OPTION",
    "CREATE VIEW shop.a_view_of_views (n, `count`) AS SELECT name, COUNT(*) FROM shop.cheap GROUP BY name",
    "CREATE ALGORITHM=TEMPTABLE VIEW empty_one.across AS SELECT i.id, t.x FROM shop.item i JOIN `old ``data`.t t",
    "CREATE FUNCTION shop.gross(p DECIMAL(12,4)) RETURNS DECIMAL(12,4) DETERMINISTIC COMMENT 'with tax' RETURN p * 1.19",
    "SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'",
    "CREATE DEFINER='gone'@'nowhere' PROCEDURE shop.restock(IN \"how many\" INT, OUT total INT) MODIFIES SQL DATA SQL SECURITY INVOKER
     BEGIN
        DECLARE EXIT HANDLER FOR SQLEXCEPTION SET total = -1;
        SELECT COUNT(*) + \"how many\" INTO total FROM shop.item WHERE name <> 'a' || '\\';
     END",
    "SET SESSION sql_mode = DEFAULT",
    "CREATE TABLE shop.audit (at INT AUTO_INCREMENT PRIMARY KEY, what TEXT)",
    "CREATE TRIGGER shop.second BEFORE UPDATE ON shop.item FOR EACH ROW SET NEW.hidden = NEW.hidden + 1",
    "CREATE TRIGGER shop.first BEFORE UPDATE ON shop.item FOR EACH ROW PRECEDES second SET NEW.hidden = 0",
    "CREATE DEFINER='gone'@'nowhere' TRIGGER shop.noted AFTER DELETE ON shop.item FOR EACH ROW
     BEGIN INSERT INTO shop.audit (what) VALUES (CONCAT('deleted ', OLD.name)); END",
    "SET SESSION time_zone = '+03:00'",
    "CREATE EVENT shop.nightly ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE
        COMMENT 'cleans up' DO DELETE FROM shop.audit WHERE at < 100",
    "CREATE EVENT shop.once ON SCHEDULE AT '2037-01-01 00:00:00' DO SET @x = 1",
    "SET SESSION time_zone = DEFAULT",
    "CREATE ROLE reader, writer, 'boss'@'localhost'",
    "CREATE USER anna@localhost IDENTIFIED BY 'secret', 'b''ob'@'10.%' IDENTIFIED WITH caching_sha2_password BY 'word'
        REQUIRE X509 WITH MAX_QUERIES_PER_HOUR 100 MAX_USER_CONNECTIONS 3 PASSWORD EXPIRE INTERVAL 90 DAY
        FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME 2",
    "CREATE USER locked@localhost IDENTIFIED BY 'x' ACCOUNT LOCK PASSWORD HISTORY 5 PASSWORD REUSE INTERVAL 10 DAY COMMENT 'gone away'",
    "CREATE USER carl@'%' IDENTIFIED WITH sha256_password BY 'old' ATTRIBUTE '{\"team\": \"ops\"}'",
    "GRANT SELECT ON shop.* TO reader",
    "GRANT INSERT, UPDATE (name, price) ON shop.item TO writer WITH GRANT OPTION",
    "GRANT reader TO writer WITH ADMIN OPTION",
    "GRANT reader, writer TO anna@localhost",
    "GRANT 'boss'@'localhost' TO 'b''ob'@'10.%'",
    "GRANT ALL ON `old ``data`.* TO carl@'%'",
    "GRANT EXECUTE ON PROCEDURE shop.restock TO anna@localhost",
    "GRANT EXECUTE ON FUNCTION shop.gross TO reader",
    "GRANT SELECT ON *.* TO carl@'%'",
    "REVOKE SELECT ON shop.* FROM carl@'%'",
    "GRANT BACKUP_ADMIN, SYSTEM_VARIABLES_ADMIN ON *.* TO 'boss'@'localhost' WITH GRANT OPTION",
    "GRANT PROXY ON anna@localhost TO carl@'%'",
    "SET DEFAULT ROLE reader TO anna@localhost",
    "ALTER USER anna@localhost DEFAULT ROLE ALL",
    "ALTER DATABASE empty_one COLLATE utf8mb4_bin",
    // What SHOW CREATE does not say in full, and what can only be made in another way.
    "CREATE TABLE shop.wide (id INT(5) PRIMARY KEY, b BIGINT(10), c TINYINT(2), d MEDIUMINT(8) ZEROFILL, e FLOAT(7,3), f DOUBLE(9,2), g YEAR)",
    "INSERT INTO shop.wide VALUES (1, 2, 3, 4, 5.5, 6.25, 2026)",
    "CREATE TABLE shop.functional (id INT PRIMARY KEY, a INT, s VARCHAR(20), KEY sum ((a + 1)), UNIQUE KEY lowered ((LOWER(s)), a), CHECK (a <> 7) NOT ENFORCED)",
    "INSERT INTO shop.functional VALUES (1, 10, 'Ab'), (2, NULL, NULL), (3, 7, 'aB')",
    "CREATE TABLE shop.computed (PRIMARY KEY (one, more)) AS SELECT 1 AS one, id + 1 AS more, price / 3 AS third, STD(price) AS deviation, COUNT(*) AS n
        FROM shop.item GROUP BY id, price",
    "CREATE TABLE shop.computed_again LIKE shop.computed",
    "SET SESSION sql_generate_invisible_primary_key = ON",
    "CREATE TABLE shop.generated_key (a INT)",
    "SET SESSION sql_generate_invisible_primary_key = DEFAULT",
    "INSERT INTO shop.generated_key VALUES (3), (1)",
    "CREATE TABLE shop.cut (id INT PRIMARY KEY) STATS_AUTO_RECALC=1 STATS_SAMPLE_PAGES=4",
    "INSERT INTO shop.cut VALUES (1)",
    "TRUNCATE TABLE shop.cut",
    "INSERT INTO shop.cut VALUES (2)",
    "CREATE DATABASE sealed",
    "CREATE TABLE sealed.t (a INT PRIMARY KEY)",
    "INSERT INTO sealed.t VALUES (1)",
    "CREATE TABLE shop.was_called (id INT PRIMARY KEY, CHECK (id > 0))",
    "RENAME TABLE shop.was_called TO sealed.is_called",
    "CREATE VIEW shop.changed AS SELECT 1 AS a",
    "ALTER VIEW shop.changed AS SELECT 2 AS b",
    "SET NAMES latin1",
    "CREATE VIEW shop.latin AS SELECT _latin1 0xE9 AS a, '\u{e4}' AS b",
    "SET NAMES utf8mb4",
    "CREATE FUNCTION shop.plain() RETURNS INT DETERMINISTIC RETURN 1",
    "CREATE VIEW shop.calls AS SELECT shop.plain() AS x",
    "CREATE VIEW shop.calls_again AS SELECT * FROM shop.calls",
    "ALTER PROCEDURE shop.restock COMMENT 'altered'",
    "ALTER EVENT shop.once RENAME TO shop.once_renamed",
    // Other collations than their routines were made under.
    "ALTER DATABASE shop COLLATE utf8mb4_0900_ai_ci",
    "ALTER DATABASE sealed READ ONLY = 1",
    "ALTER USER anna@localhost IDENTIFIED BY 'new_secret' RETAIN CURRENT PASSWORD",
    r"CREATE USER issued@'%' REQUIRE SUBJECT '/CN=O''Brien' AND ISSUER '/O=back\\slash'",
    "CREATE USER ciphered@'%' REQUIRE SSL PASSWORD REQUIRE CURRENT",
    "CREATE USER was_user",
    "RENAME USER was_user TO `we``ird`@`ho%st`",
    r"GRANT SELECT ON `sh\_p%`.* TO `we``ird`@`ho%st`",
    "GRANT CREATE, SELECT ON shop.not_there TO issued@'%'",
    "CREATE ROLE dropped",
    "GRANT dropped TO issued@'%'",
    "DROP ROLE dropped",
];

/// Makes all of them, and a table of `rows` rows.
pub fn make(server: &Server, rows: u64) -> Result<()> {
    let mut client = server.connect()?;
    for statement in STATEMENTS {
        client
            .query(statement)
            .with_context(|| (*statement).to_owned())?;
    }
    client.query("SET SESSION cte_max_recursion_depth = 100000000")?;
    client.query(&format!(
        "INSERT INTO shop.big WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         SELECT i, i * 7919 % 1000003, REPEAT(CHAR(97 + i % 26), 40) FROM n"
    ))?;
    Ok(())
}
