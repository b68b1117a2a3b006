#!/usr/bin/env bash
# Everything there is to measure on a GPU, in one command, results written as they come and what matters most first:
#   environment; benchmark at several batches; the fastest beside the peer as it comes, then compiled (which takes it minutes); the kernels that take
#   the time; correctness against the CPU; the peer in its other layout; every convolution alone; conv_algorithms; phases split or not; input_pipelines;
#   rematerialisation; XLA flags (tools/xla_flags); and then training for the time that is left, with a profile of it.
#
#   CACHE=packed.npz OUT=results PEER=torch_peer.py LIMIT_S=560 bash tools/gpu_check.sh
#
# CACHE: a cache packed by tools/pack_cache.py (no TensorFlow, no footage needed here); without it nothing is profiled or trained.
# PEER: another implementation to alternate with; without it only ours is timed. WHEELS: folder of pure wheels to install first.
# LIMIT_S: seconds for all of it; TRAIN_S of them are kept for profile and training (about 180 for all updates of `:paper`).
# PART_S: seconds for one part, PEER_S where the peer is compiled too. A part that would start later than the rest allows is left out and said so; one that runs too long is ended and keeps what it had
# measured. Raise LIMIT_S, or run again with SKIP, to get those: programs compiled before are kept in OUT/.cache, so only the first `compiled in`
# of a program is a compilation. After every part all results but the trace are in OUT/results.tgz.
# CONFIG, PRESET, BATCHES, TRAIN_BATCHES, REPS, PAIRS, LAYOUTS, FLAG_SETS, SKIP (words of: check benchmark peer trace rates conv_algorithm phases input_pipeline remat
# flags profile train): to try it in small, as the tests do on a CPU.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-gpu_check} LIMIT_S=${LIMIT_S:-560} CONFIG=${CONFIG:-configs/ucsd_ped2.py:paper} PRESET=${PRESET:-paper}
BATCHES=${BATCHES:-16,32,64} TRAIN_BATCHES=${TRAIN_BATCHES:-16,32} REPS=${REPS:-9} PAIRS=${PAIRS:-2} SKIP=${SKIP:-} LAYOUTS=${LAYOUTS-ndhwc ncdhw}
PYTHON=${PYTHON:-python3} FLAG_SETS=${FLAG_SETS:-$(grep -v '^#' tools/xla_flags | cut -d'|' -f1 | tr -d ' ')}
TRAIN_S=${TRAIN_S:-120} PART_S=${PART_S:-200} PEER_S=${PEER_S:-360}
mkdir -p "$OUT"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=${XLA_PYTHON_CLIENT_PREALLOCATE:-false}
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$(realpath "$OUT")/.cache}
failed='' left_out=''
[ -n "${CACHE:-}" ] || TRAIN_S=0

step() {  # step NAME COMMAND...: runs it, keeps its log, goes on whatever it gives
  local name=$1; shift
  printf '== %s (%d s so far)\n' "$name" "$SECONDS"
  "$@" > >(tee "$OUT/$name.log") 2>&1 || { failed="$failed $name"; printf '== %s FAILED\n' "$name"; }
  (cd "$OUT" && find . -path ./.site -prune -o -path ./.cache -prune -o -path ./cache -prune -o -type f \
    \( -name '*.json' -o -name '*.jsonl' -o -name '*.log' -o -name '*.csv' -o -name '*.html' \) -print0 | tar --null -T - -czf results.tgz)
}

within() {  # within NAME COMMAND...: a step that leaves TRAIN_S of LIMIT_S and takes at most PART_S
  local seconds=$((LIMIT_S - TRAIN_S - SECONDS)) name=$1; shift
  if [ "$seconds" -lt 20 ]; then left_out="$left_out $name"; printf '== %s LEFT OUT: no time\n' "$name"; return; fi
  [ "$seconds" -le "$PART_S" ] || seconds=$PART_S
  step "$name" timeout --kill-after=10 "$seconds" "$@"
}

wanted() { case " $SKIP " in *" $1 "*) return 1 ;; *) return 0 ;; esac; }

measure() {  # measure NAME FLAGS...: our benchmark; its figures in NAME.json
  local name=$1; shift
  within "benchmark_$name" "$PYTHON" -m a3dcae_jax.benchmark --preset="$PRESET" --reps="$REPS" --json="$OUT/$name.json" "$@"
}

environment() {
  nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv 2>/dev/null || echo 'no nvidia-smi'
  "$PYTHON" - <<'PY'
import platform, jax, flax, optax, orbax.checkpoint
print('python', platform.python_version(), 'jax', jax.__version__, 'flax', flax.__version__, 'optax', optax.__version__, jax.devices())
PY
}

if [ -n "${WHEELS:-}" ]; then
  step wheels "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$OUT/.site" "$WHEELS"/*.whl
  export PYTHONPATH="$OUT/.site:$PYTHONPATH"
fi
step environment environment

best() {  # best MODE BATCHES: the fastest of what was measured for that mode, or the first of BATCHES
  "$PYTHON" - "$OUT/$1.json" "${2%%,*}" <<'PY'
import json, sys
try:
  print(max(json.load(open(sys.argv[1]))['rows'], key=lambda row: row['frames_per_s'])['batch'])
except (OSError, ValueError):
  print(sys.argv[2])
PY
}

beside_peer() {  # beside_peer LAYOUT [OPTIONS]: both modes at their best batch, the step first
  local options="${2-}" name="$1${2:+_compiled}" PART_S=$PEER_S
  [ "$1" = as_it_comes ] || options="${options:+$options }--layout $1"
  local peer=(--peer="$PEER" --peer_python="${PEER_PYTHON:-$PYTHON}" --peer_options="$options" --pairs="$PAIRS")
  measure "train_peer_$name" --modes=train --batch="$train_one" "${peer[@]}"
  measure "infer_peer_$name" --modes=infer --batch="$one" "${peer[@]}"
}

compiled() {  # compiled LAYOUT: the peer with what its compiler is asked for, unless that is nothing
  local options="${PEER_OPTIONS---compile max-autotune}"
  [ -z "$options" ] || beside_peer "$1" "$options"
}

trace() {  # trace MODE BATCH
  within "trace_$1" "$PYTHON" tools/trace_step.py --mode="$1" --preset="$PRESET" --batch="$2" --json="$OUT/kernels_$1.json" --hlo="$OUT/$1.hlo"
}

if wanted benchmark; then
  measure infer --modes=infer --batch="$BATCHES"
  measure train --modes=train --batch="$TRAIN_BATCHES"
fi
one=$(best infer "$BATCHES") train_one=$(best train "$TRAIN_BATCHES")  # where only one batch is tried
: "${LAYOUTS:=as_it_comes}"
[ -n "${PEER:-}" ] && wanted peer && beside_peer "${LAYOUTS%% *}"
if wanted trace; then trace infer "$one"; trace train "$train_one"; fi
[ -n "${PEER:-}" ] && wanted peer && compiled "${LAYOUTS%% *}"
wanted check && within check "$PYTHON" tools/check_device.py --json="$OUT/check.json" --preset="${CHECK_PRESET:-small}"
if [ -n "${PEER:-}" ] && wanted peer; then
  for layout in $LAYOUTS; do
    if [ "$layout" != "${LAYOUTS%% *}" ]; then beside_peer "$layout"; compiled "$layout"; fi
  done
fi
wanted rates && within rates "$PYTHON" tools/conv_rates.py --json="$OUT/rates.json" --batch="$one"

if wanted conv_algorithm; then
  measure infer_folded --modes=infer --batch="$one" --conv_algorithm=folded
  measure train_folded --modes=train --batch="$train_one" --conv_algorithm=folded
fi
if wanted phases; then
  measure infer_not_split --modes=infer --batch="$one" --polyphase=false
  measure train_not_split --modes=train --batch="$train_one" --polyphase=false
fi
wanted input_pipeline && measure input_pipeline --modes=train --batch="$train_one" --steps=6 --input_pipeline="${FEEDING:-none,resident}"
wanted remat && measure remat --modes=train --batch="$TRAIN_BATCHES" --remat=blocks
if wanted flags; then
  while IFS='|' read -r name flags _; do
    name=$(tr -d ' ' <<< "$name")
    case " $(tr '\n' ' ' <<< "$FLAG_SETS")" in *" $name "*) ;; *) continue ;; esac
    flags=$(sed 's/^ *//; s/ *$//' <<< "$flags")
    XLA_FLAGS="${XLA_FLAGS:-} $flags" measure "flags_$name" --modes=train --batch="$train_one" < /dev/null
  done < <(grep -v '^#' tools/xla_flags)
fi

if [ -n "${CACHE:-}" ] && { wanted train || wanted profile; }; then
  [ -d "$OUT/cache" ] || step unpack "$PYTHON" tools/pack_cache.py unpack "$CACHE" "$OUT/cache"
  left=$((LIMIT_S - SECONDS - 45))  # scoring and the report need the rest
  if [ "$left" -gt 5 ]; then
    profile=(); wanted profile && profile=(--profile="${PROFILE:-20:25}")
    step train "$PYTHON" -m a3dcae_jax.main --config="$CONFIG" --config.data.cache="$OUT/cache" --config.train.time_limit_s="$left" \
      --workdir="$OUT/run" "${profile[@]}" ${TRAIN_FLAGS:-}
    wanted profile && step kernels "$PYTHON" tools/top_kernels.py "$OUT/run/profile" --count=30 --json="$OUT/kernels.json"
  else
    left_out="$left_out train"; printf '== train LEFT OUT: no time\n'
  fi
  rm -rf "$OUT/cache"
fi
printf '== done in %d s%s%s\n' "$SECONDS" "${failed:+, FAILED:$failed}" "${left_out:+, LEFT OUT:$left_out}"
[ -z "$failed" ]
