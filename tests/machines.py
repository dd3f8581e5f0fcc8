# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Kselftests in virtual machines: some machines of one kernel series take tests from one queue; tests/batch runs them there."""

import glob
import itertools
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from places import Places
from suite import FULL, SKIP, TREE, execute, setting, short

sys.path.insert(0, f"{TREE}/scripts/vm")
import scan  # noqa: E402 pylint: disable=import-error,wrong-import-position

KSELFTEST = "tests/kselftest/dm-qcow2"
MUTATION = "test_mutation_01.sh"
MACHINES = 3
PLACES = Places(MACHINES)     # for the machines of all suites
CROWDED = "2"   # processors for a test with a line "# cpus=2"; all others have one, see Queue
LIMIT = 120     # seconds for a test without a line "# timeout=N"
STALL = 90      # seconds beyond a test's own limit after which its machine is given up


class Queue:
    """Tests that wait for a machine, as files in todo/1 and todo/2: by the processors that they want.

    Where more processors are emulated than there are, one holds a lock and does not run while another one waits for it:
    the same tests take 1.6 times as long on two processors. So only those have two that are about requests which meet,
    and one machine at a time has two for them. With QCOW2_FULL=1 all have two.
    """

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="kselftest.")
        for name in ("todo/1", f"todo/{CROWDED}", "taken", "done"):
            os.makedirs(f"{self.folder}/{name}")
        self.lock = threading.Lock()
        self.crowded = 0        # machines with two processors
        self.numbers = itertools.count(1)

    def add(self, test, seconds):
        """Put a kselftest with its limit in: the long ones come first."""
        cpus = CROWDED if FULL else setting(kselftest(test), r"cpus=(\d+)") or "1"
        with open(f"{self.folder}/todo/{cpus}/{99999 - seconds:05}.{test}", "w", encoding="ascii") as file:
            file.write(f"{seconds}\n")

    def todo(self, cpus):
        """Return the files of the tests that nobody has taken."""
        return sorted(os.listdir(f"{self.folder}/todo/{cpus}"))

    def waiting(self):
        """Return the names of all that nobody has taken."""
        return [name.partition(".")[2] for cpus in ("1", CROWDED) for name in self.todo(cpus)]

    def enter(self):
        """Return number and processors of a machine that makes sense now, or None."""
        with self.lock:
            crowd = len(self.todo(CROWDED))
            if crowd and not self.crowded or crowd > 1 and not self.todo("1"):
                self.crowded += 1
                return str(next(self.numbers)), CROWDED
            return (str(next(self.numbers)), "1") if self.todo("1") else None

    def leave(self, cpus):
        """A machine has ended."""
        with self.lock:
            self.crowded -= cpus == CROWDED


class Machine:
    """Keep one virtual machine running tests from the queue until it is empty."""

    def __init__(self, suite, series, queue):
        self.suite, self.series, self.queue = suite, series, queue
        self.running = None     # what it does
        self.until = 0          # the monotonic time at which we give up
        self.number, self.cpus = "0", "1"

    def run(self):
        going = True
        while going and (place := self.queue.enter()):
            self.number, self.cpus = place
            going = self.one_machine()
            self.queue.leave(self.cpus)

    def file(self, name):
        """Return a file that batch left in done."""
        try:
            with open(f"{self.queue.folder}/done/{name}", encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def one_machine(self):
        """Boot, run until the machine ends; tell whether another one makes sense."""
        debugs = self.series.startswith("debug")
        command = [f"{TREE}/scripts/vm-run", "--kernel", self.series, "--mem", "3072" if debugs else "2048", "--allow", "",
                   "--smp", self.cpus, "--timeout", "36000", "--rw", self.queue.folder, "--env", f"VM_MACHINE={self.number}"]
        command += ["--append", "kmemleak=on"] if debugs and self.number == "1" else []
        command += ["--env", "QCOW2_FULL=1"] if FULL else []
        command += [f"{TREE}/tests/batch", self.queue.folder, self.cpus, f"{TREE}/{KSELFTEST}"]
        self.running, self.until = "boot", time.monotonic() + 300
        with tempfile.TemporaryFile() as errors, subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process:
            self.follow(process)
            rc = process.wait()
            errors.seek(0)
            text = errors.read().decode(errors="replace")
        if "; once more." in text:      # no failure, and nothing to hide
            print(f"note    {self.suite.name} machine {self.number}", *text.splitlines(), sep="\n        | ", flush=True)
        boot = scan.bad_lines(self.file(f"boot.{self.number}.dmesg"))
        if boot:
            self.suite.report("failed", f"boot.{self.number}", "kernel log: " + boot[0], "\n".join(boot))
        if not self.running and rc in (0, 1):   # 1: batch wants a fresh machine
            return True
        name = self.running or "machine"
        self.suite.report("failed", short(name), f"the machine died (vm-run exit {rc})", self.file(f"{name}.log") + text)
        return name != "boot"

    def follow(self, process):
        """Read batch's lines; end a machine that says nothing for too long."""
        buffer = b""
        while True:
            ready, _, _ = select.select([process.stdout], [], [], 1)
            if ready:
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    return
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self.line(line.decode(errors="replace").split(None, 4))
            elif time.monotonic() > self.until:
                process.terminate()
                return

    def line(self, words):
        """Take in one line of batch."""
        # One that a test has broken may not even go down.
        self.until = time.monotonic() + STALL
        if words[:1] == ["ready"]:
            self.running = None
        elif words[:1] == ["begin"]:
            self.running = words[1]
            self.until += int(words[2])
        elif words[:1] == ["end"]:
            name, rc, seconds, left = words[1:5]
            self.running = None
            log = self.file(f"{name}.dmesg")
            bad = scan.bad_lines(log)
            more = [f"left behind {left.strip()}"] if left.strip() != "-" else []
            more += [f"kernel log: {bad[0]}"] if bad else []
            output = self.file(f"{name}.log")
            if more or rc not in ("0", str(SKIP)):
                output += "\n-- kernel log:\n" + "\n".join(log.splitlines()[-60:])
            self.suite.judge(short(name), int(rc), float(seconds), output, ", ".join(more))


def kselftest(test):
    """Return the path of a kselftest."""
    return f"{TREE}/{KSELFTEST}/{test}"


def limit(test, series):
    """Return the limit of a kselftest in seconds: timeout=N. The kernel's runner has one for all, that of the file settings."""
    return int(setting(kselftest(test), r"timeout=(\d+)") or LIMIT) * (10 if FULL else 1) * (5 if series.startswith("debug") else 1)


def has_turn(suite, test, series):
    """Tell whether a kselftest is run on a series.

    One with a line "# series=N" is about our tool more than about the kernel, and long: it is run on that series
    alone, unless all is run, or somebody names it. All have their turn on the kernel that finds more.
    """
    own = setting(kselftest(test), r"series=(\S+)")
    # The newest kernel runs what the others lack something for.
    return FULL or suite.words or series == "debug-full" or own == series or (not own and series != "7.x")


def machines(suite, series, chosen=()):
    """Run the kselftests, or the chosen, in virtual machines of one kernel series."""
    if not os.path.exists(f"{TREE}/build/{series}/dm-qcow2.ko"):
        suite.report("failed", "module", f"build/{series}/dm-qcow2.ko is not built")
        return
    tests = [os.path.basename(test) for test in sorted(glob.glob(f"{TREE}/{KSELFTEST}/test_*.sh"))]
    if not tests:
        suite.report("failed", KSELFTEST, "has no tests")
    queue = Queue()
    try:
        for test in tests:
            if suite.wants(test) and (short(test) in chosen if chosen else has_turn(suite, test, series)):
                queue.add(test, limit(test, series))
        if MUTATION in queue.waiting():     # by QEMU, which is slow in a machine
            suite.judge("mutants", *execute(f"tests/interop/mutants.py build/mutation {5000 if FULL else 300}"))
        PLACES.each(suite, Machine.run, [Machine(suite, series, queue) for _ in range(min(MACHINES, len(queue.waiting())))])
        for test in queue.waiting():
            suite.report("failed", short(test), "was not run")
    finally:
        shutil.rmtree(queue.folder)
