#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Judge the runs that inject.py wrote down: judge.py FOLDER, with base.qcow2 in it.

No content may hold an error, whatever failed (leaks are allowed, as many as leaks.py says); what an answered flush covered must
be in the durable content; a sector is as some write left it that may have happened; reads agreed with
the writes; nothing failed in silence, and the mode, its one log line and its event are those of the
first cause. A write with FUA whose own commit failed was answered with an error.
"""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../crash"))
import leaks  # noqa: E402 pylint: disable=import-error,wrong-import-position

EIO, ENOSPC = 5, 28


class Sectors:
    """For each sector the writes that may be what it holds: [(number, answered without an error)]."""

    def __init__(self, start):
        self.may = [[(tag, True)] for tag in start]
        self.pending = [[] for _ in start]

    def change(self, sector, count, number, good, durable):
        """A write of that number was answered; a good one with FUA is durable."""
        for at in range(sector, sector + count):
            self.pending[at].append((number, good))
            if durable and good:
                self.settle(at)

    def settle(self, at):
        """What was answered for a sector is durable."""
        versions = self.may[at] + self.pending[at]
        last = max((i for i, (_, good) in enumerate(versions) if good), default=0)
        self.may[at], self.pending[at] = versions[last:], []

    def flush(self):
        """All that was answered is durable."""
        for at in range(len(self.may)):
            if self.pending[at]:
                self.settle(at)

    def allowed(self, at):
        """What the medium may hold."""
        return {number for number, _ in self.may[at] + self.pending[at]}

    def newest(self, at):
        """What a read may see."""
        versions = self.may[at] + self.pending[at]
        last = max((i for i, (_, good) in enumerate(versions) if good), default=0)
        return {number for number, _ in versions[last:]}


def mode_of(run):
    """Return the mode of the device before it was removed."""
    return run["status"].split()[4]


def told_of(run, when=("log", "late")):
    """Return the lines of the kernel's log about the mode: before the status, and since."""
    return [line for name in when for line in run[name] if "mode is" in line]


def staged(run):
    """
    Return the changes of a run that may not have been committed, or not have given back what they replace: those since
    the last flush but one.
    """
    flushes = [at for at, (operation, *_, error) in enumerate(run["journal"]) if operation == "flush" and not error]
    changes = run["journal"][flushes[-2] if len(flushes) > 1 else 0:]
    return [(sector, count) for operation, sector, count, *_ in changes if operation not in ("flush", "read")]


def last_of(run):
    """Return what its status said of the last fault."""
    return re.search(r"last=(\S+)", run["status"]).group(1)


def tags(data):
    """Return what each sector is: the number of its write, 0, or -1 for the base; -2 is a mixture."""
    found = []
    for at in range(0, len(data), 512):
        sector = data[at:at + 512]
        number = struct.unpack_from("<Q", sector)[0]
        found.append(-1 if sector == b"\xbb" * 512 else number if sector == sector[:16] * 32 else -2)
    return found


class Judge:
    """All runs of a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.start = {}
        self.temp = tempfile.mkdtemp(prefix="judge.")

    def options(self, run, what):
        """Return how QEMU opens a content."""
        text = f"driver=qcow2,file.driver=file,file.filename={self.folder}/{run['name']}.{what}"
        if run["base"]:
            text += f",backing.driver=qcow2,backing.file.driver=file,backing.file.filename={self.folder}/base.qcow2"
        return text

    def guest(self, run, what):
        """Return the tags of the disk in a content."""
        raw = f"{self.temp}/raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", "--image-opts", self.options(run, what), raw], check=True)
        with open(raw, "rb") as file:
            return tags(file.read())

    def image(self, run, what, sectors):
        """Look at one content."""
        check = subprocess.run(["qemu-img", "check", "--image-opts", self.options(run, what)],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True)
        if check.returncode not in (0, 3):
            yield f"{what}: {check.stdout.strip()}"
            return
        if check.returncode == 3 and not run["fired at all"]:
            yield f"{what}: leaks, and nothing had failed: {check.stdout.strip()}"
        most = leaks.bound(leaks.geometry(f"{self.folder}/{run['name']}.{what}"), staged(run))
        if leaks.found(check.stdout) > most:
            yield f"{what}: {leaks.found(check.stdout)} leaks, more than {most}"
        for at, tag in enumerate(self.guest(run, what)):
            if tag not in sectors.allowed(at):
                yield f"{what}: sector {at} holds {tag}, not one of {sorted(sectors.allowed(at))}"
                return

    def answers(self, run, sectors):
        """Go through what the guest was told."""
        for operation, sector, count, number, error in run["journal"]:
            if operation == "flush":
                if not error:
                    sectors.flush()
            elif operation == "read":
                yield from self.reads(run, sectors, sector, count)
            else:
                sectors.change(sector, count, number, not error, operation == "fua")

    @staticmethod
    def reads(run, sectors, found, failed):
        """Look at what the guest has read, and what it could not read."""
        for start, numbers in found:
            for at, tag in enumerate(numbers, start):
                if tag not in sectors.newest(at):
                    yield f"sector {at} was read as {tag}, not one of {sorted(sectors.newest(at))}"
                    return
        kind, _, _, for_ever = run["fault"] or ("", 0, "", False)
        if mode_of(run) == "lost":
            return
        if failed and kind != "read":
            yield f"reads failed: {failed[:4]}"
        if not for_ever and (len(failed) > 1 or any(attempt for _, attempt, _ in failed)):
            yield f"more than one read failed: {failed[:4]}"

    @staticmethod
    def drop(run):
        """Look at a device that is no longer rw: why, and who was told."""
        mode, last = mode_of(run), last_of(run)
        kind, _, error, for_ever = run["fault"]
        told = told_of(run)
        # A device that failed is lost when it was suspended; without space that is all.
        steps = 1 if mode == "fail" or error == "ENOSPC" and kind != "sync" else 2
        # Each is told by one event, and a device that is lost tells it once more when it resumes.
        most = steps + (mode == "lost")
        if not 1 <= len(told) <= steps or run["events"] < 1 or error == "EIO" and run["events"] > most:
            yield f"mode {mode}: {run['events']} events, {told}"
        if kind == "sync" and not last.startswith("barrier@"):
            yield f"a barrier failed, last={last}"
        if kind == "write" and error == "EIO" and not last.startswith("write@"):
            yield f"a write failed, last={last}"
        if error == "ENOSPC" and kind != "sync" and not (mode == "lost" and (for_ever or run["uncommitted"])):
            yield f"mode {mode} after ENOSPC"
        if kind == "read" and mode != "lost":
            yield f"mode {mode} after a read"

    def state(self, run):
        """Look at status, log and events."""
        kind, _, error, for_ever = run["fault"] or ("", 0, "", False)
        told = told_of(run)
        bad = [entry for entry in run["journal"] if entry[0] != "read" and entry[4]]
        # What fails when the device goes is told in the log only.
        late = mode_of(run) == "rw" and told and not told_of(run, ("log",))
        if not run["fired"] or late and not bad:
            if bad or mode_of(run) != "rw" or last_of(run) != "none":
                yield f"nothing failed, and yet: {run['status']} {bad}"
            if kind == "sync" and run["fired at all"] and len(told) != 1:
                yield f"the last barrier failed: {told}"
            return
        if mode_of(run) != "rw":
            yield from self.drop(run)
        elif len(told) > (2 if late else 0) or kind == "sync":
            yield f"mode rw, and yet: {kind} {told}"
        elif kind == "write" and error == "EIO" and not bad:
            yield f"a failed write was passed over: {run['status']}"
        elif kind == "read" and not for_ever and len(bad) > 1:
            yield f"one read failed below, and more than one change for it: {bad}"
        elif bad and last_of(run) == "none":
            yield f"status says nothing of {bad}"
        # A suspend waits for nobody, so what was staged is lost in it.
        if error == "ENOSPC" and not for_ever and kind != "sync" and bad and not run["uncommitted"]:
            yield f"no space once became an error: {bad}"

    @staticmethod
    def aimed(run):
        """Look at a write with FUA whose commit had to fail."""
        operation, sector, _, _, error = run["journal"][run["aim"]]
        if not run["met"]:
            yield f"{operation} of sector {sector}: nothing failed below"
        elif error != (ENOSPC if run["fault"][2] == "ENOSPC" else EIO):
            yield f"{operation} of sector {sector}: its commit failed, and it was answered with {error}"

    def judge(self, run):
        """Yield what is wrong with a run."""
        sectors = Sectors(self.start[run["image"]])
        yield from self.answers(run, sectors)
        yield from self.image(run, "content", sectors)
        yield from self.image(run, "durable", sectors)
        if run["attached"]:
            yield from self.state(run)
            if run["fault"] and run["aim"] is not None:
                yield from self.aimed(run)
        elif not run["fired at all"]:
            yield "not attached"

    def all(self):
        """Judge all runs, in KTAP, one result for each image."""
        with open(f"{self.folder}/runs.json", encoding="ascii") as file:
            runs = json.load(file)
        names = list(dict.fromkeys(run["image"] for run in runs))
        print(f"KTAP version 1\n1..{len(names)}")
        for nr, name in enumerate(names, 1):
            mine = [run for run in runs if run["image"] == name]
            self.start[name] = START[name]
            wrong = 0
            for run in mine:
                for problem in self.judge(run):
                    wrong += 1
                    print(f"# {run['name']} {run['fault']}: {problem}")
            fired = sum(bool(run["fired at all"]) for run in mine)
            print(f"{'not ok' if wrong else 'ok'} {nr} {name}: {len(mine)} runs, {fired} with a failure, {wrong} wrong")


def prefix(sectors):
    """Return the tags of a disk of 4 MiB whose first sectors are as the base is."""
    return [-1] * sectors + [0] * (8192 - sectors)


START = {"plain": prefix(2400), "plain-loop": prefix(2400), "growth": prefix(16), "moves": prefix(16)}

if __name__ == "__main__":
    Judge(os.path.abspath(sys.argv[1])).all()
