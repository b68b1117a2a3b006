#!/usr/bin/env bash
# Measure everything on a GPU with one command, the most important first:
#
#   CACHE=packed.npz OUT=results PEER=torch_peer.py LIMIT_S=560 bash tools/gpu_check.sh
#
# Parts, in this order (SKIP leaves some out):
#   benchmark       scoring and training step at several batches
#   peer            the fastest batch beside a reference implementation, as it is and compiled
#   trace           the kernels that take the time
#   check           the operators and one step against the CPU
#   rates           each convolution by itself
#   stream          cameras that `detect` carries; needs av, and is left out without
#   conv_algorithm, polyphase, input_pipeline, remat     the step with other settings
#   flags           the step with the XLA flags of tools/xla_flags
#   profile, train  a training run for the remaining time, traced and scored
#
# Python needs the packages of setup.cfg without tensorflow-cpu, tensorflow-datasets and av. Small
# ones that the machine lacks (ml_collections, bokeh, tensorboardX, importlib_resources) can be
# carried as wheels in the folder WHEELS, which is installed first. No videos are needed.
#
# Files:     CACHE: a frame cache packed by `python -m tools.pack_cache`; without it nothing is
#            profiled or trained. PEER: script of the reference implementation, PEER_PYTHON its
#            Python, PEER_OPTIONS its compiler's flags, LAYOUTS the values of its --layout.
# Results:   in OUT. After each part OUT/results.tgz holds all of them but traces. Compiled programs
#            are kept in OUT/.cache, so only the first `compiled in` of a program is a compilation.
# Time:      LIMIT_S for everything, of which TRAIN_S are kept for profile and training; PART_S for
#            one part, PEER_S with the reference implementation. A part without time to start is
#            left out and named. A part that takes too long is ended and keeps its results so far.
#            Then raise LIMIT_S, or run again with SKIP.
# Settings:  CONFIG, TRAIN_FLAGS and PROFILE of the training run; PRESET, BATCHES, TRAIN_BATCHES,
#            REPS, PAIRS, INPUT_PIPELINES and FLAG_SETS of the benchmarks; CHECK_PRESET; PYTHON.
#
# Ten minutes are not enough for both the compiled reference implementation and all updates of
# `paper`. Two runs are, each in a lease of its own:
#
#   rest='trace check stream rates conv_algorithm polyphase input_pipeline remat flags profile'
#   PEER=torch_peer.py LAYOUTS=ndhwc BATCHES=32 TRAIN_BATCHES=16 SKIP="benchmark train $rest" \
#     PART_S=570 PEER_S=570 LIMIT_S=580 bash tools/gpu_check.sh
#   CACHE=packed.npz SKIP="benchmark peer $rest" TRAIN_FLAGS=--config.seed=1 LIMIT_S=280 \
#     bash tools/gpu_check.sh
set -uo pipefail
cd "$(dirname "$0")/.." || exit
OUT=${OUT:-gpu_check}
CACHE=${CACHE:-}
PEER=${PEER:-}
WHEELS=${WHEELS:-}
SKIP=${SKIP:-}
PYTHON=${PYTHON:-python3}
CONFIG=${CONFIG:-configs/ucsd_ped2.py:paper}
TRAIN_FLAGS=${TRAIN_FLAGS:-}
PROFILE=${PROFILE:-20:25}
PRESET=${PRESET:-paper}
CHECK_PRESET=${CHECK_PRESET:-small}
BATCHES=${BATCHES:-16,32,64}
TRAIN_BATCHES=${TRAIN_BATCHES:-16,32}
INPUT_PIPELINES=${INPUT_PIPELINES:-none,device_cached}
REPS=${REPS:-9}
PAIRS=${PAIRS:-2}
LAYOUTS=${LAYOUTS-ndhwc ncdhw}
PEER_PYTHON=${PEER_PYTHON:-$PYTHON}
PEER_OPTIONS=${PEER_OPTIONS---compile max-autotune}
FLAG_SETS=${FLAG_SETS:-$(grep -v '^#' tools/xla_flags | cut -d'|' -f1 | tr -d ' ' | tr '\n' ' ')}
LIMIT_S=${LIMIT_S:-560}
TRAIN_S=${TRAIN_S:-120}
PART_S=${PART_S:-200}
PEER_S=${PEER_S:-360}
[ -n "$CACHE" ] || TRAIN_S=0
mkdir -p "$OUT"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1
export XLA_PYTHON_CLIENT_PREALLOCATE=${XLA_PYTHON_CLIENT_PREALLOCATE:-false}
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$(realpath "$OUT")/.cache}
failed=''
left_out=''

# wanted WORD: whether SKIP does not have it.
wanted() { case " $SKIP " in *" $1 "*) return 1 ;; *) return 0 ;; esac; }

# step NAME COMMAND...: run a command, keep its log, and continue whatever its status.
step() {
  local name=$1
  shift
  printf '== %s (%d s so far)\n' "$name" "$SECONDS"
  if ! "$@" > >(tee "$OUT/$name.log") 2>&1; then
    failed="$failed $name"
    printf '== %s FAILED\n' "$name"
  fi
  collect
}

# collect: pack all results but traces.
collect() {
  (
    cd "$OUT" || exit
    find . \( -path ./.site -o -path ./.cache -o -path ./cache \) -prune -o -type f \
      \( -name '*.json' -o -name '*.jsonl' -o -name '*.log' -o -name '*.csv' -o -name '*.html' \) \
      -print0 | tar --null -T - -czf results.tgz
  )
}

# within NAME COMMAND...: a step that takes at most PART_S and leaves TRAIN_S of LIMIT_S.
within() {
  local name=$1
  local seconds=$((LIMIT_S - TRAIN_S - SECONDS))
  shift
  if [ "$seconds" -lt 20 ]; then
    left_out="$left_out $name"
    printf '== %s LEFT OUT: no time\n' "$name"
    return
  fi
  [ "$seconds" -le "$PART_S" ] || seconds=$PART_S
  step "$name" timeout --kill-after=10 "$seconds" "$@"
}

# measure NAME FLAGS...: run `benchmark`, with its figures in NAME.json.
measure() {
  local name=$1
  shift
  within "benchmark_$name" "$PYTHON" -m a3dcae_jax.benchmark --compilation_cache \
    --preset="$PRESET" --reps="$REPS" --json="$OUT/$name.json" "$@"
}

# tool NAME TOOL FLAGS...: run a script of tools/.
tool() {
  local name=$1
  local script=$2
  shift 2
  within "$name" "$PYTHON" -m "tools.$script" "$@"
}

environment() {
  nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv 2>/dev/null \
    || echo 'no nvidia-smi'
  "$PYTHON" - <<'PY'
import platform, jax, flax, optax, orbax.checkpoint
print('python', platform.python_version(), 'jax', jax.__version__, 'flax', flax.__version__)
print('optax', optax.__version__, jax.devices())
PY
}

# best MODE BATCHES: the fastest batch that was measured in a mode, or the first of BATCHES.
best() {
  "$PYTHON" - "$OUT/$1.json" "${2%%,*}" <<'PY'
import json, sys
try:
  rows = json.load(open(sys.argv[1]))['rows']
  print(max(rows, key=lambda row: row['frames_per_s'])['batch'])
except (OSError, ValueError):
  print(sys.argv[2])
PY
}

# beside_peer LAYOUT [OPTIONS]: both modes at their best batch, training first.
beside_peer() {
  local options="${2-}"
  local name="$1${2:+_compiled}"
  local PART_S=$PEER_S
  [ "$1" = default ] || options="${options:+$options }--layout $1"
  local peer=(--peer="$PEER" --peer_python="$PEER_PYTHON" --peer_options="$options"
    --pairs="$PAIRS")
  measure "train_peer_$name" --modes=train --batch="$train_batch" "${peer[@]}"
  measure "infer_peer_$name" --modes=infer --batch="$infer_batch" "${peer[@]}"
}

# beside_compiled_peer LAYOUT: the same with the flags of its compiler, if there are any.
beside_compiled_peer() { [ -z "$PEER_OPTIONS" ] || beside_peer "$1" "$PEER_OPTIONS"; }

trace() {  # trace MODE BATCH
  tool "trace_$1" trace_step --mode="$1" --preset="$PRESET" --batch="$2" \
    --json="$OUT/kernels_$1.json" --hlo="$OUT/$1.hlo"
}

# with_flag_sets: the training step with each chosen line of tools/xla_flags.
with_flag_sets() {
  local name flags
  while IFS='|' read -r name flags _; do
    name=$(tr -d ' ' <<< "$name")
    case " $FLAG_SETS " in *" $name "*) ;; *) continue ;; esac
    flags=$(sed 's/^ *//; s/ *$//' <<< "$flags")
    XLA_FLAGS="${XLA_FLAGS:-} $flags" measure "flags_$name" --modes=train \
      --batch="$train_batch" < /dev/null
  done < <(grep -v '^#' tools/xla_flags)
}

# train_and_score: a training run on the unpacked cache for the remaining time.
train_and_score() {
  local profile=()
  [ -d "$OUT/cache" ] \
    || step unpack "$PYTHON" -m tools.pack_cache unpack "$CACHE" "$OUT/cache"
  local seconds=$((LIMIT_S - SECONDS - 45))  # scoring and the report take the rest
  if [ "$seconds" -le 5 ]; then
    left_out="$left_out train"
    printf '== train LEFT OUT: no time\n'
    return
  fi
  ! wanted profile || profile=(--profile="$PROFILE")
  # shellcheck disable=SC2086  # TRAIN_FLAGS are several words
  step train "$PYTHON" -m a3dcae_jax.main --config="$CONFIG" --workdir="$OUT/run" \
    --config.data.cache="$OUT/cache" --config.train.time_limit_s="$seconds" \
    "${profile[@]}" $TRAIN_FLAGS
  ! wanted profile || step kernels "$PYTHON" -m tools.top_kernels "$OUT/run/profile" --count=30 \
    --json="$OUT/kernels.json"
}

if [ -n "$WHEELS" ]; then
  step wheels "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --upgrade \
    --target "$OUT/.site" "$WHEELS"/*.whl
  export PYTHONPATH="$OUT/.site:$PYTHONPATH"
fi
step environment environment

if wanted benchmark; then
  measure infer --modes=infer --batch="$BATCHES"
  measure train --modes=train --batch="$TRAIN_BATCHES"
fi
infer_batch=$(best infer "$BATCHES")  # for the parts that try one batch
train_batch=$(best train "$TRAIN_BATCHES")
with_peer=''
[ -z "$PEER" ] || ! wanted peer || with_peer=yes
: "${LAYOUTS:=default}"
first_layout=${LAYOUTS%% *}
[ -z "$with_peer" ] || beside_peer "$first_layout"
if wanted trace; then
  trace infer "$infer_batch"
  trace train "$train_batch"
fi
[ -z "$with_peer" ] || beside_compiled_peer "$first_layout"
! wanted check || tool check check_device --json="$OUT/check.json" --preset="$CHECK_PRESET"
if [ -n "$with_peer" ]; then
  for layout in ${LAYOUTS#"$first_layout"}; do
    beside_peer "$layout"
    beside_compiled_peer "$layout"
  done
fi
if wanted stream; then
  if "$PYTHON" - av <<< 'import av' 2> /dev/null; then
    within benchmark_stream "$PYTHON" -m a3dcae_jax.benchmark --modes=stream --preset="$PRESET" \
      --seconds=5 --json="$OUT/stream.json"
  else
    left_out="$left_out stream"
    printf '== stream LEFT OUT: no av\n'
  fi
fi
! wanted rates || tool rates conv_rates --json="$OUT/rates.json" --batch="$infer_batch"
if wanted conv_algorithm; then
  measure infer_folded --modes=infer --batch="$infer_batch" --conv_algorithm=folded
  measure train_folded --modes=train --batch="$train_batch" --conv_algorithm=folded
fi
if wanted polyphase; then
  measure infer_no_polyphase --modes=infer --batch="$infer_batch" --polyphase=false
  measure train_no_polyphase --modes=train --batch="$train_batch" --polyphase=false
fi
! wanted input_pipeline || measure input_pipeline --modes=train --batch="$train_batch" --steps=6 \
  --input_pipeline="$INPUT_PIPELINES"
! wanted remat || measure remat --modes=train --batch="$TRAIN_BATCHES" --remat=blocks
! wanted flags || with_flag_sets
if [ -n "$CACHE" ] && { wanted train || wanted profile; }; then
  train_and_score
  rm -rf "$OUT/cache"
fi

printf '== done in %d s' "$SECONDS"
[ -z "$failed" ] || printf ', FAILED:%s' "$failed"
[ -z "$left_out" ] || printf ', LEFT OUT:%s' "$left_out"
echo
[ -z "$failed" ]
