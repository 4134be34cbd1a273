#!/usr/bin/env bash
# Measures Spate, and ik_llama.cpp beside it when told where it is, on the benchmark shapes of
# bench/models with random weights: in turns, so that both meet the same machine. Prints one table
# for docs/benchmarks.md; the last column is the median of the ratios of each turn.
#
#   tools/bench_cpu.sh [--spate PROGRAM] [--peer FOLDER --gguf FOLDER] [--threads N] [--rounds R]
#                      [--only "MODEL:WEIGHTS ..."] [--cases "prompt one crowd deep"]
#
# --cases: prompt (512 tokens), one (sequence decoding), crowd (16 of them), deep (both after 4,096
#          tokens, which takes the longest).
# --peer: llama-bench, llama-batched-bench and llama-quantize, built for this machine.
# --gguf: llama-1.1b-bf16.gguf, llama-135m-bf16.gguf and stories-12m-bf16.gguf, random weights of the
#         same shapes, made by tools/make_gguf.py; the quantized ones are made beside them.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
spate=$root/build/release/apps/spate
peer='' gguf='' threads=$(nproc) rounds=3
only='llama-1.1b:q8 llama-1.1b:q4 llama-1.1b:auto llama-135m:q8'
cases='prompt one crowd deep'

while [ $# -gt 0 ]; do
  case $1 in
    --spate) spate=$2 ;;
    --peer) peer=$2 ;;
    --gguf) gguf=$2 ;;
    --threads) threads=$2 ;;
    --rounds) rounds=$2 ;;
    --only) only=$2 ;;
    --cases) cases=$2 ;;
    *) sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
  shift 2
done
if [ -n "$peer" ] && [ -z "$gguf" ]; then
  echo "bench_cpu: --peer needs --gguf, the folder of its models" >&2
  exit 2
fi
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# The folder of a model; those with random weights have no tokenizer and no tensors.
folder_of() { [ "$1" = stories-12m ] && echo "$root/models/$1" || echo "$root/bench/models/$1"; }
# Its context ends before the depth that the others are measured at.
is_short() { [ "$1" = stories-12m ]; }
# A small model's steps take microseconds: more of them, and several times.
tokens_of() { is_short "$1" && echo 200 || echo 64; }
repeats_of() { is_short "$1" && echo 5 || echo 1; }

wanted() { [[ " $cases " == *" $1 "* ]]; }

# record WHO MODEL:WEIGHTS ROUND <<< "case<tab>tokens per second" lines
record() { sed "s|^|$1\t$2\t$3\t|" >> "$results/all"; }

# spate_latency MODEL WEIGHTS ARGS...: "case<tab>rate" lines of one run
spate_latency() {
  local model=$1 weights=$2
  shift 2
  "$spate" bench latency --model "$(folder_of "$model")" --load-format dummy \
    --weights "$weights" --threads "$threads" --repeat "$(repeats_of "$model")" --json "$@" | python3 -c '
import json, sys
r = json.load(sys.stdin)
depth = r["depth"]
if r["prompt_tokens"] >= 512:
    print("prefill %d, depth %d\t%f" % (r["prompt_tokens"], depth, r["prefill_tokens_per_second"]["median"]))
for d in r["decode"]:
    print("decode %d, depth %d\t%f" % (d["batch"], depth, d["tokens_per_second"]["median"]))'
}

run_spate() {
  if wanted prompt; then
    spate_latency "$1" "$2" --prompt-len 512 --output-len "$(tokens_of "$1")"
  elif wanted one; then
    spate_latency "$1" "$2" --prompt-len 16 --output-len "$(tokens_of "$1")"
  fi
  if wanted crowd; then
    spate_latency "$1" "$2" --prompt-len 16 --output-len 64 --batch 16 --depth 16
  fi
  if wanted deep && ! is_short "$1"; then
    spate_latency "$1" "$2" --prompt-len 512 --output-len 32 --depth 4096
  fi
}

# The peer's file for MODEL and WEIGHTS.
peer_file() {
  local type=bf16
  case $2 in q8) type=q8 ;; q4) type=q4 ;; esac
  local file=$gguf/$1-$type.gguf
  if [ ! -f "$file" ]; then
    "$peer/llama-quantize" "$gguf/$1-bf16.gguf" "$file" "$([ $type = q8 ] && echo Q8_0 || echo Q4_0)" >&2
  fi
  echo "$file"
}

# "case<tab>rate" lines of one run of llama-bench
peer_rates() {
  "$peer/llama-bench" "$@" -o json 2>/dev/null | python3 -c '
import json, sys
seconds = {}
for r in json.load(sys.stdin):
    if r["n_gen"] == 0:
        seconds[r["n_prompt"]] = r["avg_ns"] / 1e9
    elif r["n_prompt"] == 0:
        print("decode 1, depth 0\t%f" % r["avg_ts"])
    else:
        print("decode 1, depth %d\t%f" % (r["n_prompt"], r["avg_ts"]))
if 512 in seconds:
    print("prefill 512, depth 0\t%f" % (512 / seconds[512]))
if 4608 in seconds:
    print("prefill 512, depth 4096\t%f" % (512 / (seconds[4608] - seconds[4096])))'
}

run_peer() {
  local file common
  file=$(peer_file "$1" "$2")
  common=(-m "$file" -t "$threads" -fa 1 -rtr 1 -r "$(repeats_of "$1")")
  if wanted prompt; then peer_rates "${common[@]}" -p 512 -n 0; fi
  if wanted prompt || wanted one; then peer_rates "${common[@]}" -p 0 -n "$(tokens_of "$1")"; fi
  if wanted deep && ! is_short "$1"; then
    peer_rates "${common[@]}" -p 4096,4608 -n 0
    peer_rates "${common[@]}" -p 0 -n 0 -gp 4096,32
  fi
  if wanted crowd; then
    "$peer/llama-batched-bench" -m "$file" -c 4096 -b 2048 -ub 512 -t "$threads" -fa on -rtr \
      -npp 16 -ntg 64 -npl 16 2>&1 | awk -F'|' '$4 + 0 == 16 { printf "decode 16, depth 16\t%f\n", $9 }'
  fi
}

for round in $(seq "$rounds"); do
  for shape in $only; do
    echo "round $round: $shape" >&2
    run_spate "${shape%:*}" "${shape#*:}" | record spate "$shape" "$round"
    if [ -n "$peer" ]; then
      run_peer "${shape%:*}" "${shape#*:}" | record peer "$shape" "$round"
    fi
  done
done

echo "$(git -C "$root" rev-parse --short HEAD), $(sed -n 's/^model name\t: //p' /proc/cpuinfo | head -n 1), $threads threads, $rounds rounds; tokens/s"
echo
python3 - "$results/all" <<'PYTHON'
import collections, statistics, sys
rates = collections.defaultdict(dict)
cases = []
for line in open(sys.argv[1]):
    who, shape, turn, case, rate = line.rstrip("\n").split("\t")
    rates[shape, case].setdefault(who, {})[turn] = float(rate)
    if (shape, case) not in cases:
        cases.append((shape, case))
print("| model:weights | case | Spate | ik_llama.cpp | ratio |\n|---|---|---|---|---|")
for shape, case in cases:
    ours, theirs = rates[shape, case].get("spate", {}), rates[shape, case].get("peer", {})
    both = [ours[t] / theirs[t] for t in ours if t in theirs]
    cell = lambda r: f"{statistics.median(r.values()):.1f}" if r else "not measured"
    ratio = f"{statistics.median(both):.2f}" if both else ""
    print(f"| {shape} | {case} | {cell(ours)} | {cell(theirs)} | {ratio} |")
PYTHON
