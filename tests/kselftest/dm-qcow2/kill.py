#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Kill the programs around a device at random moments, and see that the device does not mind.

kill.py QCOW2CTL BUSY WHICH IMAGE ROUNDS

BUSY is attached and in use by others. WHICH comes and goes here, with IMAGE, which has a filesystem without a journal
in its first half.
"""

import os
import random
import signal
import subprocess
import sys
import time

TOOL, BUSY, WHICH, IMAGE = sys.argv[1:5]
ROUNDS = int(sys.argv[5])
DEVICE = f"/dev/mapper/{WHICH}"
MOUNT = "/mnt/killed"
SECONDS = 30        # for a killed program to be gone, and for the device to answer
dice = random.Random(99)

FIO = ["fio", "--thread", "--name=k", f"--filename={DEVICE}", "--ioengine=libaio", "--direct=1", "--iodepth=32", "--rw=randrw",
       "--bsrange=4k-128k", "--blockalign=4k", "--offset=8M", "--size=8M", "--time_based=1", "--runtime=60"]


def run(*words):
    """Run a command that has to succeed in time; return what it prints."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
    if done.returncode:
        sys.exit(f"# {' '.join(words)}: exit {done.returncode}: {done.stdout.decode()}")
    return done.stdout.decode()


def facts(name):
    """Return (suspended, has an inactive table) of a device, or nothing."""
    words = ("dmsetup", "info", "-c", "--noheadings", "--separator", " ", "-o", "suspended,tables_loaded", name)
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=SECONDS, check=False)
    if done.returncode:
        return None
    return done.stdout.decode().strip()


def attach():
    """Attach WHICH as a user would."""
    run(TOOL, "attach", IMAGE, WHICH)


def detach():
    """Remove what there is of WHICH, mounted or not; nothing of it may hold the image any longer."""
    with open("/proc/self/mounts", encoding="ascii") as file:
        mounted = any(line.split()[1] == MOUNT for line in file)
    if mounted:
        run("umount", MOUNT)
    if facts(WHICH):
        run("dmsetup", "remove", "--retry", WHICH)
    run("qemu-img", "check", "-q", IMAGE)


def usable(name):
    """See that a device runs, and do what is left to its user: resume, forget a table."""
    # What qcow2ctl began its guardian ends.
    end = time.monotonic() + SECONDS
    while os.path.exists(f"/run/qcow2ctl/{name}.intent"):
        if time.monotonic() > end:
            sys.exit(f"# {name}: an intent is left")
        time.sleep(0.01)
    found = facts(name)
    if not found:
        sys.exit(f"# {name} is gone")
    if "Inactive" in found or "Both" in found:
        run("dmsetup", "clear", name)
    if "Suspended" in found:
        run("dmsetup", "resume", name)
    # All that the killed program had sent must end.
    run("dmsetup", "suspend", name)
    run("dmsetup", "resume", name)
    status = run("dmsetup", "status", name).split()
    if status[4] != "rw" or "claim=active" not in status:
        sys.exit(f"# {name}: {' '.join(status)}")


def killed(words, first, most=None):
    """Start a program, kill it after a random time; the first one shows how long it takes."""
    start = time.monotonic()
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as program:
        if first and not most:
            if program.wait(SECONDS):
                sys.exit(f"# {' '.join(words)}: {program.stderr.read().decode()}")
            return time.monotonic() - start
        time.sleep(dice.random() * (most or 1))
        program.send_signal(signal.SIGKILL)
        program.wait(SECONDS)
    return most


def rounds(title, words, before=(), after=(), most=None):
    """Kill words so often; before and after are called around each."""
    took = most
    for number in range(ROUNDS + 1):
        for call in before:
            call()
        took = killed(words, number == 0, took)
        for call in after:
            call()
    print(f"# {title}: {ROUNDS} times, within {took:.2f} s", flush=True)


def reload_table():
    """Load the table that is there once more."""
    run("dmsetup", "load", WHICH, "--table", run("dmsetup", "table", WHICH).strip())


def suspend():
    """Suspend WHICH."""
    run("dmsetup", "suspend", WHICH)


def end_monitor(words):
    """Kill a monitor, which does not end by itself."""
    for _ in range(ROUNDS):
        killed(words, False, 0.3)


def main():
    """Kill one after the other."""
    os.makedirs(MOUNT, exist_ok=True)
    busy, which = (lambda: usable(BUSY)), (lambda: usable(WHICH))
    for words in (("list",), ("status", BUSY), ("map", BUSY), ("snapshot", "list", BUSY)):
        rounds(" ".join(words), [TOOL, *words], after=[busy])
    end_monitor([TOOL, "monitor"])
    busy()
    rounds("attach", [TOOL, "attach", IMAGE, WHICH], before=[], after=[detach])
    rounds("detach", [TOOL, "detach", WHICH], before=[detach, attach], after=[detach])
    rounds("dmsetup remove", ["dmsetup", "remove", WHICH], before=[detach, attach], after=[detach])
    attach()
    rounds("fio", FIO, after=[which], most=1.5)
    with subprocess.Popen(FIO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as writer:
        time.sleep(0.5)
        rounds("dmsetup suspend", ["dmsetup", "suspend", WHICH], after=[which])
        rounds("dmsetup resume", ["dmsetup", "resume", WHICH], before=[suspend, reload_table], after=[which])
        rounds("dmsetup load", ["dmsetup", "load", WHICH, "--table", run("dmsetup", "table", WHICH).strip()], after=[which])
        rounds("dmsetup message", ["dmsetup", "message", WHICH, "0", "check"], after=[which])
        writer.send_signal(signal.SIGKILL)
    rounds("mount", ["mount", "-o", "nodelalloc", DEVICE, MOUNT], before=[lambda: (detach(), attach())], after=[detach])
    attach()
    run(*FIO[:6], "--rw=write", "--bs=64k", "--offset=8M", "--size=8M", "--verify=crc32c", "--do_verify=1")
    detach()
    busy()


if __name__ == "__main__":
    main()
