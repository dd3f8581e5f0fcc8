#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Fill an SQLite database, one transaction a row, until a file appears; or look what is in it.

edit_database.py fill FILE END COMMITTED	COMMITTED has the number of rows that are durable
edit_database.py check FILE ROWS	it is whole and has at least so many rows, without a gap
"""

import os
import sqlite3
import sys
import time


def row(number):
    """Return the data of a row."""
    return (b"%d," % number) * (50 + number % 300)


def fill(path, end, committed):
    """Add rows."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE rows(number INTEGER PRIMARY KEY, data BLOB)")
    number = 0
    with open(committed, "wb", buffering=0) as file:
        while not os.path.exists(end):
            database.execute("INSERT INTO rows VALUES(?, ?)", (number, row(number)))
            number += 1
            os.pwrite(file.fileno(), b"%08d\n" % number, 0)
            time.sleep(0.02)    # the edits want to get on, too
    database.close()
    print(f"# {number} rows committed")
    return 0


def check(path, least):
    """Read it all."""
    database = sqlite3.connect(path)
    verdict = database.execute("PRAGMA integrity_check").fetchall()
    rows = database.execute("SELECT number, data FROM rows ORDER BY number").fetchall()
    database.close()
    if verdict != [("ok",)]:
        print(f"# {path}: {verdict[:3]}")
        return 1
    if [(number, row(number)) for number in range(len(rows))] != rows or len(rows) < int(least):
        print(f"# {path}: {len(rows)} rows, {least} were committed before the snapshot, or their data is wrong")
        return 1
    print(f"# {len(rows)} rows, {int(least)} of them durable before the snapshot")
    return 0


if __name__ == "__main__":
    sys.exit({"fill": fill, "check": check}[sys.argv[1]](*sys.argv[2:]))
