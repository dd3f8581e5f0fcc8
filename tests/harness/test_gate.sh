#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The gate of tests/bench tells more than 3 percent, and not less; what was not measured, and what is short of a target.

set -euo pipefail
cd "$(dirname "$0")/../.."
exec python3 -B - <<'PY'
import copy
import importlib.machinery
import importlib.util
import json
import sys

loader = importlib.machinery.SourceFileLoader("gate", "tests/bench/run")
gate = importlib.util.module_from_spec(importlib.util.spec_from_loader("gate", loader))
loader.exec_module(gate)
with open(gate.BASELINE, encoding="ascii") as file:
    base = json.load(file)


def results(change=None):
    found = copy.deepcopy(base["results"])
    if change:
        change(found)
    return found


def bad(found, same=True):
    return [text for good, text in gate.compare(base, found, same) if not good]


def scaled(row, name, what, factor, more=0):
    def change(found):
        found[row][name][what] = found[row][name][what] * factor + more
    return change


def expect(title, found, rows, same=True):
    verdicts = bad(found, same)
    if len(verdicts) != len(rows) or not all(row in text for row, text in zip(rows, verdicts)):
        sys.exit(f"{title}: {verdicts}")


expect("the baseline itself", results(), [])
for row, names in gate.rows.GATE:
    for name in names:
        expect(f"4 percent, {row} {name}", results(scaled(row, name, "instructions", 1.04)), [row])
        expect(f"2 percent, {row} {name}", results(scaled(row, name, "instructions", 1.02)), [])
        expect(f"switches, {row} {name}", results(scaled(row, name, "switches", 1.5, 0.5)), [row])
        expect(f"nothing, {row} {name}", results(lambda found, row=row, name=name: found[row].pop(name)), [row])
for name in ("linear", "ours-device"):
    slow = results(scaled("read-4k-qd1", name, "instructions", 0.95 if name == "linear" else 1.03))
    if all(good for good, _ in gate.against_targets(slow)):
        sys.exit(f"{name}: no target is missed")


def other_kernel(found):
    for peers in found.values():
        for value in peers.values():
            value["instructions"] *= 1.1


expect("another kernel, all dearer", results(other_kernel), [], False)
slow, quick = results(scaled("discard-64k", "ours", "instructions", 1.05)), results()
if gate.worse(base, slow, True) != [("discard-64k", ("ours",))] or gate.worse(base, quick, True):
    sys.exit("not one row is measured again")
gate.look_again(slow, {"discard-64k": results(scaled("discard-64k", "ours", "instructions", 1.04))["discard-64k"]})
expect("too much, twice", slow, ["discard-64k"])
gate.look_again(slow, {"discard-64k": quick["discard-64k"]})
expect("too much, once", slow, [])
expect("another kernel, ours dearer", results(scaled("read-4k-qd32", "ours", "instructions", 1.04)), ["read-4k-qd32"], False)
PY
