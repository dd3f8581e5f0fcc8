#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The small scripts do nothing when nothing is to be done, and complain when something is wrong.

set -u
cd "$(dirname "$0")/../.." || exit 1
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
failed=0
complain() { echo "$*"; failed=1; }

# A machine that has everything is not changed: apt-get would end the run.
mkdir "$temp/bin"
printf '#!/bin/sh\necho "apt-get was called" >&2\nexit 1\n' >"$temp/bin/apt-get"
chmod +x "$temp/bin/apt-get"
PATH="$temp/bin:$PATH" scripts/setup build vm test kernels || complain "setup: does something on a second run"
scripts/setup moon 2>/dev/null && complain "setup: takes an unknown group"

# The seeded faults fit the sources of today.
for fault in tests/mutants/*.patch; do
	patch --dry-run -s -p0 -i "$fault" >"$temp/out" 2>&1 || complain "$fault: $(cat "$temp/out")"
done

# What the list of QEMU's own tests says of ours is so; and one that says nothing, or of none, is found out.
tests/harness/iotests.py >"$temp/out" || complain "$(cat "$temp/out")"
# shellcheck disable=SC2016
for row in '| 007 | T | many | `edit/differ_99` |' '| 009 | D | few | by nothing |'; do
	{ cat tests/interop/iotests.md; echo "$row"; } >"$temp/list"
	tests/harness/iotests.py "$temp/list" >"$temp/out"
	grep -q "^iotests.md: 00[79]: " "$temp/out" || complain "iotests.py: nothing is wrong with: $row"
done
grep -v '^| 268 ' tests/interop/iotests.md >"$temp/list"
tests/harness/iotests.py "$temp/list" >"$temp/out"
grep -q "^iotests.md: 268: " "$temp/out" || complain "iotests.py: nothing is wrong without 268"

# A trap that does something before cleanup hands on how the test ended: or one that dies passes.
grep -n "; cleanup' EXIT" tests/kselftest/dm-qcow2/*.sh && complain "a trap loses the exit code"

# What a test that passes has measured beside another program is shown, and nothing else of it.
mkdir -p "$temp/run/tests/speed"
cp -r scripts "$temp/run/"
cp tests/run tests/places.py tests/suite.py tests/machines.py "$temp/run/tests/"
printf '#!/bin/sh\necho "# ours 3 ms, theirs 4 ms, ratio 75 %%"\necho "# 5 rations"\n' >"$temp/run/tests/speed/test_good_01.sh"
chmod +x "$temp/run/tests/speed/test_good_01.sh"
"$temp/run/tests/run" speed good >"$temp/out" || complain "run: $(cat "$temp/out")"
[ "$(grep -cE "^passed +speed good_01|^ +\| # ours 3 ms, theirs 4 ms, ratio 75 %$" "$temp/out")" = 2 ] ||
	complain "run: shows no ratio: $(cat "$temp/out")"
grep -q rations "$temp/out" && complain "run: shows all that a test says"

# Each rule of style, alone.
mkdir -p "$temp/tree/kernel"
cp -r scripts "$temp/tree/"
head=$'// SPDX-License-Identifier: GPL-2.0\n/* Copyright (C) 2026 The dm-qcow2 authors */'
style() {
	local name=$1 want=$2 text=$3
	printf '%s\n' "$text" >"$temp/tree/$name"
	if [ -z "$want" ]; then
		"$temp/tree/scripts/style" "$name" >"$temp/out" 2>&1 || complain "style: refuses a good file: $(cat "$temp/out")"
	elif "$temp/tree/scripts/style" "$name" >"$temp/out" 2>&1 || ! grep -q -- "$want" "$temp/out"; then
		complain "style: does not say '$want' of $name: $(cat "$temp/out")"
	fi
	rm "$temp/tree/$name"
}
style kernel/good.c "" "$head"$'\nint good;'
style kernel/bug.c "neither stops" "$head"$'\nvoid f(int x)\n{\n\tBUG_ON(x);\n}'
style kernel/form.c "ERROR" "$head"$'\nint f(void)\n{\n\tif(1){ return 0; }\n}'
mkdir -p "$temp/tree/userspace"
style userspace/extern.c "externs should be avoided" "$head"$'\nint edit_commit(int fd);\nint good(void)\n{\n\treturn edit_commit(1);\n}'
style kernel/head.c "no copyright" $'// SPDX-License-Identifier: GPL-2.0\nint x;'
style kernel/utils.c "says nothing" "$head"$'\nint x;'
style kernel/long.c "longer than 600" "$head"$'\n'"$(yes 'int x;' | head -n 601)"
style kernel/func.c "a function of" "$head"$'\nvoid f(void)\n{\n'"$(yes $'\tg();' | head -n 90)"$'\n}'
style blank.md "blanks at the end" 'text '
style quote.sh "SC2086" $'#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0\n# Copyright (C) 2026 The dm-qcow2 authors\nrm $1'

# A suite that needs more than its share has failed, so has one that runs nothing, and a skip without a reason; the last line has the sums.
python3 - <<'EOF' >"$temp/out" 2>&1 || complain "tests/run: $(cat "$temp/out")"
import contextlib, importlib.machinery, importlib.util, io, sys
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("run", "tests/run")
run = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
loader.exec_module(run)
spin = "python3 -c 'while __import__(\"time\").process_time() < 0.5: pass'"
run.FULL, sys.argv = False, ["run"]
run.SUITES = (("slow", 0.01, lambda suite: run.commands(suite, ("spin", spin))),
              ("fine", 60, lambda suite: run.commands(suite, ("good", "true"))),
              ("skips", 60, lambda suite: run.ktap(suite, "skips", r"printf '1..2\nok 1 moon # SKIP this kernel has no moon\nok 2 sun # SKIP\n'")),
              ("empty", 60, lambda suite: None))
with contextlib.redirect_stdout(io.StringIO()) as said:
    code = run.main()
lines = said.getvalue().splitlines()
print(said.getvalue())
assert code == 1 and lines[-1] == "2 passed, 3 failed, 1 skipped", lines[-1]
for words in ("passed  slow spin", "failed  slow time", "passed  fine good", "skipped skips moon : this kernel has no moon",
              "failed  skips sun a skip without a reason", "failed  empty nothing", "s of 60 s"):
    assert any(words in line for line in lines), words

# Of the time in which two suites run tests beside each other each is charged with its part.
sys.path.insert(0, "tests")
import places, suite, threading, time
both, pair = places.Places(2), [suite.Suite(name, []) for name in ("one", "two")]
threads = [threading.Thread(target=both.each, args=(one, time.sleep, [1, seconds])) for one, seconds in zip(pair, (0, 2))]
for thread in threads:
    thread.start()
    time.sleep(0.1)
for thread in threads:
    thread.join()
charged = [both.charged[one.name] for one in pair]
wall, seconds = pair[1].time()
assert 0.4 < charged[0] < 1.2 and 1.5 < charged[1] < 2.9 and 1.9 < sum(charged) < 3.3, charged
assert seconds < charged[1] + 0.1 and seconds < wall, (wall, seconds, charged)
EOF

# new-test numbers on, and its file fails until it is written.
mkdir -p "$temp/tree/tests/kselftest/dm-qcow2"
for number in 01 02; do
	file=$("$temp/tree/scripts/new-test" moon)
	[ "${file##*/}" = "test_moon_$number.sh" ] || complain "new-test: made $file"
	[ -x "$file" ] || complain "new-test: $file cannot be run"
	grep -q '^fail ' "$file" || complain "new-test: $file does not fail"
done
mkdir -p "$temp/tree/tests/kselftest/dm-qcow2"
cp tests/kselftest/dm-qcow2/{lib,ktap,oracle}.sh "$temp/tree/tests/kselftest/dm-qcow2/"
style_of() { (cd "$temp/tree" && scripts/style "$@"); }
style_of tests/kselftest/dm-qcow2/test_moon_01.sh >"$temp/out" 2>&1 || complain "new-test: not in style: $(cat "$temp/out")"
(GIT_DIR=$temp/none style_of) >"$temp/out" 2>&1 && complain "style: looks at nothing, and is content"
grep -q "lists no files" "$temp/out" || complain "style: does not say that it looks at nothing"
"$temp/tree/scripts/new-test" ../moon 2>/dev/null && complain "new-test: takes a path"
exit $failed
