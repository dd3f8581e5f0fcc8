# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors

VERSION := 0.1.0
KDIR	?= /lib/modules/$(shell uname -r)/build
PREFIX	?= /usr/local
export VERSION KDIR PREFIX DESTDIR

all: modules tools

## modules	kernel/dm-qcow2.ko for the running kernel, or for KDIR=<kernel build folder>
modules:
	@[ -e "$(KDIR)/Makefile" ] || { echo "make modules: $(KDIR): no kernel headers here;" \
		"install those of the running kernel, or give KDIR=<kernel build folder>" >&2; exit 1; }
	$(MAKE) -C "$(KDIR)" M="$(CURDIR)/kernel" modules

## tools	userspace/qcow2ctl
tools:
	$(MAKE) -C userspace

## demo	install what is missing, boot a virtual machine and show the main job in it
demo: packages kernels
	scripts/demo

## check	install what is missing, then run every test, the long ones bounded
check: packages
	+$(MAKE) --no-print-directory -j2 kernels debug-kernel
	tests/run

## check-full	the same without bounds
check-full: packages kernels debug-kernel debug-kernel-full
	scripts/setup full package
	QCOW2_FULL=1 tests/run

## style	checkpatch, shellcheck, lengths and names
style:
	scripts/style

## install	module (by DKMS where dkms is), tool, man pages, completion; PREFIX=/usr/local DESTDIR=
install:
	scripts/install install

## uninstall	take away what install brought
uninstall:
	scripts/install uninstall

## dist		build/dm-qcow2-VERSION.tar.xz, of what git has
dist:
	scripts/dist

## deb		Debian packages in build/deb
deb:
	scripts/setup build package
	scripts/dist deb

## clean	remove what was built
clean:
	rm -rf build
	find kernel -maxdepth 1 \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' \
		-o -name '.*.cmd' -o -name modules.order -o -name Module.symvers \) -delete
	$(MAKE) -C userspace clean

## help	this list
help:
	@sed -n 's/^## /  /p' Makefile | expand -t 18

## check-debug	all kernel tests on a kernel with KASAN, lockdep and more; some look for data races by KCSAN
check-debug: packages kernels debug-kernel debug-kernel-full
	tests/run debug
	tests/run kselftest-debug
	tests/run kcsan

## check-mutants	seed faults, and show that the tests find them
check-mutants: packages kernels debug-kernel
	scripts/kernel-debug debug-kcsan
	tests/mutants/run

## fuzz		fuzz the readers of the format until interrupted; FUZZ_SECONDS=N bounds it
fuzz: packages
	$(MAKE) -s -C tests/fuzz fuzz

## bench	measure side by side with loop, qemu-nbd and dm-linear, 3 rounds; draws build/bench/clock.svg
bench: packages kernels
	scripts/build-matrix -s 6.12
	tests/bench/run clock --rounds 3

## bench-full	the same with all peers and 7 rounds, then what all rows cost in instructions
bench-full: packages kernels
	scripts/build-matrix -s 6.12
	tests/bench/run clock --rounds 7 --full
	tests/bench/run virtual

packages:
	scripts/setup build vm test

kernels:
	scripts/setup kernels

debug-kernel:
	scripts/setup debug
	scripts/kernel-debug

debug-kernel-full: debug-kernel
	scripts/kernel-debug debug-full debug-kcsan
	scripts/build-matrix -s debug-full

.PHONY: all modules tools demo check check-full style install uninstall dist deb clean help \
	check-debug check-mutants fuzz bench bench-full packages kernels debug-kernel debug-kernel-full
