#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Debian packages and make install on a fresh trixie.
# full

exec "$(dirname "$0")/debian.sh" trixie
