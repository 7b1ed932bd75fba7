#!/usr/bin/env bash
# Builds everything, starts a broker, lets all peers work and shows the table and the targets.
# WORKLOADS, PEERS, RUNS and SCALE choose less of it.
set -euo pipefail
cd "$(dirname "$0")"
export BENCH_DIR=${BENCH_DIR:-/tmp/bench}
results=$BENCH_DIR/results-$(date +%Y%m%d-%H%M%S).jsonl
./build.sh
./broker.sh start
trap './broker.sh wipe' EXIT
exact=0
"$BENCH_DIR/bin/bench" run -workloads "${WORKLOADS:-W1,W2,W3,W4,W5,W6,W7}" -peers "${PEERS:-all}" -n "${RUNS:-3}" \
  -scale "${SCALE:-1}" -results "$results" || exact=$?
"$BENCH_DIR/bin/bench" targets -results "$results"
echo "results: $results"
exit $exact
