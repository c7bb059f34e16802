SELECT CONCAT('SHOW CREATE USER ', QUOTE(User), '@', QUOTE(Host), '; SHOW GRANTS FOR ', QUOTE(User), '@', QUOTE(Host), ';') FROM mysql.user
  WHERE User NOT LIKE 'mysql.%' ORDER BY User, Host;
