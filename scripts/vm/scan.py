# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Find the lines of a kernel log that no test may cause."""

import re

BAD = re.compile("|".join((
    r"\bWARNING: ", r"\bBUG\b", r"\bOops\b", r"Kernel panic", r"general protection fault",
    r"[Uu]nable to handle", r"invalid opcode", r"divide error", r"stack segment", r"double fault",
    r"KASAN", r"KCSAN: ", r"KFENCE", r"UBSAN: ", r"ODEBUG: ", r"refcount_t: ",
    r"kmemleak: \d+ new suspected", r"unreferenced object", r"[Uu]se-after-free",
    r"list_(add|del)", r"corrupted list", r"bad page", r"Bad page", r"still has objects", r"Objects remaining",
    r"possible circular locking", r"possible recursive locking", r"possible irq lock",
    r"inconsistent lock state", r"inconsistent \{", r"suspicious RCU usage", r"held lock freed",
    r"bad unlock balance", r"lock held when returning", r"still holding locks", r"DEBUG_LOCKS_WARN_ON",
    r"scheduling while atomic", r"sleeping function called from invalid", r"Voluntary context switch within RCU",
    r"blocked for more than \d+ seconds", r"rcu.*stall", r"soft lockup", r"hard LOCKUP",
)))

# Lines that match by their words only.
HARMLESS = re.compile("|".join((
    r"kmemleak: Kernel memory leak detector initialized", r"kfence: initialized",
    r"KASAN init", r"KernelAddressSanitizer initialized", r"RCU CPU stall warnings timeout",
    r"RCU callback double-/use-after-free debug is enabled",
    r"vm-run: ", r"Command line: ", r"Kernel command line: ",
)))


# A report of a data race lies between two such lines. The kernel has races of its own that nobody minds.
RULE = re.compile(r"={60,}$")
OURS = "[dm_qcow2]"
# A task that waits at a watchpoint for its own flags is rescheduled, and the scheduler clears its PF_BLOCK_TS
# (0x20000000): no other task writes these flags.
OWN_FLAGS = re.compile(r"value changed: 0x2([0-9a-f]{7}) -> 0x0\1$")


def is_foreign(report):
    """Tell whether the lines of a report of a data race say that our module has no part in it."""
    if not any(OURS in line for line in report):
        return True
    unknown = any(re.search(r"race at unknown origin, with (?:read|write) to 0x[0-9a-f]+ of 4 bytes", line) for line in report)
    return unknown and any(OWN_FLAGS.search(line) for line in report)


def without_foreign_races(lines):
    """Return the lines without the reports of data races in which our module has no part."""
    kept, report = [], None
    for line in lines:
        if report is None:
            kept.append(line)
            if RULE.search(line):
                report = []
        else:
            report.append(line)
            if RULE.search(line):
                if not re.search(r"BUG: KCSAN: ", report[0]) or not is_foreign(report):
                    kept += report
                report = None
    return kept + (report or [])


def bad_lines(text, allow=()):
    """Return the lines of text that no test may cause, but those matching a pattern of allow."""
    allowed = [re.compile(pattern) for pattern in allow]
    return [line for line in without_foreign_races(text.splitlines())
            if BAD.search(line) and not HARMLESS.search(line)
            and not any(pattern.search(line) for pattern in allowed)]
