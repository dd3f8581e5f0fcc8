#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Look whether all that tests/interop/iotests.md names exists: iotests.py [FILE]."""

import os
import re
import subprocess
import sys

TREE = os.path.realpath(f"{os.path.dirname(os.path.realpath(__file__))}/../..")


def text(path):
    """Return a file of the tree."""
    with open(f"{TREE}/{path}", encoding="utf-8") as file:
        return file.read()


def known():
    """Return the names of all tests, as iotests.md writes them."""
    names = set()
    for kind, folder in (("kselftest", "tests/kselftest/dm-qcow2"), ("edit", "tests/edit"), ("check", "tests/check"), ("cli", "tests/cli")):
        names.update(f"{kind}/{match.group(1)}" for match in (re.fullmatch(r"test_(\w+)\.sh", name) for name in os.listdir(f"{TREE}/{folder}"))
                     if match)
    names.update(f"fuzz/{name[5:-2]}" for name in os.listdir(f"{TREE}/tests/fuzz") if re.fullmatch(r"fuzz_\w+\.c", name))
    names.update(f"unit/{name[:-2]}" for name in os.listdir(f"{TREE}/tests/unit") if name.endswith(".c"))
    rows = subprocess.run([f"{TREE}/tests/interop/rows.py", "--list"], check=True, capture_output=True, text=True).stdout.split()
    names.update(f"row/{name}" for name in rows)
    names.update(f"hostile/{line.split('::')[0].strip()}" for line in text("tests/kselftest/dm-qcow2/hostile.manifest").splitlines()
                 if "::" in line and not line.startswith("#"))
    names.update(f"crash/{name}" for name in re.search(r'^workloads="(.*)"$', text("tests/crash/test_replay_01.sh"), re.M).group(1).split())
    names.update(f"fault/{name}" for name in re.findall(r"^\t\[([\w-]+)\]=", text("tests/fault/inject.sh"), re.M))
    return names


def main():
    """Run iotests.py; the exit code is 1 if something is missing."""
    names, bad, rows = known(), 0, 0
    with open(sys.argv[1] if len(sys.argv) > 1 else f"{TREE}/tests/interop/iotests.md", encoding="utf-8") as file:
        lines = [line.strip("|\n ").split("|") for line in file if line.startswith("| ")]
    for cells in lines[1:]:
        rows += 1
        number, kind, _, replays = (cell.strip() for cell in cells)
        named = re.findall(r"`([^`]+)`", replays)
        missing = [name for name in named if name not in names]
        if missing or not named or kind not in ("D", "M", "T"):
            print(f"iotests.md: {number}: {' '.join(missing) or 'nothing replays it'}")
            bad = 1
    if not rows:
        print("iotests.md: no rows")
    return bad or not rows


if __name__ == "__main__":
    sys.exit(main())
