#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Look whether all that tests/interop/iotests.md names exists, and whether it has what it must: iotests.py [FILE]."""

import os
import re
import subprocess
import sys

# QEMU's tests of what its driver does with guest data and with malformed images. None of them may be without a test of ours.
DRIVER = """009 010 011 013 014 015 017 018 019 022 023 026 027 028 029 033 034 035 037 038 039 042 044 046 047 054 066 073 077 079 090
102 103 105 107 115 121 125 133 134 137 154 158 177 179 187 188 189 190 196 198 204 209 220 223 244 263 265 268 270 271 272 284 287
289 290 305 313 qcow2-encryption write-zeroes-unmap qemu-img-close-errors""".split()
MALFORMED = "036 060 061 080 138 214 242 261".split()
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
    names.update(f"crash/{name}" for name in re.search(r"^every=\(([^)]*)\)$", text("tests/crash/test_replay_01.sh"), re.M).group(1).split())
    names.update(f"fault/{name}" for name in re.findall(r"^\t\[([\w-]+)\]=", text("tests/fault/inject.sh"), re.M))
    return names


def main():
    """Run iotests.py; the exit code is 1 if something is missing."""
    names, bad = known(), 0
    found = {"D": set(), "M": set(), "T": set()}
    with open(sys.argv[1] if len(sys.argv) > 1 else f"{TREE}/tests/interop/iotests.md", encoding="utf-8") as file:
        lines = [line.strip("|\n ").split("|") for line in file if line.startswith("| ")]
    for cells in lines[1:]:
        number, kind, _, replays = (cell.strip() for cell in cells)
        named = re.findall(r"`([^`]+)`", replays)
        missing = [name for name in named if name not in names]
        if missing or not named or kind not in found:
            print(f"iotests.md: {number}: {' '.join(missing) or 'nothing replays it'}")
            bad = 1
        found.get(kind, set()).add(number)
    for kind, wanted in (("D", DRIVER), ("M", MALFORMED)):
        for number in sorted(set(wanted) - found[kind]):
            print(f"iotests.md: {number}: not there as {kind}")
            bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())
