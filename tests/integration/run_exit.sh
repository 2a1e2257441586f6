#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `perdure run` ends as its program ends: every exit status, and signals.
. "$(dirname "$0")/common.sh"

cat > "$WORK/exits.py" <<'PY'
import subprocess, sys
perdure = sys.argv[1]
for status in list(range(0, 256, 17 if len(sys.argv) > 2 else 1)):
    got = subprocess.run([perdure, "run", "--", "sh", "-c", f"exit {status}"]).returncode
    assert got == status, f"exit {status} became {got}"
for signal in (1, 2, 3, 6, 9, 10, 11, 13, 14, 15, 24, 34):
    got = subprocess.run([perdure, "run", "--", "sh", "-c", f"ulimit -c 0; kill -{signal} $$"],
                         stderr=subprocess.DEVNULL).returncode
    assert got == -signal, f"signal {signal} became {got}"
PY
python3 "$WORK/exits.py" "$PERDURE" ${QUICK:+quick} || fail "an exit status changed"

# A script without "#!" is the shell's, as for any shell; "--" is optional; options stay the program's.
printf 'exit 5\n' > "$WORK/script"
chmod +x "$WORK/script"
set +e
"$PERDURE" run "$WORK/script"
[ $? = 5 ] || fail "a script without #!"
"$PERDURE" run --local 64M sh -c 'exit $#' sh --local --far -- x
[ $? = 4 ] || fail "the program's own options"
set -e
(cd "$WORK" && PATH=":$PATH" "$PERDURE" run script) && fail "the empty PATH entry" || [ $? = 5 ]
