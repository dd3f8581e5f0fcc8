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
# The least of some counts: whether the slab allocator finds an object in its processor's own slab or goes the
# long way for each request of a run is chance, and is some hundred instructions.
REPEATS = {"mapped": 5, "zip": 1}
REPEATS_ANEW = 2            # with a new image each


class Bench:
    """The machine under measurement."""

    def __init__(self, job):
        self.job, self.results, self.extra = job, {}, {}
        peers.setup(job["disk_mib"])
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
                                   "switches": round(min(n for _, n in counts), 3)})
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

    def fio(self, job, path, wanted, seconds):
        """Run a fio file; return {row: requests a second}."""
        env = dict(os.environ, TARGET=path, SECONDS_EACH=str(seconds))
        text = peers.run("fio", "--output-format=json", f"{HERE}/jobs/{job}.fio", env=env)
        found = {}
        for section in json.loads(text[text.index("{"):])["jobs"]:
            if section["error"]:
                raise RuntimeError(f"fio {section['jobname']} on {path}: error {section['error']}")
            sides = [section[side] for side in ("read", "write", "trim")]
            busy = max(side["runtime"] for side in sides)
            found[section["jobname"]] = sum(side["total_ios"] for side in sides) * 1000 / max(1, busy)
        if set(found) != set(wanted):
            raise RuntimeError(f"fio {job} on {path} ran {sorted(found)}")
        return found

    def clock(self):
        """Measure all rows by turns: peer after peer, round after round."""
        standing = {name: peer.attach("mapped") for name, peer in self.peers.items() if "mapped" in self.job["jobs"]}
        for _ in range(self.job["rounds"]):
            for job, kind, wanted in (row for row in rows.CLOCK if row[0] in self.job["jobs"]):
                for name, peer in self.peers.items():
                    if kind not in peer.kinds:
                        continue
                    self.clock_job(job, kind, wanted, peer, standing)
        for peer in self.peers.values():
            peer.detach()

    def clock_job(self, job, kind, wanted, peer, standing):
        """One fio file on one peer; what it spoils is made for it."""
        if kind == "mapped":
            found = self.fio(job, standing[peer.name], wanted, self.job["seconds"])
        else:
            other = peer.twin()
            try:
                found = self.fio(job, other.attach(kind), wanted, self.job["seconds"])
            finally:
                other.detach()
        for row, value in found.items():
            self.keep(row, peer.name, round(value, 1))


def main():
    """Do the job."""
    with open(sys.argv[1], encoding="ascii") as file:
        job = json.load(file)
    bench = Bench(job)
    getattr(bench, job["what"])()


if __name__ == "__main__":
    main()
