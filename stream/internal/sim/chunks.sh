#!/usr/bin/env bash
# Runs the simulation's seeds FIRST to LAST a hundred at a time, so that one in which virtual time stands still ends soon and is told.
set -euo pipefail
first=$1 last=$2
test=$(mktemp) log=$(mktemp)
trap 'rm -f "$test" "$log"' EXIT
go test -c -tags synctests -o "$test" ./stream/internal/sim
cd "$(dirname "$0")"
for ((at = first; at <= last; at += 100)); do
  to=$((at + 99 < last ? at + 99 : last))
  "$test" -test.timeout 150s -test.run '^TestSimulation$' -seeds="$at..$to" >"$log" 2>&1 || { cat "$log"; exit 1; }
  grep ' of virtual time' "$log"
done
echo "ok  	simulation of the seeds $first..$last"
