#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Without a mirror a node that is gone is a SIGBUS and one message, never a hang.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

export WORK
timeout -k 10 120 python3 "$(dirname "$0")/run_faults.py" lost "${SEED:-1}"
