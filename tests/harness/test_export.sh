#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# export-kernel-tree lays all of us into a kernel tree, where checkpatch --strict has nothing to say; a tree that lacks
# something is left alone; its own makefiles build and install the tests, and its own runner runs them. With QCOW2_FULL=1 the module is built there, without a
# warning.

set -u
cd "$(dirname "$0")/../.." || exit 1
cache=${DM_QCOW2_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/dm-qcow2}
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
failed=0
complain() { echo "$*"; failed=1; }

scripts/kernel-fetch checkpatch || exit 1
cp -r "$cache/checkpatch" "$temp/linux"
cd "$temp" || exit 1
tree=$OLDPWD

cp -r linux broken
sed -i '/dm-queue-length/d' broken/Documentation/admin-guide/device-mapper/index.rst
cp -r broken untouched
"$tree/scripts/export-kernel-tree" broken 2>said && complain "a tree without an index is taken"
grep -q "index.rst has no line" said || complain "what it lacks is not said: $(cat said)"
diff -r broken untouched || complain "a tree that is refused is changed"
"$tree/scripts/export-kernel-tree" no-such-tree 2>said && complain "a tree that does not exist is taken"

"$tree/scripts/export-kernel-tree" linux || complain "export-kernel-tree: exit $?"
cp -r linux twice
"$tree/scripts/export-kernel-tree" twice || complain "once more: exit $?"
diff -r linux twice || complain "a second run changes something"
target=linux/drivers/md/dm-qcow2
for file in "$tree"/kernel/*.[ch]; do
	[[ $file == *.mod.c ]] || cmp "$file" "$target/${file##*/}" || complain "${file##*/} is not there"
done
while read -r object; do
	[ -e "$target/${object%.o}.c" ] || complain "$object has no source"
done < <(grep -o '[a-z0-9_-]*\.o' $target/Makefile | grep -v '^dm-qcow2')
(cd "$tree" && git ls-files tests/kselftest/dm-qcow2) | while read -r file; do
	[ -e "linux/tools/testing/selftests/dm-qcow2/${file##*/}" ] || echo "$file"
done >said
[ ! -s said ] || complain "not laid: $(cat said)"
grep -q '^    dm-qcow2$' linux/Documentation/admin-guide/device-mapper/index.rst || complain "no page in the index"

# The kernel's runner has one limit for all.
longest=$(sed -n 's/^# timeout=//p' "$tree"/tests/kselftest/dm-qcow2/*.sh | sort -n | tail -n 1)
grep -qx "timeout=$longest" "$tree/tests/kselftest/dm-qcow2/settings" || complain "settings: a case has $longest s"

# Each module that a test loads has a line in config, also where its option is called otherwise.
declare -A options=([brd]=BLK_DEV_RAM [dm-mod]=BLK_DEV_DM [sd-mod]=BLK_DEV_SD)
while read -r module; do
	option=${options[$module]:-${module//-/_}}
	grep -qE "^CONFIG_(BLK_DEV_)?${option^^}(_FS)?=" "$tree/tests/kselftest/dm-qcow2/config" || complain "config: no line for $module"
done < <(cat "$tree"/tests/kselftest/dm-qcow2/*.sh | grep -v '^#\|hint:' |
	grep -oE '(modprobe|need_module|scratch|for fs in)( -a)?( [a-z][a-z0-9_-]+)+( |;|$)' | sed -E 's/^(for fs in|[a-z_]+)( -a)?//; s/_/-/g' |
	tr -s ' ;' '\n' | grep . | sort -u)

# What is not byte for byte as in kernel/, where scripts/style has had checkpatch read it, and trace.h, which is a language
# of its own: macros that end with an open bracket, and are indented as what they make.
patch_form() { "$1/scripts/checkpatch.pl" --root="$1" "${@:2}" --no-summary --terse --strict || complain "checkpatch"; }
patch_form linux --no-tree -f $target/{Kconfig,Makefile} linux/Documentation/admin-guide/device-mapper/dm-qcow2*.rst
patch_form linux --no-tree --ignore OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT -f $target/trace.h

# By the tree's own makefiles and runner, which want the headers that "make headers" leaves. One case passes; one says that
# it cannot run, because nobody has installed the tool.
mkdir -p linux/usr/include
ln -s /usr/include/linux linux/usr/include/linux
make -s -C linux/tools/testing/selftests TARGETS=dm-qcow2 INSTALL_PATH="$temp/installed" install >log 2>&1 ||
	{ cat log; complain "the tests are not installed"; }
installed/run_kselftest.sh --list | sed -n 's/^dm-qcow2://p' | diff - <(cd "$tree/tests/kselftest/dm-qcow2" && ls test_*.sh) ||
	complain "the runner does not list the tests"
"$tree/scripts/vm-run" --kernel 6.12 --smp 1 --timeout 120 installed/run_kselftest.sh -t dm-qcow2:test_table_02.sh -t dm-qcow2:test_tool_01.sh >log 2>&1 ||
	complain "the machine of the runner: exit $?"
printf '%s\n' 1..2 "ok 1 selftests: dm-qcow2: test_table_02.sh" "ok 2 selftests: dm-qcow2: test_tool_01.sh # SKIP" >expected
grep -E '^(1\.\.|(not )?ok )' log | diff expected - || { cat log; complain "the kernel's runner says something else"; }

# The whole: the tree is the kernel's, and only what building needs of it.
if [ -n "${QCOW2_FULL:-}" ]; then
	"$tree/scripts/kernel-fetch" source
	cp -al "$cache/source" full
	cp -rf --remove-destination linux/. full/
	mkdir out
	{
		make -s -C full O="$temp/out" x86_64_defconfig
		full/scripts/config --file out/.config -m DM_QCOW2
		make -s -C full O="$temp/out" olddefconfig modules_prepare
	} >log 2>&1 || { tail -n 30 log; complain "the tree cannot be prepared"; }
	grep -qx CONFIG_DM_QCOW2=m out/.config || complain "CONFIG_DM_QCOW2=m is refused"
	make -s -j"$(nproc)" -C full O="$temp/out" W=1 C=1 drivers/md/dm-qcow2/ >log 2>&1 || complain "it does not build"
	[ ! -s log ] || { cat log; complain "it does not build without a warning"; }
	[ -e out/drivers/md/dm-qcow2/dm-qcow2.o ] || complain "no module is made"
	# All of it, by the rules of the tree, none left out.
	rm full/drivers/md/dm-qcow2/trace.h
	patch_form full -f full/drivers/md/dm-qcow2/*.[ch]
fi
exit $failed
