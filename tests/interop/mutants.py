#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Make a plan for image_loop: mutants of the valid images of rows.table, and what QEMU reads from each.

mutants.py FOLDER COUNT [SEED]

A mutant differs from its image in one to three words of metadata, in bytes anywhere, or ends early. QEMU opens
it read-only by itself, with the layers that the row has; what it cannot read, sector by sector, is an error.

Where the target is stricter or more lenient than QEMU, and why, is here and nowhere else: STRICTER, LENIENT, and
the rules in strict_sectors().
"""

import concurrent.futures
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import zlib

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, f"{HERE}/../check"]
import images  # noqa: E402 pylint: disable=import-error,wrong-import-position
import rows    # noqa: E402 pylint: disable=import-error,wrong-import-position

BASES = ("c512", "c4k", "c64k", "v2_512", "v2", "v2_zip", "v2_snapshots", "counts_1", "counts_2", "counts_8", "x16k", "x32k", "x_zip",
         "zip_512", "zip_64k", "zip_shared", "zstd_512", "zstd_4k", "zstd_64k", "snapshots_512", "applied", "sizes", "state",
         "over_4k", "over_long", "over_three", "x_over", "metadata", "x_metadata", "zeros", "neighbours", "bitmaps", "tiny",
         "data_4k", "data_raw", "data_x")
FAILS = (1 << 64) - 1
EITHER = 1 << 62                # the sum, or an error
OPERATIONS = 8
OFFSET = images.OFFSET
COPIED, ZIP = 1 << 63, 1 << 62

# Refused by the target at load, where QEMU goes on until something is used. The words are the kernel's.
STRICTER = (
    "file ends inside the header",                          # QEMU reads zeros behind the end of a file
    "header extension leaves the header area",              # likewise, where the file ends inside the area
    "l1_table_offset lies beyond the end of the image",     # likewise
    "refcount_table_offset lies beyond the end of the image",
    "snapshots_offset lies beyond the end of the image",
    "l1_table_offset leads beyond 2^56",                    # no host offset is that large
    "refcount_table_offset leads beyond 2^56",
    "snapshots_offset leads beyond 2^56",
    "header, l1_table, refcount_table and snapshots overlap",   # QEMU compares when it writes
    "image names a backing file and the table has no layer for it",     # the kernel opens no file by itself
    "data file is shorter than the disk",                   # QEMU reads zeros behind the end of that, too
    "image names no backing file but the table has a layer below",      # QEMU was told to take the layer all the same
    "backing_file_size is above 1023 or leaves the first cluster",      # a name behind the end of a file is zeros for QEMU
)
# Refused by QEMU, where the target does not look: read-only it does no harm, and to write needs "bitmaps drop".
LENIENT = (
    r"[Bb]itmap",                                           # the target reads no bitmaps
    r"snapshot",                                            # nor what a snapshot is called, until there is a view
)


def words(data, at, count):
    """Return words of a table; behind the end of a file are zeros."""
    part = data[at:at + 8 * count]
    return struct.unpack(f">{count}Q", part.ljust(8 * count, b"\0"))


class Mapping:
    """Where the sectors of a mutant lie; it was opened by QEMU, so its header is sound."""

    def __init__(self, data, changes):
        self.data, self.changed = data, [offset for offset, _ in changes if offset != "CUT"]
        header = data[:112].ljust(112, b"\0")       # it may end there, and QEMU goes on
        self.version, self.bits, self.l1_size, self.l1 = (struct.unpack_from(form, header, at)[0] for form, at in
                                                          ((">I", 4), (">I", 20), (">I", 36), (">Q", 40)))
        self.size = 1 << self.bits
        features = struct.unpack_from(">Q", header, 72)[0] if self.version > 2 else 0
        self.extended, self.external = bool(features & 16), bool(features & 4)
        self.end = -(-len(data) // self.size) * self.size
        self.zstd = self.version > 2 and header[104] == 1
        self.per_table = self.size // (16 if self.extended else 8)
        self.metadata = self.fixed(*struct.unpack_from(">QIIQ", header, 48))

    def clusters(self, offset, length):
        """Return the clusters of a range, as far as the file goes."""
        return range(offset >> self.bits, min(-(-(offset + length) >> self.bits), self.end >> self.bits))

    def fixed(self, table, table_clusters, snapshots, at):
        """Return all clusters that hold metadata, those of snapshots too; and what could be metadata."""
        found = {0, *self.clusters(self.l1, 8 * self.l1_size), *self.clusters(table, table_clusters << self.bits)}
        found.update(entry >> self.bits for entry in words(self.data, table, min(table_clusters << self.bits, 1 << 16) // 8) if entry)
        for _ in range(min(snapshots, 1000)):
            entry = self.data[at:at + 40]
            if len(entry) < 40:
                break
            l1, count, id_size, name_size = struct.unpack_from(">QIHH", entry)
            length = 40 + struct.unpack_from(">I", entry, 36)[0] + id_size + name_size
            found.update(self.clusters(at, length))
            if not l1 % self.size and count <= 1 << 22:
                found.update(self.clusters(l1, 8 * count))
            at += (length + 7) & ~7
        inside = max(0, self.end - self.l1) // 8
        found.update((entry & OFFSET) >> self.bits for entry in words(self.data, self.l1, min(self.l1_size, inside)) if entry & OFFSET)
        return found

    def outside(self, first, last):
        """Tell whether a range of bytes is where no data may be."""
        return last >= self.end or any(cluster in self.metadata for cluster in range(first >> self.bits, (last >> self.bits) + 1))

    def inflates(self, first):
        """Tell whether a stream is whole before the end of the file; QEMU goes on with zeros there, and may find bytes."""
        if self.zstd:
            return False
        try:
            return len(zlib.decompressobj(-15).decompress(self.data[first:].ljust(self.end - first, b"\0"), self.size)) == self.size
        except zlib.error:
            return False

    def strict_cluster(self, l1_entry, index):
        """Tell whether the target refuses a guest cluster that QEMU may read."""
        table = l1_entry & OFFSET
        if not table:
            return bool(l1_entry & COPIED)      # a table of our own, and none: QEMU's writes end by abort()
        if table >= self.end:
            return True                         # behind the end of the file QEMU reads zeros
        width = 16 if self.extended else 8
        entry = words(self.data, table + index * width, 1)[0]
        if entry & ZIP:
            shift = 62 - (self.bits - 8)
            first = entry & (1 << shift) - 1
            last = (first & ~511) + (((entry & ZIP - 1) >> shift) + 1) * 512 - 1
            # On most processors libzstd does not look whether the bits of a block are all used up; the kernel's does.
            if self.zstd and any(first <= offset <= last for offset in self.changed):
                return True
            # COPIED says that nobody shares the cluster, and others may lie in it.
            return (bool(entry & COPIED) or first >= self.end or self.outside(first, min(last, self.end - 1)) or
                    last >= 1 << 56 or (last >= self.end and not self.inflates(first)))
        place = entry & OFFSET      # in a data file it is where the guest's is, for both
        return not self.external and bool(place) and self.outside(place, place)

    def strict_sectors(self, sectors):
        """Return the sectors that the target may refuse: these rules say all the reasons."""
        found, step = set(), self.size // 512
        for cluster in range(-(-sectors // step)):
            index = cluster // self.per_table
            entry = words(self.data, self.l1 + 8 * index, 1)[0] if index < self.l1_size else 0
            if self.strict_cluster(entry, cluster % self.per_table):
                found.update(range(cluster * step, min((cluster + 1) * step, sectors)))
        return found


class Mutator:
    """Changes of one image."""

    def __init__(self, path):
        self.metadata = images.Metadata(path)
        self.data = bytes(self.metadata.data)
        self.areas = self.metadata.areas()

    def word(self, chance, offset):
        """Return another word in the place of one."""
        old, size = self.metadata.word(offset), self.metadata.cluster
        others = self.areas[chance.choice(list(self.areas))]
        return chance.choice((
            lambda: old ^ 1 << chance.randrange(64),
            lambda: old ^ 1 << chance.choice((0, 62, 63)),
            lambda: old + chance.choice((-1, 1)) * chance.choice((1, 8, 512, size)) & FAILS,
            lambda: chance.choice((0, 1, COPIED, FAILS, size, 1 << 56, ZIP | size)),
            lambda: self.metadata.word(chance.choice(others)),
            lambda: chance.choice(others) // size * size | COPIED,
            lambda: len(self.data) // size * size + chance.choice((0, 1, -1)) * size | COPIED,
            lambda: old & 0xFFFFFFFF | chance.getrandbits(32) << 32,
        ))() & FAILS

    def changes(self, chance):
        """Return what makes a mutant: [(offset, bytes)], or where it ends."""
        if chance.random() < 0.06:
            return [("CUT", chance.randrange(len(self.data)) // chance.choice((1, 512)) * 1)]
        found = []
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            if chance.random() < 0.15:
                found.append((chance.randrange(len(self.data)), bytes((chance.randrange(256),))))
                continue
            # Each kind of metadata as often as the others.
            offset = chance.choice(self.areas[chance.choice(list(self.areas))])
            found.append((offset, self.word(chance, offset).to_bytes(8, "big")))
        return found

    def apply(self, changes):
        """Return the bytes of a mutant."""
        data = bytearray(self.data)
        for offset, what in changes:
            if offset == "CUT":
                del data[what:]
            else:
                data[offset:offset + len(what)] = what[:max(0, len(data) - offset)]
        return bytes(data)


def layers(row, rows_by_name, folder, path=None):
    """Return what QEMU opens, and no file beside."""
    spec = {"driver": "qcow2", "file": {"driver": "file", "filename": path or f"{folder}/{row.name}"}}
    if "data_file" in row.words:
        spec["data-file"] = {"driver": "file", "filename": f"{folder}/{row.name}.data"}
    spec["backing"] = layers(rows_by_name[row.below], rows_by_name, folder) if row.below else None
    return spec


def read(spec, sectors, raw):
    """Return (what QEMU reads, the sectors that it cannot read, why it does not open)."""
    spec = "json:" + json.dumps({"driver": "raw", "size": sectors * 512, "file": spec})
    try:
        done = subprocess.run(["qemu-img", "convert", "--salvage", "-O", "raw", spec, raw], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return None, set(), "it takes too long"
    said = done.stderr.decode(errors="replace")
    if done.returncode:
        return None, set(), said
    with open(raw, "rb") as file:
        data = file.read()
    return data, {int(at) // 512 for at in re.findall(r"error while reading offset (\d+)", said)}, None


def has_uncounted(spec):
    """Tell whether a cluster that is in use has the count 0."""
    done = subprocess.run(["qemu-img", "check", "json:" + json.dumps(dict(spec, backing=None))], capture_output=True,
                          timeout=30, check=False)
    return bool(re.search(rb"refcount=0 reference=[1-9]", done.stdout + done.stderr))


def mutant(number, seed, mutators, chosen, folder):
    """Return the line of the plan and the sums of one mutant."""
    chance = random.Random(seed * 1000003 + number)
    names = list(mutators)
    row = chosen[names[number % len(names)]]
    mutator = mutators[row.name]
    while True:
        changes = mutator.changes(chance)
        data = mutator.apply(changes)
        size = int.from_bytes(data[24:32], "big")
        sectors = min(row.size, size) // 512
        if sectors and data != mutator.data:
            break
    path = f"{folder}/mutant-{number}"
    with open(path, "wb") as file:
        file.write(data)
    spec = layers(row, chosen, folder, path)
    content, failing, refusal = read(spec, sectors, f"{path}.raw")
    if refusal is not None:
        verdict = "either" if any(re.search(text, refusal) for text in LENIENT) or "too long" in refusal else "fails"
        sums = [FAILS if verdict == "fails" else EITHER | EITHER - 1] * sectors
    else:
        verdict = "opens-uncounted" if has_uncounted(spec) else "opens"
        strict = Mapping(data, changes).strict_sectors(sectors)
        sums = [FAILS if at in failing else one | (EITHER if at in strict else 0) for at, one in enumerate(rows.sums(content))]
    for name in (path, f"{path}.raw"):
        if os.path.exists(name):
            os.unlink(name)
    text = ",".join(f"{offset}:{what.hex() if isinstance(what, bytes) else what}" for offset, what in changes)
    table = row.table(chosen).replace(f"{rows.PLACE}/{row.name} ", f"{rows.PLACE}/mutant ", 1)
    table = re.sub(rf"{rows.PLACE}/{row.name}(\.data)?$", rf"{rows.PLACE}/mutant\1", table, count=1)
    return f"mutant {row.name}-{number} {sectors} {seed + number} {OPERATIONS} {row.name} {text} {verdict} {table}", rows.packed(sums)


def main():
    """Run mutants.py."""
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    folder, count = os.path.realpath(sys.argv[1]), int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    every, chosen = rows.load(), {}
    for name in BASES[:count]:
        while name in every:
            chosen[name] = every[name]
            name = every[name].below
    chosen = {name: row for name, row in every.items() if name in chosen}
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    rows.make_all(folder, chosen)
    mutators = {name: Mutator(f"{folder}/{name}") for name in BASES[:count]}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(lambda number: mutant(number, seed, mutators, chosen, folder), range(count)))
    with open(f"{folder}/plan", "w", encoding="ascii") as plan, open(f"{folder}/sums", "wb") as file:
        for number, sentence in enumerate(STRICTER):
            print("allow", number, sentence, file=plan)
        for line, sums in made:
            print(line, file=plan)
            file.write(sums)


if __name__ == "__main__":
    main()
