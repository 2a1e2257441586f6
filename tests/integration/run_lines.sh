#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Changed lines instead of pages (M3, docs/design/line-stores.md): nothing is lost, whatever
# happens to the stores, and what goes far is what was changed.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

start_node --memory 2G
SEED=${SEED:-1}

# lines EXPRESSION FAR ARGUMENTS...: a run whose report, r, makes the Python expression true.
lines() {
	expression=$1 FAR=$2
	shift 2
	run_far 120 4M "$PROGRAMS/mem_lines" "$@" > "$WORK/out" 2>&1 ||
		fail "mem_lines $* with $FAR: $(tail -n 3 "$WORK/out")"
	python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
if not eval(sys.argv[2]):
    sys.exit(f"{sys.argv[2]} is not so: " + str({k: v for k, v in r.items() if type(v) is int}))' \
		"$REPORT" "$expression" || fail "mem_lines $* with $FAR"
}

kept="r['pages_lost'] == 0 and r['local_bytes_max'] <= r['local_bytes_limit']"
by_line="$kept and r['pages_by_line'] * 4 > r['pages_written'] and r['lines_written'] > 1000"
# Half of the pages go by lines, so it must be under three quarters of the bytes of all.
fewer="$by_line and r['bytes_written'] * 4 < r['pages_written'] * 4096 * 3"
for transport in tcp cma shm; do
	lines "$fewer" "--far $(uri $transport)" 16 "$SEED"
done
# The control: whole pages, because it is said so or because the backing takes no others.
whole="$kept and r['pages_by_line'] == 0 and r['bytes_written'] >= r['pages_written'] * 4096"
lines "$whole" "--store pages --far $(uri cma)" 16 "$SEED"
lines "$whole" "--far mem:" 16 "$SEED"

# Errors, late and disordered answers; stores that fail for good have a mirror.
lines "$by_line" "--far error:p=0.05,verb=store:$(uri tcp)" 16 "$SEED"
lines "$by_line" "--far delay:100us,jitter=1ms:$(uri cma)" 12 "$SEED"
lines "$by_line" "--mirror 2 --far $(uri cma) --far $(uri tcp)" 16 "$SEED"
lines "$kept and r['backings'][0]['lost'] > 0" \
	"--mirror 2 --far error:after=3000,every=1,verb=store:$(uri cma) --far $(uri tcp)" 16 "$SEED"
# Two backings in turn: lines go together by where they lie.
lines "$by_line" "--far $(uri cma) --far $(uri tcp)" 16 "$SEED"
# What a fork shares goes whole, to another place.
lines "$kept and r['pages_by_line'] > 1000" "--far $(uri cma)" 12 "$SEED" fork
lines "$kept and r['pages_by_line'] > 1000" "--kernel copy --far $(uri tcp)" 12 "$SEED" fork

# A family whose second node dies and comes back. Copies that one process makes there again are
# another's to store to, who has reserved nothing there yet: the node is lost once, and no more.
first=$(uri cma)
start_node --memory 1G
second=$NODE second_port=$PORT
report() {
	python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["backings"][1]["lost"])' "$REPORT"
}
"$PERDURE" run --local 8M --mirror 2 --far "$first" --far "$(uri cma)" \
	--report "$REPORT" -- "$PROGRAMS/mem_lines" 32 "$SEED" fork > "$WORK/out" 2>&1 &
launcher=$!
STARTED="$STARTED $launcher"
forked() {
	! is_gone $launcher || fail "the family ended: $(cat "$WORK/out")"
	[ "$(status_number $launcher "sum(p['pages_fetched'] > 3000 for p in run['processes'])")" = 2 ]
}
wait_for 60 forked || fail "no two processes come to use far memory: $(cat "$WORK/out")"
kill -KILL "$second"
"$PERDURE" node --listen "127.0.0.1:$second_port" --memory 1G 2> "$WORK/again.log" &
STARTED="$STARTED $!"
wait $launcher || fail "a family with a node killed: $(tail -n 3 "$WORK/out")"
[ "$(report)" = 1 ] || fail "the node that was killed once was lost $(report) times"
