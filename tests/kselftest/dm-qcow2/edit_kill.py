#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Kill qcow2ctl at random moments of an edit, and see how long the device takes to run again.

edit_kill.py DEVICE-NUMBER NAME ROUNDS SECONDS COMMAND...    %d in COMMAND is the round

Every second round waits until the device is suspended. There are more rounds than asked for until a third of those
met it so.
"""

import os
import random
import signal
import subprocess
import sys
import time


def is_suspended(number):
    """Say whether the device is suspended now."""
    with open(f"/sys/dev/block/{number}/dm/suspended", encoding="ascii") as file:
        return file.read().strip() == "1"


def undisturbed(tool, number):
    """Return the seconds for which the device is suspended, once the tool has ended."""
    pause = 0.0
    while tool.poll() is None:
        start = time.monotonic()
        while is_suspended(number):
            time.sleep(0.002)
            pause = time.monotonic() - start
        time.sleep(0.002)
    return pause


def disturb(tool, number, while_suspended, delay):
    """Kill the tool after so many seconds, from its start or from its suspend; return whether it was suspended then."""
    while while_suspended and tool.poll() is None and not is_suspended(number):
        time.sleep(0.002)
    time.sleep(delay)
    met = is_suspended(number)
    tool.send_signal(signal.SIGKILL)
    return met


def recovered(number, intent, seconds):
    """Return after how many seconds the device ran again, or None if it did not in time."""
    start = time.monotonic()
    while is_suspended(number) or os.path.exists(intent):
        if time.monotonic() - start > seconds:
            return None
        time.sleep(0.02)
    return time.monotonic() - start


def main():
    """Run, return the number of what went wrong."""
    number, name, rounds, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    dice = random.Random(4711)
    intent = f"/run/qcow2ctl/{name}.intent"
    hits, nr, worst, whole, window = 0, 0, 0.0, 0.0, 0.0
    while nr < rounds or (hits * 3 < rounds and nr < 4 * rounds):
        command = [word.replace("%d", str(nr)) for word in sys.argv[5:]]
        start = time.monotonic()
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as tool:
            if not nr:
                window = undisturbed(tool, number) / 2
            else:
                met = disturb(tool, number, nr % 2, dice.random() * (window if nr % 2 else whole))
                hits += met
                # Its length depends on what else the machine has to do.
                window /= 2 if nr % 2 and not met else 1
            if tool.wait() and not nr:
                print("# the undisturbed edit fails")
                return 1
        whole = whole or time.monotonic() - start
        took = recovered(number, intent, seconds)
        if took is None:
            print(f"# round {nr}: after {seconds} s: suspended {is_suspended(number)}, intent {os.path.exists(intent)}")
            return 1
        worst = max(worst, took)
        nr += 1
    print(f"# {hits} of {nr} killed while it was suspended; ran again after {worst:.2f} s at most")
    return 0 if hits * 3 >= rounds else 1


if __name__ == "__main__":
    sys.exit(main())
