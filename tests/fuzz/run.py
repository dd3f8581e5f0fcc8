#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Run the fuzzers and report, as KTAP, what they executed and which lines of the shared core that covered.

run.py [--seconds N] BUILD TARGET...    N for each target, 0 for ever (all at once, until SIGINT)

What is found stays in BUILD/corpus and is where the next run starts; an input that breaks something is in BUILD.
"""

import argparse
import concurrent.futures
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
KERNEL = os.path.realpath(f"{HERE}/../../kernel")
COVERAGE = 90           # per cent of the lines, at least
SLOW = 10               # seconds that one input may take
LENGTH = {"header": 8192, "entry": 1024, "list": 8192, "image": 131072}     # bytes of an input, at most


def tool(name):
    """Return a program of LLVM, of the version that clang has."""
    resource = subprocess.run(["clang", "-print-resource-dir"], check=True, capture_output=True, text=True).stdout.strip()
    beside = os.path.realpath(f"{resource}/../../../bin/{name}")
    return beside if os.path.exists(beside) else shutil.which(name) or sys.exit(f"run.py: there is no {name}")


def fuzz(build, target, seconds):
    """Run one target; return (exit code, what it printed)."""
    folder = f"{build}/corpus/{target}"
    os.makedirs(folder, exist_ok=True)
    command = [f"{build}/fuzz_{target}", f"-max_total_time={seconds}", f"-timeout={SLOW}", "-rss_limit_mb=1024",
               f"-max_len={LENGTH[target]}", "-print_final_stats=1", f"-artifact_prefix={build}/{target}-",
               folder, f"{build}/seeds/{target}"]
    env = {**os.environ, "LLVM_PROFILE_FILE": f"{build}/{target}.profraw", "ASAN_OPTIONS": "detect_leaks=1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          env=env) as process:
        output = process.communicate()[0]
        return process.returncode, output


def coverage(build, targets):
    """Return [(file, lines, covered lines)] of the shared core."""
    profile = f"{build}/all.profdata"
    subprocess.run([tool("llvm-profdata"), "merge", "-sparse", "-o", profile] + [f"{build}/{target}.profraw" for target in targets],
                   check=True)
    objects = [word for target in targets for word in ("-object", f"{build}/fuzz_{target}")][1:]
    files = sorted(glob.glob(f"{KERNEL}/format*.c")) + [f"{KERNEL}/geometry.h"]
    text = subprocess.run([tool("llvm-cov"), "export", "-summary-only", f"-instr-profile={profile}", *objects, *files],
                          check=True, capture_output=True, text=True).stdout
    rows = []
    for entry in json.loads(text)["data"][0]["files"]:
        lines = entry["summary"]["lines"]
        if os.path.realpath(entry["filename"]) in files:
            rows.append((os.path.basename(entry["filename"]), lines["count"], lines["covered"]))
    missing = {os.path.basename(file) for file in files} - {row[0] for row in rows}
    if missing:
        sys.exit(f"run.py: no coverage of {' '.join(sorted(missing))}")
    return rows


def main():
    """Run run.py."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("build")
    parser.add_argument("targets", nargs="+")
    args = parser.parse_args()
    build = os.path.realpath(args.build)
    shutil.rmtree(f"{build}/seeds", ignore_errors=True)
    subprocess.run([f"{HERE}/corpus.py", f"{build}/seeds"], check=True)
    for old in glob.glob(f"{build}/*.profraw"):
        os.unlink(old)
    if not args.seconds:
        signal.signal(signal.SIGINT, lambda *_: None)   # it ends the fuzzers, and then we report
    workers = min(2, os.cpu_count()) if args.seconds else len(args.targets)
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        runs = list(pool.map(lambda target: fuzz(build, target, args.seconds), args.targets))
    for number, (target, (code, output)) in enumerate(zip(args.targets, runs), 1):
        executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
        units = int(executed.group(1)) if executed else 0
        good = units and code in ((0,) if args.seconds else (0, 72, 130))  # 72: libFuzzer was interrupted
        bad += not good
        print(f"{'ok' if good else 'not ok'} {number} - {target}: {units} executions")
        if not good:
            print(f"# exit {code}", *(f"# {line}" for line in output.splitlines()[-60:]), sep="\n")
    number = len(args.targets) + 1
    if bad:
        print(f"not ok {number} - lines: unknown", f"1..{number}", sep="\n")
        return 1
    rows = coverage(build, args.targets)
    for name, lines, covered in rows:
        print(f"# {name}: {covered} of {lines} lines")
    lines, covered = (sum(row[i] for row in rows) for i in (1, 2))
    share = 100 * covered / lines
    bad = share < COVERAGE
    print(f"{'not ok' if bad else 'ok'} {number} - lines: {covered} of {lines} are covered, {share:.1f} per cent",
          f"1..{number}", sep="\n")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
