#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the mapping calls answer to bad arguments is what the kernel answers.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

REPORT_CHECKED=no # it needs no far page
far_program 20 16M "mem" mem_errors
