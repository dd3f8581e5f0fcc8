#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Measure, in the virtual machine that tests/bench/run boots.

guest.py JOB: a JSON file with what is to be done; its results go to VM_OUT/results.json, and as they come.
"""

import json
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
import peers  # noqa: E402 pylint: disable=wrong-import-position
import rows  # noqa: E402 pylint: disable=wrong-import-position
import scale  # noqa: E402 pylint: disable=wrong-import-position
import size  # noqa: E402 pylint: disable=wrong-import-position

NS_PER_INSTRUCTION = 2      # -icount shift=1
# The least of some counts: whether a slab has an object at hand, or which lane wakes up, is chance.
REPEATS = {"mapped": 3, "zip": 1}
REPEATS_ANEW = 5            # with a new image each


class Bench:
    """The machine under measurement."""

    def __init__(self, job):
        self.job, self.results, self.extra = job, {}, {}
        peers.setup(job["disk_mib"], job["empty_mib"] + 16, not job.get("devices"))
        self.images = peers.Images(job["mapped_mib"] << 20, job["empty_mib"] << 20)
        self.peers = {name: peers.CLASSES[name](self.images, name) for name in job["peers"]}
        # Programs by 9p would be waits in the middle of what is measured.
        self.load = shutil.copy(job["load"], tempfile.mkdtemp(dir="/dev/shm"))

    def keep(self, row, peer, value):
        """Take a result in."""
        self.results.setdefault(row, {}).setdefault(peer, []).append(value)
        self.write_down(f"{row:20} {peer:12} {value}")

    def keep_extra(self, name, value):
        """Take in what is of no row."""
        self.extra[name] = value
        self.write_down(f"{name:20} {value}")

    def write_down(self, text):
        """Write all results: a machine that dies has told what it knew."""
        with open(f"{os.environ['VM_OUT']}/results.json.new", "w", encoding="ascii") as file:
            json.dump({"release": os.uname().release, "results": self.results, "extra": self.extra}, file)
        os.rename(f"{os.environ['VM_OUT']}/results.json.new", f"{os.environ['VM_OUT']}/results.json")
        print(text, flush=True)

    # Virtual time

    def count(self, row, path, kind):
        """Run the load of a row once; return (instructions, context switches) for each request."""
        _, operation, block, depth, count, fsync = rows.VIRTUAL[row]
        size = self.images.size(kind)
        words = (self.load, path, operation, block, depth, count, max(depth, count // 20), size, fsync)
        result = json.loads(peers.run(*map(str, words)))
        return result["ns"] / NS_PER_INSTRUCTION / count, result["switches"] / count

    def virtual_row(self, row, peer, path):
        """Measure a row on a peer, which is at path; return where it is then."""
        kind, counts = rows.image_kind(row), []
        for _ in range(REPEATS.get(kind, REPEATS_ANEW)):
            if not path:
                peer.detach()
                path = peer.attach(kind)
                peers.run("sync")
            counts.append(self.count(row, path, kind))
            if kind not in REPEATS:
                path = None
        self.keep(row, peer.name, {"instructions": round(min(n for n, _ in counts), 1),
                                   "switches": round(min(n for _, n in counts), 3),
                                   "most_switches": round(max(n for _, n in counts), 3)})
        return path

    def virtual(self):
        """Measure all rows, peer after peer; those that leave an image as it was share it."""
        for name, peer in self.peers.items():
            path, standing = None, None
            for row, names in self.job["rows"]:
                kind = rows.image_kind(row)
                if name not in names or kind not in peer.kinds:
                    continue
                path = self.virtual_row(row, peer, path if standing == kind else None)
                standing = kind
            peer.detach()
        if self.job.get("devices"):
            scale.many(self.images, self.job["devices"], self.keep_extra)
            scale.huge(self.keep_extra)

    def sizes(self):
        """What the size of the disk costs."""
        tool = shutil.copy(self.job["tool"], os.path.dirname(self.load))
        size.measure(tool, self.keep_extra)

    def profile(self):
        """Say where the instructions of a row go."""
        row, name = self.job["profile"]
        peer, kind = self.peers[name], rows.image_kind(row)
        _, operation, block, depth, count, fsync = rows.VIRTUAL[row]
        path = peer.attach(kind)
        words = (self.load, path, operation, block, depth, count * self.job["times"], count // 10,
                 self.images.size(kind), fsync)
        peers.run("perf", "record", "-q", "-a", "-e", "cpu-clock", "-F", "20000", "-o", "/dev/shm/perf.data", *self.job["perf"],
                  *map(str, words))
        print(peers.run("perf", "report", "-i", "/dev/shm/perf.data", "--stdio", "--sort", "dso,symbol", "--no-children",
                        "-g", "none"))
        peer.detach()

    # The clock

    def fio(self, job, path, row):
        """Run the section of a row of a fio file; return requests a second."""
        env = dict(os.environ, TARGET=path, SECONDS_EACH=str(self.job["seconds"]))
        text = peers.run("fio", "--output-format=json", f"--section={row}", f"{HERE}/jobs/{job}.fio", env=env)
        section, = json.loads(text[text.index("{"):])["jobs"]
        if section["error"]:
            raise RuntimeError(f"fio {row} on {path}: error {section['error']}")
        sides = [section[side] for side in ("read", "write", "trim")]
        return sum(side["total_ios"] for side in sides) * 1000 / max(1, *(side["runtime"] for side in sides))

    def clock(self):
        """Measure all rows by turns: peer after peer, round after round, every other one backwards."""
        standing = {name: peer.attach("mapped") for name, peer in self.peers.items() if "mapped" in self.job["jobs"]}
        names = list(self.peers)
        for _ in range(self.job["rounds"]):
            for job, kind, wanted in (row for row in rows.CLOCK if row[0] in self.job["jobs"]):
                for row, name in ((row, name) for row in wanted for name in names):
                    if kind in self.peers[name].kinds:
                        self.clock_row(job, kind, row, self.peers[name], standing)
            names.reverse()
        for peer in self.peers.values():
            peer.detach()

    def clock_row(self, job, kind, row, peer, standing):
        """One row on one peer; an image that it spoils is made for it."""
        if kind == "mapped":
            rate = self.fio(job, standing[peer.name], row)
        else:
            other = peer.twin()
            try:
                rate = self.fio(job, other.attach(kind), row)
            finally:
                other.detach()
        self.keep(row, peer.name, round(rate, 1))


def main():
    """Do the job."""
    with open(sys.argv[1], encoding="ascii") as file:
        job = json.load(file)
    bench = Bench(job)
    getattr(bench, job["what"])()


if __name__ == "__main__":
    main()
