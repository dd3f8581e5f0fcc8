# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Random cases, one for each seed, in two processes and in KTAP."""

import multiprocessing


def run(one, seeds, **options):
    """Call one(seed), which returns (seed, name, what is wrong or ""); return an exit code."""
    failed = number = 0
    print("KTAP version 1")
    with multiprocessing.Pool(2, **options) as pool:
        for seed, name, wrong in pool.imap(one, seeds, chunksize=1):
            number += 1
            failed += bool(wrong)
            print(f"{'not ok' if wrong else 'ok'} {number} seed {seed}: {name}", flush=True)
            for line in wrong.splitlines():
                print(f"# {line[:1500]}")
    print(f"1..{number}")
    return 1 if failed or not number else 0
