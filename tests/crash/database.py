#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Fill an SQLite database, and tell in the log below it what was committed.

database.py FOLDER LOGGED JOURNAL COMMITS MODE

Every row is a transaction of its own. When it has been committed, the mark "cN" goes into the log of
dm-log-writes (LOGGED). MODE is SQLite's journal mode: wal, or delete for a rollback journal.
"""

import json
import os
import sqlite3
import sys

sys.dont_write_bytecode = True
import model  # noqa: E402 pylint: disable=import-error,wrong-import-position
from workload import mark  # noqa: E402 pylint: disable=import-error,wrong-import-position


def main():
    """Do it."""
    folder, logged, journal, commits, mode = sys.argv[1:]
    database = sqlite3.connect(f"{folder}/rows.db", isolation_level=None)
    database.execute(f"PRAGMA journal_mode={mode}")
    # Less would not synchronise the folder from which the rollback journal has gone.
    database.execute("PRAGMA synchronous=EXTRA")
    database.execute("PRAGMA wal_autocheckpoint=20")
    database.execute("CREATE TABLE rows(number INTEGER PRIMARY KEY, data BLOB)")
    os.sync()
    for number in range(int(commits)):
        database.execute("INSERT INTO rows VALUES(?, ?)", (number, model.row(number)))
        mark(logged, f"c{number}")
    database.close()
    with open(journal, "w", encoding="ascii") as file:
        json.dump({"commits": list(range(int(commits)))}, file)


if __name__ == "__main__":
    main()
