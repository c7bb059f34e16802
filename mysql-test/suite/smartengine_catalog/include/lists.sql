SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, DEFAULT_ENCRYPTION FROM information_schema.SCHEMATA
  WHERE SCHEMA_NAME NOT IN ('mtr') ORDER BY 1;
SELECT * FROM information_schema.SCHEMATA_EXTENSIONS WHERE SCHEMA_NAME NOT IN ('mtr') ORDER BY 2;
SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, ROW_FORMAT, TABLE_COLLATION, CREATE_OPTIONS, TABLE_COMMENT FROM information_schema.TABLES
  WHERE TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'mtr') ORDER BY 1, 2;
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, COLUMN_DEFAULT, IS_NULLABLE, COLUMN_TYPE, COLLATION_NAME, COLUMN_KEY, EXTRA, PRIVILEGES,
  COLUMN_COMMENT, GENERATION_EXPRESSION, SRS_ID FROM information_schema.COLUMNS
  WHERE TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'mtr') ORDER BY 1, 2, 4;
SELECT TABLE_SCHEMA, TABLE_NAME, NON_UNIQUE, INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME, COLLATION, SUB_PART, COMMENT, INDEX_COMMENT, IS_VISIBLE, EXPRESSION
  FROM information_schema.STATISTICS WHERE TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'mtr') ORDER BY 1, 2, 4, 5;
SELECT * FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA NOT IN ('sys', 'mtr') ORDER BY 2, 3;
SELECT * FROM information_schema.VIEWS WHERE TABLE_SCHEMA NOT IN ('sys', 'mtr') ORDER BY 2, 3;
SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE, DTD_IDENTIFIER, ROUTINE_DEFINITION, IS_DETERMINISTIC, SQL_DATA_ACCESS, SECURITY_TYPE, SQL_MODE,
  ROUTINE_COMMENT, DEFINER, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION FROM information_schema.ROUTINES
  WHERE ROUTINE_SCHEMA NOT IN ('sys', 'mtr') ORDER BY 1, 2, 3;
SELECT TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_ORDER, ACTION_STATEMENT, ACTION_TIMING, SQL_MODE, DEFINER,
  CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION FROM information_schema.TRIGGERS
  WHERE TRIGGER_SCHEMA NOT IN ('sys', 'mtr') ORDER BY 1, 4, 3, 7, 5;
SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER, TIME_ZONE, EVENT_DEFINITION, EVENT_TYPE, EXECUTE_AT, INTERVAL_VALUE, INTERVAL_FIELD, SQL_MODE, STARTS, ENDS, STATUS,
  ON_COMPLETION, EVENT_COMMENT, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION FROM information_schema.EVENTS ORDER BY 1, 2;
SELECT User, Host, plugin, HEX(authentication_string), max_questions, max_updates, max_connections, max_user_connections, ssl_type, account_locked,
  password_expired, password_lifetime, password_last_changed, Password_reuse_history, Password_reuse_time, Password_require_current, User_attributes
  FROM mysql.user WHERE User NOT LIKE 'mysql.%' ORDER BY 1, 2;
SELECT * FROM mysql.db WHERE User <> '' ORDER BY 1, 2, 3;
SELECT Host, Db, User, Table_name, Table_priv, Column_priv FROM mysql.tables_priv ORDER BY 1, 2, 3, 4;
SELECT Host, Db, User, Table_name, Column_name, Column_priv FROM mysql.columns_priv ORDER BY 1, 2, 3, 4, 5;
SELECT Host, Db, User, Routine_name, Routine_type, Proc_priv FROM mysql.procs_priv ORDER BY 1, 2, 3, 4, 5;
SELECT Host, User, Proxied_host, Proxied_user, With_grant FROM mysql.proxies_priv ORDER BY 1, 2, 3, 4;
SELECT * FROM mysql.role_edges ORDER BY 1, 2, 3, 4;
SELECT * FROM mysql.default_roles ORDER BY 1, 2, 3, 4;
SELECT * FROM mysql.global_grants ORDER BY 1, 2, 3;
SELECT Host, User, Password_timestamp, HEX(Password) FROM mysql.password_history ORDER BY 1, 2, 3;
