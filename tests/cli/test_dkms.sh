#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# make install where DKMS is: what it asks of dkms, here a program that notes how it is called, in a root of its own.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || { ok "dkms # SKIP not root"; exit; }
version=$(sed -n 's/^VERSION := //p' "$TREE/Makefile")
root=$DIR/root
mkdir -p "$root"/{dev,proc,tmp,stub,tree/kernel,usr/{bin,lib,lib64,sbin,src,local},host/lib}
ln -s usr/bin usr/lib usr/lib64 usr/sbin "$root/"
for entry in /usr/lib/*; do
	[ "${entry##*/}" = modules ] || ln -s "/host/lib/${entry##*/}" "$root/usr/lib/"
done
cp -r "$TREE/scripts" "$TREE/Makefile" "$root/tree/"
cp "$TREE"/kernel/*.[ch] "$TREE/kernel/Kbuild" "$TREE/kernel/dkms.conf" "$root/tree/kernel/"
rm -f "$root"/tree/kernel/*.mod.c
cp -r "$TREE/userspace" "$root/tree/"
cat >"$root/stub/dkms" <<'END'
#!/bin/bash
echo "$*" >>/calls
case $1 in
status) cat /known ;;
add) [ -e "/usr/src/${2/\//-}/dkms.conf" ] && echo "$2: added" >>/known ;;
install) ! grep -qx "${*:4}" /refused ;;
remove) sed -i "\|^$2[,:]|d" /known ;;
esac
END
chmod 755 "$root/stub/dkms"
: >"$root/known"
: >"$root/refused"

# inside COMMAND...: in that root, with its dkms first in PATH; sets CALLS.
inside() {
	: >"$root/calls"
	# shellcheck disable=SC2016 # for the shell there
	run unshare -m bash -c '
		root=$1; shift
		for place in bin lib64; do mount --bind /usr/$place "$root/usr/$place" || exit 99; done
		mount --bind /usr/lib "$root/host/lib" && mount --rbind /dev "$root/dev" &&
			mount --rbind /proc "$root/proc" || exit 99
		exec chroot "$root" /usr/bin/env -i PATH=/stub:/usr/bin:/usr/sbin "$@"' - "$root" "$@"
	CALLS=$(<"$root/calls")
}
# called NAME LINE...: dkms was called so, and not otherwise.
called() {
	local name=$1
	shift
	if [ "$CALLS" = "$(printf '%s\n' "$@")" ]; then
		ok "$name"
	else
		notok "$name" "dkms was called so:" "$CALLS"
	fi
}
placed() { find "$root"/usr/{src,local,sbin} "$root/usr/lib/modules" ! -type d ! -name Makefile; }

# No kernel has headers.
mkdir -p "$root"/usr/lib/modules/6.1.0-one/kernel
inside make -s -C /tree install
holds "no headers: refused" [ "$RC" != 0 ]
holds "no headers: said so" grep -q "^install: nothing was installed" <<<"$ERR"
holds "no headers: nothing is there" [ -z "$(placed)" ]

for release in 6.1.0-one 6.12.0-two; do
	mkdir -p "$root/usr/lib/modules/$release/build"
	: >"$root/usr/lib/modules/$release/build/Makefile"
done
inside make -s -C /tree install
holds "install" [ "$RC" = 0 ]
called "install: added, and built for each kernel" "status dm-qcow2" "add dm-qcow2/$version" \
	"install dm-qcow2/$version -k 6.1.0-one" "install dm-qcow2/$version -k 6.12.0-two"
src=$root/usr/src/dm-qcow2-$version
holds "install: the source is all that is built" diff <(cd "$root/tree/kernel" && ls) <(ls "$src")
holds "install: dkms.conf has the version" grep -qx "PACKAGE_VERSION=\"$version\"" "$src/dkms.conf"
holds "install: the tool" cmp "$root/usr/local/sbin/qcow2ctl" "$TREE/userspace/qcow2ctl"
holds "install: no module beside that of DKMS" [ -z "$(compgen -G "$root/usr/lib/modules/*/updates/*")" ]

# Over an older version; one kernel is refused by DKMS, the other not.
echo "dm-qcow2/0.0.9, 6.1.0-one, x86_64: installed" >"$root/known"
mkdir "$root/usr/src/dm-qcow2-0.0.9"
echo 6.1.0-one >"$root/refused"
inside make -s -C /tree install
holds "over an older one" [ "$RC" = 0 ]
called "over an older one: that goes first" "status dm-qcow2" "remove dm-qcow2/0.0.9 --all" "add dm-qcow2/$version" \
	"install dm-qcow2/$version -k 6.1.0-one" "install dm-qcow2/$version -k 6.12.0-two"
holds "over an older one: its source is gone" absent "$root/usr/src/dm-qcow2-0.0.9"

inside make -s -C /tree uninstall
holds "uninstall" [ "$RC" = 0 ]
called "uninstall: removed" "status dm-qcow2" "remove dm-qcow2/$version --all"
holds "uninstall: nothing is left" [ -z "$(placed)" ]

# It can be built for no kernel.
printf '%s\n' 6.1.0-one 6.12.0-two >"$root/refused"
inside make -s -C /tree install
holds "built for none: refused" [ "$RC" != 0 ]
holds "built for none: said so" grep -q "^install: DKMS built the module for no kernel" <<<"$ERR"
holds "built for none: taken back" grep -qx "remove dm-qcow2/$version --all" <<<"$CALLS"
holds "built for none: nothing is there" [ -z "$(placed)" ]
