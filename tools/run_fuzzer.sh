#!/usr/bin/env bash
# run_fuzzer.sh PROGRAM SECONDS: fuzzes in a scratch corpus seeded from tests/fuzz/corpus/<name>.
set -euo pipefail
program=$1 seconds=$2
name=$(basename "$program")
corpus=$(mktemp -d)
trap 'rm -rf "$corpus"' EXIT
seeds=$(dirname "${BASH_SOURCE[0]}")/../tests/fuzz/corpus/$name
args=("$corpus")
[ -d "$seeds" ] && args+=("$seeds")
if ! "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$corpus/" "${args[@]}" >"$corpus/.log" 2>&1; then
  tail -n 40 "$corpus/.log"
  exit 1
fi
echo "$name: $(grep -o 'stat::number_of_executed_units: *[0-9]*' "$corpus/.log" | grep -o '[0-9]*$') runs"
