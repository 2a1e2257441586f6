#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The agent and a writer, killed two thousand times in all, at any moment (M5 3, 5, 8).
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/serve_common.sh"

export IMAGES
timeout -k 10 "${KILLS_SECONDS:-400}" python3 "$(dirname "$0")/serve_kills.py" "${SEED:-1}" "${KILLS:-1100}"
