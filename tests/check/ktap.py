# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Results as KTAP, and calls of the programs under test."""

import json
import os
import subprocess
import sys

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
QCOW2CTL = os.environ.get("QCOW2CTL", f"{TREE}/userspace/qcow2ctl")
FULL = bool(os.environ.get("QCOW2_FULL"))


class Ktap:
    """Count and print results."""

    def __init__(self):
        self.count = 0
        self.failed = 0
        print("KTAP version 1")

    def result(self, name, problems=()):
        """Print one result; it is good if there are no problems."""
        self.count += 1
        self.failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {self.count} {name}")
        for line in "\n".join(problems).splitlines():
            print(f"# {line}")
        sys.stdout.flush()

    def end(self):
        """Print the plan and end the test."""
        print(f"1..{self.count}")
        sys.exit(1 if self.failed or not self.count else 0)


class Call:
    """What a program said."""

    def __init__(self, *words, limit=60):
        done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=limit)
        self.code = done.returncode
        self.out = done.stdout.decode(errors="replace")
        self.err = done.stderr.decode(errors="replace")

    def json(self):
        """Return the object that it printed, or None."""
        try:
            return json.loads(self.out)
        except ValueError:
            return None

    def __str__(self):
        return f"exit {self.code}\n{self.out[-600:]}{self.err[-600:]}"


def ours(*words):
    """Run qcow2ctl."""
    return Call(QCOW2CTL, *words)


def qemu(*words):
    """Run qemu-img."""
    return Call("qemu-img", *words)
