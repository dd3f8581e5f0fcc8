#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Make the images of rows.table, and the plan by which image_loop goes through them in a machine.

rows.py make FOLDER [WORD]...   images, plan and sums of all rows, or of those with a WORD in the name
rows.py judge FOLDER [WORD]...  the same folder when it has come back: what QEMU finds, as KTAP
rows.py --list                  the names of the rows

In the machine the folder is at PLACE. Sums are one number a sector, see sums().
"""

import concurrent.futures
import os
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
PLACE = "/mnt/qcow2"
PRIME = (1 << 61) - 1           # what a sector is taken modulo, as a number
OPERATIONS = 60
UNITS = {"k": 1 << 10, "M": 1 << 20}


class Failed(Exception):
    """A program of QEMU did not do what it should."""


def number(text):
    """Return the bytes of 300k or 1M."""
    return int(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else int(text)


def run(*words, cwd=None):
    """Run a program of QEMU that has to succeed; return what it says."""
    done = subprocess.run(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode or (words[0] == "qemu-io" and ("failed" in done.stdout or "error" in done.stdout.lower())):
        raise Failed(f"{' '.join(words)}: {done.stdout}")
    return done.stdout


def sums(data):
    """Return the sums of all sectors of bytes: image_loop.c has the same."""
    return [int.from_bytes(data[at:at + 512], "little") % PRIME for at in range(0, len(data), 512)]


def packed(numbers):
    """Return sums as bytes."""
    return struct.pack(f"<{len(numbers)}Q", *numbers)


class Row:
    """One line of the table."""

    def __init__(self, line):
        parts = [part.strip() for part in line.split("::")]
        if len(parts) != 6:
            raise ValueError(f"not six columns: {line}")
        self.name, size, self.options, self.below, steps, words = parts
        self.size = number(size)
        self.steps = [step.strip() for step in steps.split(";") if step.strip()]
        self.words = words.split()
        self.base = self.name.startswith("b_")
        self.writable = "readonly" not in self.words
        sizes = [word[13:] for word in self.options.split(",") if word.startswith("cluster_size=")]
        self.cluster = number(sizes[0]) if sizes else 65536

    def expand(self, step):
        """Return the steps that a step stands for."""
        def part(hundredths, unit=512):
            return self.size * hundredths // 100 // unit * unit

        steps = {
            "@usual": [f"write -P 17 0 {part(30)}", f"write -P 18 {part(50) + 512} {part(20)}", f"write -z {part(10)} {part(6)}",
                       f"write -z -u {part(60)} {part(8)}", f"discard {part(20)} {part(7)}",
                       f"write -P 19 {self.size - 1536} 1536", f"write -P 20 {part(85) + 1024} 512", f"write -P 0 {part(75)} 2048"],
            "@more": [f"write -P 33 {part(5)} {part(10)}", f"write -z {part(55)} {part(4)}", f"discard {part(62)} {part(5)}",
                      f"write -P 34 {part(88)} 4096"],
            # Of a part, all the clusters that compress, and what lies over them.
            "@zip": [f"write -c -s {{T}} 0 {part(40, self.cluster)}", f"write -c -P 21 {part(50, self.cluster)} {self.cluster}",
                     f"write -P 22 {part(15)} 3072", f"discard {part(25)} {part(8)}", f"write -z {part(35)} 1024",
                     f"write -P 23 {part(70)} {part(10)}"],
        }
        return steps.get(step, [step])

    def make(self, folder):
        """Make the image."""
        path = f"{folder}/{self.name}"
        below = []
        if self.below.startswith("raw:"):
            with open(f"{path}.raw", "wb") as file:
                file.write((b"raw " * (int(self.below[4:]) // 4 + 1))[:int(self.below[4:])])
            below = ["-b", f"{self.name}.raw", "-F", "raw"]
        elif self.below:
            below = ["-b", self.below, "-F", "qcow2"]
        options = self.options.split(",") if self.options else []
        options = [f"data_file={self.name}.data" if option == "data_file" else option for option in options]
        run("qemu-img", "create", "-q", "-f", "qcow2", *(["-o", ",".join(options)] if options else []), *below, self.name,
            str(self.size), cwd=folder)
        commands = []
        for step in [one for step in self.steps for one in self.expand(step)]:
            step = step.format(C=self.cluster, S=self.size, T="text")
            if step.split()[0] in ("write", "discard"):
                commands += ["-c", step]
                continue
            self.write(commands, folder)
            commands = []
            self.edit(step.split(), folder)
        self.write(commands, folder)

    def write(self, commands, folder):
        """Let qemu-io do some commands."""
        if commands:
            run("qemu-io", "-f", "qcow2", *commands, self.name, cwd=folder)

    def edit(self, words, folder):
        """Do another step."""
        if words[0] in ("snapshot", "apply"):
            run("qemu-img", "snapshot", "-c" if words[0] == "snapshot" else "-a", words[1], self.name, cwd=folder)
        elif words[0] == "resize":
            run("qemu-img", "resize", "-q", "--shrink", self.name, words[1], cwd=folder)
            self.size = number(words[1])
        elif words[0] == "bitmap":
            run("qemu-img", "bitmap", "--add", self.name, words[1], cwd=folder)
        elif words[0] == "poke":
            with open(f"{folder}/{self.name}", "r+b") as file:
                file.seek(int(words[1]))
                file.write(bytes.fromhex(words[2]))
        else:
            raise ValueError(words)

    def table(self, rows):
        """Return the words of the table, as the machine sees the files."""
        layers, row = [], self
        while row:
            layers += ["qcow2", f"{PLACE}/{row.name}"]
            if row.below.startswith("raw:"):
                layers += ["raw", f"{PLACE}/{row.name}.raw"]
            row = rows.get(row.below)
        words = []
        for word in self.words:
            words += [word, f"{PLACE}/{self.name}.data"] if word == "data_file" else [word] if word != "readonly" else []
        return " ".join([str(len(layers) // 2), *layers, *([str(len(words)), *words] if words else [])])


def load(wanted=()):
    """Return {name: row} of those that have one of the words in the name, and of what lies below."""
    with open(f"{HERE}/rows.table", encoding="ascii") as file:
        rows = [Row(line) for line in file if line.strip() and not line.startswith("#")]
    return {row.name: row for row in rows if row.base or not wanted or any(word in row.name for word in wanted)}


def content(folder, row):
    """Return what an image shows, or its snapshot where the row is a view."""
    raw = f"{folder}/{row.name}.content"
    view = ["-l", row.words[row.words.index("snapshot") + 1]] if "snapshot" in row.words else []
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", *view, row.name, raw, cwd=folder)
    with open(raw, "rb") as file:
        data = file.read()
    os.unlink(raw)
    return data


def make_all(folder, rows):
    """Make the images of rows, the lower ones first."""
    with open(f"{folder}/text", "wb") as file:
        file.write(b"".join(b"%d, " % (number * number) for number in range(400000)))
    for row in rows.values():
        if row.base:
            row.make(folder)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda row: row.make(folder), [row for row in rows.values() if not row.base]))
    os.unlink(f"{folder}/text")


def make(folder, wanted):
    """Make images, plan and sums."""
    rows = load(wanted)
    make_all(folder, rows)
    operations = OPERATIONS * (20 if os.environ.get("QCOW2_FULL") else 1)
    with open(f"{folder}/plan", "w", encoding="ascii") as plan, open(f"{folder}/sums", "wb") as file:
        for seed, row in enumerate(row for row in rows.values() if not row.base):
            data = content(folder, row)
            file.write(packed(sums(data)))
            print("row", row.name, len(data) // 512, seed + 1, operations if row.writable else 0, row.table(rows), file=plan)


def judge_one(folder, row, after):
    """Return what is wrong with a row that came back."""
    try:
        data = content(folder, row)
        differ = [at for at, (one, other) in enumerate(zip(sums(data), after)) if one != other]
        if len(data) // 512 != len(after):
            return f"{len(data) // 512} sectors, not {len(after)}"
        if differ:
            return f"{len(differ)} sectors differ from the model, the first is {differ[0]}"
        if row.writable:
            done = subprocess.run(["qemu-img", "check", "-f", "qcow2", row.name], cwd=folder, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, check=False)
            # Bitmaps that were given up are leaked clusters from then on.
            if done.returncode and (done.returncode, "bitmaps" in row.words) != (3, True):
                return f"qemu-img check {done.returncode}: " + " | ".join(done.stdout.split("\n")[:5])
    except Failed as problem:
        return str(problem).replace("\n", " | ")
    return None


def judge(folder, wanted):
    """Compare what came back with what the machine knew in the end."""
    rows, jobs, at = load(wanted), [], 0
    with open(f"{folder}/after", "rb") as file:
        sums_after = file.read()
    with open(f"{folder}/plan", encoding="ascii") as plan:
        for line in plan:
            _, name, sectors = line.split()[:3]
            jobs.append((rows[name], struct.unpack_from(f"<{sectors}Q", sums_after, at)))
            at += 8 * int(sectors)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda job: judge_one(folder, *job), jobs))
    for (row, _), problem in zip(jobs, found):
        print(row.name, "good" if problem is None else problem)


def main():
    """Run rows.py."""
    if sys.argv[1:] == ["--list"]:
        print(*(row.name for row in load().values() if not row.base), sep="\n")
    elif len(sys.argv) > 2 and sys.argv[1] in ("make", "judge"):
        {"make": make, "judge": judge}[sys.argv[1]](os.path.realpath(sys.argv[2]), sys.argv[3:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
