#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Hold bytes of a file until standard input ends: hold.py FILE [rBYTE|wBYTE]... (open file descriptions)."""

import fcntl
import struct
import sys

OFD_SETLK = 37

with open(sys.argv[1], "r+b") as file:
    for word in sys.argv[2:]:
        kind = fcntl.F_WRLCK if word[0] == "w" else fcntl.F_RDLCK
        fcntl.fcntl(file, OFD_SETLK, struct.pack("hhqqixxxx", kind, 0, int(word[1:]), 1, 0))
    print("held", flush=True)
    sys.stdin.read()
