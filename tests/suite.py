# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""A suite of tests/run: it counts, judges and reports tests, by their exit code and by KTAP."""

import fnmatch
import glob
import os
import re
import signal
import subprocess
import threading
import time

from places import Places, Stopwatch

TREE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
FULL = bool(os.environ.get("QCOW2_FULL"))
SKIP = 4
# Reasons for a skip: what no package brings. All else that a test may miss is installed by make check.
LACKS = re.compile(r"this kernel (has no|cannot)|not root|needs root|may not mount|no loop device")

HOST = Places(os.cpu_count())     # for the scripts of all suites


def skip_problem(reason):
    """Return what is wrong with a reason for a skip, or nothing."""
    if not reason:
        return "a skip without a reason"
    return "" if LACKS.search(reason) else f"skips what make check installs: {reason}"


class Suite:
    """What became of the tests of one suite."""

    def __init__(self, name, words):
        self.name = name
        self.words = words
        self.lock = threading.Lock()
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.failures = []
        self.watch, self.places, self.needed = Stopwatch(), None, ""

    def begin(self, places):
        """A test begins that runs in places which other suites use, too."""
        with self.lock:
            if not self.places:
                self.watch, self.places = Stopwatch(), places

    def time(self):
        """Return the time on the clock, and what this suite needed of it."""
        wall, seconds = self.watch.read()
        return wall, seconds / wall * self.places.charged[self.name] if self.places else seconds

    def wants(self, test):
        """Tell whether a test is asked for."""
        return not self.words or any(fnmatch.fnmatch(test, f"*{word}*") for word in self.words)

    def report(self, verdict, test, text="", details=""):
        """Count a test and print its line; below it details of a failure, or what a test that passed measured beside another."""
        with self.lock:
            self.counts[verdict] += 1
            line = f"{verdict:8}{self.name} {test}{' ' + text if text else ''}"
            print(line, flush=True)
            for found in re.findall(r"^# .*\bratio\b.*", details, re.M) if verdict == "passed" else ():
                print(f"        | {found}", flush=True)
            if verdict == "failed":
                hint = [line for line in details.splitlines() if re.match(r"\s*(not ok|# |vm-run: )", line)]
                self.failures.append("\n".join([line] + [f"        | {text}" for text in hint[:6]]))
                lines = details.rstrip().splitlines()
                for line in (["..."] if len(lines) > 120 else []) + lines[-120:]:
                    print(f"        | {line}", flush=True)

    def judge(self, test, rc, seconds, output, more=""):
        """Report one test by the exit code of a kselftest; more is a reason to fail all the same."""
        took = f"({seconds:.1f} s)"
        if rc == SKIP and not more:
            reasons = re.findall(r"#\s*SKIP\b:?\s*(.*)", output) or output.strip().splitlines()[-1:]
            reason = reasons[-1].strip() if reasons else ""
            problem = skip_problem(reason)
            self.report("failed" if problem else "skipped", test, f"{took}: {problem or reason}")
        elif rc == 0 and not more:
            problem = broken_ktap(output)
            self.report("failed" if problem else "passed", test, f"{took} {problem}".strip(), output)
            for _, part, reason in parse_ktap(output)[1]:
                if reason and not problem:
                    self.report("skipped", f"{test}: {part}", reason)
        else:
            why = "took too long" if rc == 124 else f"exit {rc}" if rc else ""
            self.report("failed", test, f"{took} {', '.join(filter(None, (why, more)))}", output)


def short(file):
    """Return the name of a test: cow_03 for test_cow_03.sh."""
    return re.sub(r"^test_(.*)\.sh$", r"\1", file)


def broken_ktap(output):
    """Return what contradicts success in a test's KTAP, if it speaks KTAP."""
    plan, results = parse_ktap(output)
    if any(not good for good, _, _ in results):
        return "not ok, but exit 0"
    for _, name, reason in results:
        if reason is not None and skip_problem(reason):
            return f"{name}: {skip_problem(reason)}"
    if plan is not None and plan != len(results):
        return f"planned {plan} results, gave {len(results)}"
    return ""


def parse_ktap(output):
    """Return (plan, [(good, name, reason for a skip)]) of the top level of KTAP."""
    plan, results = None, []
    for line in output.splitlines():
        if match := re.match(r"1\.\.(\d+)", line):
            plan = int(match.group(1))
        elif match := re.match(r"(not )?ok\s+(\d+)\s*(?:-\s*)?([^#]*)(?:#\s*(.*))?", line):
            skip = re.match(r"SKIP\b:?\s*(.*)", match.group(4) or "")
            results.append((not match.group(1), match.group(3).strip(), skip.group(1) if skip else None))
    return plan, results


def execute(command, limit=None):
    """Run a command in the tree; return (exit code, seconds, output)."""
    start = time.monotonic()
    with subprocess.Popen(command, cwd=TREE, shell=isinstance(command, str), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True) as process:
        try:
            output = process.communicate(timeout=limit)[0]
            rc = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, rc = process.communicate()[0], 124
    return rc, time.monotonic() - start, output.decode(errors="replace")


def commands(suite, *tests):
    """Run named commands; each is a test that passes with exit code 0."""
    for name, command in tests:
        if suite.wants(name):
            rc, seconds, output = execute(command)
            suite.judge(name, 1 if rc == SKIP else rc, seconds, output)


def ktap(suite, name, command):
    """Run one command that reports many tests."""
    rc, seconds, output = execute(command)
    plan, results = parse_ktap(output)
    for good, test, reason in results:
        if suite.wants(test):
            problem = skip_problem(reason) if good and reason is not None else ""
            verdict = "failed" if not good or problem else "passed" if reason is None else "skipped"
            suite.report(verdict, test, problem or (f": {reason}" if reason else ""), output if not good else "")
    if not results or plan != len(results) or (rc and all(good for good, _, _ in results)):
        suite.report("failed", name, f"({seconds:.1f} s) exit {rc}, plan {plan}, {len(results)} results", output)


def setting(test, pattern):
    """Return what a line "# SETTING" of a test says, or None."""
    with open(test, encoding="utf-8") as file:
        match = re.search(rf"^# {pattern}$", file.read(), re.M)
    return match and match.group(1)


def length(test):
    """Return how many seconds a test says it takes about: "# seconds=N"."""
    return int(setting(test, r"seconds=(\d+)") or 0)


def scripts(suite, folder, seconds=300, alone=False):
    """Run all test_*.sh of a folder here, on the host, long ones first; alone: one by one, with nothing beside.

    One with a line "# full" is for QCOW2_FULL=1, or for somebody who names it.
    """
    tests = [test for test in glob.glob(f"{TREE}/{folder}/test_*.sh") if FULL or suite.words or setting(test, "(full)") is None]
    tests.sort(key=lambda test: (-length(test), test))
    if not tests:
        suite.report("failed", folder, "has no tests")

    def one(test):
        name = short(os.path.basename(test))
        if suite.wants(name):
            suite.judge(name, *execute([test], None if FULL else seconds))
    if not alone:
        HOST.each(suite, one, tests)
    for test in tests if alone else ():
        one(test)
