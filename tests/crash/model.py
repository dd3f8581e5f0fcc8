# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""What a disk may hold after a power cut, as the journal of a workload tells.

Sectors: what a completed flush covered must be there; every other sector is as some write since then
left it, or as it was before: zeros, or what the base says.

Database: SQLite on an ext4 on the disk. It is whole, and has every row whose transaction was
committed.
"""

import os
import sqlite3
import struct
import subprocess


class Sectors:
    """What each sector of the disk may hold."""

    def __init__(self, journal, base):
        self.operations = journal["operations"]
        self.flushes = journal["flushes"]
        self.sectors = journal["sectors"]
        self.durable = [0] * len(self.operations)
        self.marks = 0              # flushes that have completed
        self.base = base
        self.good = None            # the content that was found good last
        self.narrowed = set()       # sectors that may hold less since then
        self.allowed = [{self.before(sector)} for sector in range(self.sectors)]
        for operations in self.operations:
            for sector, count, number in operations:
                for at in range(sector, sector + count):
                    self.allowed[at].add(self.after(at, number))

    def before(self, sector):
        """Return what a sector holds that was never written."""
        return self.base[sector * 512:sector * 512 + 512] if self.base else bytes(512)

    @staticmethod
    def after(sector, number):
        """Return what the write of that number left in a sector."""
        return struct.pack("<QQ", number, sector) * 32 if number else bytes(512)

    def flushed(self, number):
        """Flush @number has completed: forget what it has overtaken."""
        touched = set()
        for thread, complete in enumerate(self.flushes[number]):
            for sector, count, _ in self.operations[thread][self.durable[thread]:complete]:
                touched.update((thread, at) for at in range(sector, sector + count))
            self.durable[thread] = max(self.durable[thread], complete)
        for thread in {thread for thread, _ in touched}:
            self.narrow(thread, {at for owner, at in touched if owner == thread})

    def narrow(self, thread, sectors):
        """Set what sectors, which that thread owns, may hold: the last durable version and later ones."""
        self.narrowed |= sectors
        for at in sectors:
            self.allowed[at] = set()
        for index, (sector, count, number) in enumerate(self.operations[thread]):
            for at in range(sector, sector + count):
                if at in sectors:
                    if index < self.durable[thread]:
                        self.allowed[at].clear()
                    self.allowed[at].add(self.after(at, number))

    def mark(self, text):
        """A mark was found in the log."""
        if text.startswith("f"):
            self.flushed(int(text[1:]))
            self.marks = max(self.marks, int(text[1:]) + 1)

    def staged(self):
        """
        Return the changes, (sector, sectors), that may be in memory only, or have not given back what they replace.

        Each thread may have a flush under way that began before the last mark, or after a mark that comes; and what
        a flush covers has given back what it replaced when one is through that began behind it.
        """
        others = len(self.operations)
        last = self.marks + others
        changes = []
        for thread, operations in enumerate(self.operations):
            first = self.flushes[self.marks - 1 - 2 * others - 1][thread] if self.marks > 2 * others + 1 else 0
            end = self.flushes[last][thread] + 1 if last < len(self.flushes) else len(operations)
            changes += [(sector, count) for sector, count, _ in operations[first:end]]
        return changes

    def check(self, path):
        """Return what is wrong with the content of a raw disk, or None."""
        with open(path, "rb") as file:
            disk = file.read()
        for sector in self.changed(disk):
            found = disk[sector * 512:sector * 512 + 512]
            if found not in self.allowed[sector]:
                return f"sector {sector} holds {found[:16].hex()}, not one of {len(self.allowed[sector])} versions"
        self.good, self.narrowed = disk, set()
        return None

    def changed(self, disk):
        """Yield the sectors that are not known to be good."""
        if not self.good:
            yield from range(self.sectors)
            return
        yield from self.narrowed
        for first in range(0, self.sectors, 128):
            if disk[first * 512:(first + 128) * 512] != self.good[first * 512:(first + 128) * 512]:
                yield from range(first, min(first + 128, self.sectors))


def dump(filesystem, name, target):
    """Copy a file out of an ext4 whose journal has been replayed; tell whether it is there."""
    done = subprocess.run(["debugfs", "-R", f"dump /{name} {target}", filesystem], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, check=True)
    if "File not found" in done.stderr and os.path.exists(target):
        os.unlink(target)
    return "File not found" not in done.stderr


def replay_journal(filesystem):
    """Do what a mount does first."""
    done = subprocess.run(["e2fsck", "-p", "-E", "journal_only", filesystem], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return f"e2fsck: {done.stdout}" if done.returncode & ~1 else None


class Database:
    """Rows 0, 1, 2 ... of a table, one in each transaction."""

    FILES = ("rows.db", "rows.db-wal", "rows.db-journal")

    def __init__(self, journal, _base):
        self.flushes = journal["commits"]
        self.committed = 0

    def mark(self, text):
        """A mark was found in the log."""
        if text.startswith("c"):
            self.committed = max(self.committed, int(text[1:]) + 1)

    def check(self, path):
        """Return what is wrong with the database on a raw disk, or None."""
        wrong = replay_journal(path)
        if wrong:
            return wrong
        folder = os.path.dirname(path)
        there = [dump(path, name, f"{folder}/{name}") for name in self.FILES]
        if not there[0]:
            return f"no database, {self.committed} commits" if self.committed else None
        try:
            return self.rows(f"{folder}/{self.FILES[0]}")
        except sqlite3.Error as error:
            return f"SQLite: {error}, {self.committed} commits"
        finally:
            for name in self.FILES + ("rows.db-shm",):
                if os.path.exists(f"{folder}/{name}"):
                    os.unlink(f"{folder}/{name}")

    def staged(self):
        """Nobody knows what the filesystem has under way."""
        return None

    def rows(self, path):
        """Look at all rows."""
        with sqlite3.connect(path) as database:
            state = database.execute("PRAGMA integrity_check").fetchone()[0]
            if state != "ok":
                return f"SQLite: {state}"
            if not self.committed and not database.execute("SELECT * FROM sqlite_master").fetchall():
                return None
            rows = database.execute("SELECT number, data FROM rows ORDER BY number").fetchall()
        database.close()
        if len(rows) < self.committed:
            return f"{len(rows)} rows, and {self.committed} were committed"
        for at, (number, data) in enumerate(rows):
            if number != at or data != row(at):
                return f"row {at} is {number}: {data[:16]}"
        return None


def row(number):
    """Return what a row holds."""
    return struct.pack("<Q", number) * (16 + number % 97)


def of(journal, base):
    """Return the model that fits a journal."""
    return (Database if "commits" in journal else Sectors)(journal, base)
