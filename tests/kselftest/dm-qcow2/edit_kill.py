#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Kill qcow2ctl at random moments of an edit, and see how long the device takes to run again.

edit_kill.py DEVICE-NUMBER NAME ROUNDS SECONDS COMMAND...    %d in COMMAND is the round
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
            time.sleep(0.001)
            pause = time.monotonic() - start
        time.sleep(0.001)
    return pause


def main():
    """Run, return the number of what went wrong."""
    number, name, rounds, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    dice = random.Random(4711)
    intent = f"/run/qcow2ctl/{name}.intent"
    hits, worst, whole, pause = 0, 0.0, 0.0, 0.0
    for nr in range(rounds):
        command = [word.replace("%d", str(nr)) for word in sys.argv[5:]]
        start = time.monotonic()
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as tool:
            # The first is not disturbed; of the others, every second is met while the device is suspended.
            if not nr:
                pause = undisturbed(tool, number)
            while nr % 2 and tool.poll() is None and not is_suspended(number):
                time.sleep(0.001)
            if nr:
                time.sleep(dice.random() * (pause / 2 if nr % 2 else whole))
                hits += is_suspended(number)
                tool.send_signal(signal.SIGKILL)
            if tool.wait() and not nr:
                print("# the undisturbed edit fails")
                return 1
        whole = whole or time.monotonic() - start
        start = time.monotonic()
        while is_suspended(number) or os.path.exists(intent):
            if time.monotonic() - start > seconds:
                print(f"# round {nr}: after {seconds} s: suspended {is_suspended(number)}, intent {os.path.exists(intent)}")
                return 1
            time.sleep(0.005)
        worst = max(worst, time.monotonic() - start)
    print(f"# {hits} of {rounds} killed while it was suspended; ran again after {worst:.2f} s at most")
    return 0 if hits * 3 >= rounds else 1


if __name__ == "__main__":
    sys.exit(main())
