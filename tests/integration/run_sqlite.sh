#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sqlite3: joins and indexes of a database in memory.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

command -v sqlite3 > /dev/null || skip "sqlite3 is missing (apt install sqlite3)"
cat > "$WORK/join.sql" <<- 'END'
	CREATE TABLE item(id INTEGER PRIMARY KEY, owner INTEGER, name TEXT, words TEXT);
	WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 60000)
	INSERT INTO item SELECT n, (n * 7919) % 5003, 'item ' || ((n * 104729) % 60001),
		hex(n * 6700417) || printf('%.*c', 200 + n % 97, 'x') FROM count;
	CREATE TABLE owner(id INTEGER PRIMARY KEY, city TEXT);
	WITH RECURSIVE count(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM count WHERE n < 5003)
	INSERT INTO owner SELECT n, 'city ' || (n % 83) FROM count;
	CREATE INDEX item_name ON item(name);
	SELECT city, count(*), sum(length(words)), min(name), max(words) FROM item
		JOIN owner ON owner.id = item.owner GROUP BY city ORDER BY city;
	SELECT count(*), sum(a.id) FROM item a JOIN item b ON a.name = b.name WHERE a.id % 3 < 2;
	UPDATE item SET words = words || name WHERE id % 3 = 0;
	SELECT sum(length(words)), max(words) FROM item;
	DELETE FROM item WHERE id % 2 = 0;
	SELECT count(*), sum(id), min(words) FROM item;
	PRAGMA integrity_check;
END
same_output 90 8M "mem tcp" sqlite3 -init /dev/null -batch :memory: ".read $WORK/join.sql"
