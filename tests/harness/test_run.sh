#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# tests/run tells a good kselftest from every kind of bad one.
# seconds=55

set -eu
cd "$(dirname "$0")/../.."
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cases=$tree/tests/kselftest/dm-qcow2
mkdir -p "$cases" "$tree/build/6.1"
cp -r scripts "$tree/"
cp tests/run tests/places.py tests/suite.py tests/machines.py tests/batch "$tree/tests/"
cp build/6.1/dm-qcow2.ko "$tree/build/6.1/"

new() {
	{ echo "#!/bin/bash"; cat; } >"$cases/test_$1.sh"
	chmod +x "$cases/test_$1.sh"
}

# shellcheck disable=SC2016
new good_01 <<<'echo 1..1; [ "$(nproc)" = 1 ] && echo ok 1 this'
# shellcheck disable=SC2016
new both_01 <<<$'# cpus=2\n[ "$(nproc)" = 2 ]'
new good_02 <<<'rmmod dm_qcow2; modprobe dm-qcow2'
new skip_01 <<<'echo "1..0 # SKIP this kernel has no moon"; exit 4'
new skip_02 <<<'echo "1..0 # SKIP no telescope"; exit 4'
new skip_03 <<<'echo 1..2; echo "ok 1 moon # SKIP this kernel has no moon"; echo ok 2 sun'
new skip_04 <<<'echo 1..2; echo "ok 1 moon # SKIP no telescope"; echo ok 2 sun'
new exit_01 <<<'exit 3'
new plan_01 <<<'echo 1..2; echo ok 1 this'
new notok_01 <<<'echo 1..1; echo not ok 1 this'
new left_01 <<<'dmsetup create left --table "0 8 zero"; sleep 60 &'
new slow_01 <<<$'# timeout=2\nsleep 30'
new splat_01 <<<'echo "BUG: KASAN: none" >/dev/kmsg'
new panic_01 <<<'echo c >/proc/sysrq-trigger'

if "$tree/tests/run" kselftest-6.1 >"$tree/out" 2>&1; then
	echo "ended with 0"
	exit 1
fi
failed=0
while read -r line; do
	if ! grep -qE "$line" "$tree/out"; then
		echo "no line '$line'"
		failed=1
	fi
done <<'EOF'
^passed  kselftest-6.1 good_01
^passed  kselftest-6.1 good_02
^passed  kselftest-6.1 both_01
^skipped kselftest-6.1 skip_01 .*: this kernel has no moon$
^failed  kselftest-6.1 skip_02 .*: skips what make check installs: no telescope$
^passed  kselftest-6.1 skip_03
^skipped kselftest-6.1 skip_03: moon this kernel has no moon$
^failed  kselftest-6.1 skip_04 .* moon: skips what make check installs: no telescope$
^failed  kselftest-6.1 exit_01 .* exit 3$
^failed  kselftest-6.1 plan_01 .* planned 2 results, gave 1$
^failed  kselftest-6.1 notok_01 .* not ok, but exit 0$
^failed  kselftest-6.1 left_01 .* left behind sleep\[[0-9]+\] left
^failed  kselftest-6.1 slow_01 .* took too long$
^failed  kselftest-6.1 splat_01 .* kernel log: .*KASAN: none$
^failed  kselftest-6.1 panic_01 .*the machine died
^4 passed, 9 failed, 2 skipped$
EOF

# One with a line "# full" has its turn in make check-full, or when it is named.
mkdir "$tree/tests/boot"
printf '#!/bin/bash\n' | tee "$tree/tests/boot/test_short_01.sh" >"$tree/tests/boot/test_named_01.sh"
echo "# full" >>"$tree/tests/boot/test_named_01.sh"
chmod +x "$tree"/tests/boot/*
# turns FULL WORD EXPECTED
turns() {
	local run
	run=$(QCOW2_FULL=$1 "$tree/tests/run" boot ${2:+"$2"} | sed -n 's/^passed  boot \([^ ]*\).*/\1/p' | sort | paste -sd ' ')
	[ "$run" = "$3" ] || { echo "full '$1', word '$2': '$run' was run, not '$3'"; failed=1; }
}
turns "" "" "short_01"
turns "" named "named_01"
turns 1 "" "named_01 short_01"

# A machine that a test has broken, and that does not even go down.
cat >"$tree/scripts/vm-run" <<'EOF'
#!/bin/bash
while [ "$1" != --rw ]; do shift; done
mv "$2"/todo/1/* "$2/taken/"
printf '%s\n' ready "begin test_good_01.sh 1" "end test_good_01.sh 3 0.1 -"
exec sleep 1000
EOF
sed -i 's/^STALL = 90 /STALL = 5 /' "$tree/tests/machines.py"
timeout 60 "$tree/tests/run" kselftest-6.1 good_01 >>"$tree/out" 2>&1 || true
grep -q "^failed  kselftest-6.1 machine the machine died" "$tree/out" || { echo "a machine that does not end"; failed=1; }
[ $failed = 0 ] || cat "$tree/out"
exit $failed
