# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""How a machine has ended: by its script's exit code, by its log, and by what it left of both."""

import os
import shutil
import sys

import scan

STARTED = "vm-run: script starts"       # what init says


def read(path):
    """Return the text of a file, empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def tell(args, temp):
    """Say what went wrong and return the exit code."""
    def complain(text):
        sys.stdout.flush()
        print(f"vm-run: {text}", file=sys.stderr)

    console, rc = read(f"{temp}/console"), read(f"{temp}/ctl/rc").strip()
    log = read(f"{temp}/ctl/dmesg") or console
    if args.log:
        # Of a shutdown only the console has all.
        whole = os.path.exists(f"{temp}/ctl/dmesg") and not args.systemd
        shutil.copyfile(f"{temp}/ctl/dmesg" if whole else f"{temp}/console", args.log)
    bad = scan.bad_lines(log + "\n" + console, args.allow)
    bad = list(dict.fromkeys(bad))
    tail = "\n".join(log.splitlines()[-60:])
    if args.verbose:
        print(log, file=sys.stderr)
    for line in bad:
        complain(f"kernel log: {line}")
    if args.initrd:
        print(console)
        return 125 if args.status else 126 if bad else 0
    if not rc:
        what = "the machine died while the script ran" if STARTED in console else "the machine did not get to the script"
        complain(f"{what} (QEMU exit {args.status}); the end of its console:\n{tail}")
        return 125
    if rc == "124" and "vm-run: time is over" in log:
        complain(f"the script took longer than {args.timeout} s; the end of the log:\n" + tail)
        return 124
    if bad and rc == "0":
        complain("the script ended with 0, but the log has lines that no test may cause:\n" + tail)
        return 126
    if 124 <= int(rc) <= 127:
        complain(f"script rc={rc}")
    return int(rc)


def keep(args, temp, folder):
    """Keep in a folder what the console of a machine said that failed: the last one of each name."""
    kernel, script = os.path.basename(args.kernel), os.path.basename(args.script[0]) if args.script else "line"
    os.makedirs(folder, exist_ok=True)
    path = f"{folder}/{kernel}-{script.removesuffix('.sh')}.log"
    shutil.copyfile(f"{temp}/console", path)
    print(f"vm-run: the console's log is {os.path.relpath(path)}", file=sys.stderr)
