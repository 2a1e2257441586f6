#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A mirror over two nodes, one of which is killed and restarted, two hundred times. Over tcp twice it takes seven minutes.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

export WORK
timeout -k 10 1200 python3 "$(dirname "$0")/run_faults.py" kills "${SEED:-1}" "${KILLS:-200}"
