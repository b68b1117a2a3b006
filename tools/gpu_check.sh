#!/usr/bin/env bash
# Measure everything on a GPU with one command, the most important first:
#
#   CACHE=packed.npz OBJECT_CACHE=objects.npz DETECTOR=yolox_nano.onnx PEER=torch_peer.py \
#     OUT=results LIMIT_S=560 bash tools/gpu_check.sh
#
# Parts, in this order (PARTS names those that run, SKIP leaves some out):
#   peer_compiled   the training step beside the compiled reference implementation, then scoring
#   check           the operators and one step against the CPU
#   objects         the programs of objects, also beside a reference implementation; detection, and
#                   the one program from frames to errors
#   train           training runs, scored: train_paper, train_tuned, train_objects; CONFIGS has
#                   others
#   benchmark       scoring and training step at several batches
#   peer            the fastest batch beside the reference implementation as it is; other layouts
#   trace           the kernels that take the time
#   rates           each convolution by itself
#   stream          cameras that `detect` carries; needs av, and is left out without
#   conv_algorithm, polyphase, input_pipeline, remat     the step with other settings
#   flags           the step with the XLA flags of tools/xla_flags
#   profile         with the training runs: some of their updates are traced
#
# Python needs the packages of setup.cfg without tensorflow-cpu, tensorflow-datasets and av. Small
# ones that the machine lacks (ml_collections, bokeh, tensorboardX, importlib_resources) can be
# carried as wheels in the folder WHEELS, which is installed first. No videos are needed.
#
# Files:     CACHE, OBJECT_CACHE: frame caches packed by `python -m tools.pack_cache`, of whole
#            frames and of frames with objects; without them nothing is trained on frames or on
#            objects. DETECTOR: ONNX file of YOLOX. PEER, OBJECT_PEER: scripts of the reference
#            implementations, PEER_PYTHON their Python, PEER_OPTIONS their compiler's flags, LAYOUTS
#            the values of their --layout.
# Results:   in OUT. After each part OUT/results.tgz holds all of them but traces. Compiled programs
#            are kept in OUT/.cache, so only the first `compiled in` of a program is a compilation.
# Time:      LIMIT_S for everything; PART_S for one part, PEER_S with a reference implementation,
#            TRAIN_S for one training run with its scores. A part without time to start is left out
#            and named. A part that takes too long is ended and keeps its results so far. Then raise
#            LIMIT_S, or run again with PARTS or SKIP.
# Settings:  CONFIGS, TRAIN_FLAGS and PROFILE of the training runs; PRESET, BATCHES, TRAIN_BATCHES,
#            OBJECT_BATCHES, REPS, PAIRS, INPUT_PIPELINES and FLAG_SETS of the benchmarks;
#            CHECK_PRESET; PYTHON.
#
# Ten minutes are not enough for everything, but for each of these:
#
#   PARTS=peer_compiled PEER=torch_peer.py LAYOUTS=ndhwc PEER_S=570 LIMIT_S=580 ...
#   PARTS='check objects train_objects' OBJECT_CACHE=objects.npz DETECTOR=yolox_nano.onnx ...
#   PARTS=train_paper CACHE=packed.npz TRAIN_S=570 LIMIT_S=580 ...
set -uo pipefail
cd "$(dirname "$0")/.." || exit
OUT=${OUT:-gpu_check}
CACHE=${CACHE:-}
OBJECT_CACHE=${OBJECT_CACHE:-}
DETECTOR=${DETECTOR:-}
PEER=${PEER:-}
OBJECT_PEER=${OBJECT_PEER:-tools/torch_object_peer.py}
WHEELS=${WHEELS:-}
PARTS=${PARTS:-}
SKIP=${SKIP:-}
PYTHON=${PYTHON:-python3}
ped2=configs/ucsd_ped2.py
CONFIGS=${CONFIGS:-$ped2:paper $ped2:tuned $ped2:objects}
TRAIN_FLAGS=${TRAIN_FLAGS:-}
PROFILE=${PROFILE:-20:25}
PRESET=${PRESET:-paper}
CHECK_PRESET=${CHECK_PRESET:-small}
BATCHES=${BATCHES:-32,16,64}
TRAIN_BATCHES=${TRAIN_BATCHES:-16,32}
OBJECT_BATCHES=${OBJECT_BATCHES:-48,512,2048}
INPUT_PIPELINES=${INPUT_PIPELINES:-none,device_cached}
REPS=${REPS:-9}
PAIRS=${PAIRS:-2}
LAYOUTS=${LAYOUTS-ndhwc ncdhw}
PEER_PYTHON=${PEER_PYTHON:-$PYTHON}
PEER_OPTIONS=${PEER_OPTIONS---compile max-autotune}
FLAG_SETS=${FLAG_SETS:-$(grep -v '^#' tools/xla_flags | cut -d'|' -f1 | tr -d ' ' | tr '\n' ' ')}
LIMIT_S=${LIMIT_S:-560}
TRAIN_S=${TRAIN_S:-240}
PART_S=${PART_S:-200}
PEER_S=${PEER_S:-360}
mkdir -p "$OUT"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1
export XLA_PYTHON_CLIENT_PREALLOCATE=${XLA_PYTHON_CLIENT_PREALLOCATE:-false}
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$(realpath "$OUT")/.cache}
failed=''
left_out=''

# has WORDS WORD: whether the word is one of the words.
has() { case " $1 " in *" $2 "*) return 0 ;; *) return 1 ;; esac; }

# wanted PART: whether PARTS names it, or is empty, and SKIP does not have it.
wanted() { { [ -z "$PARTS" ] || has "$PARTS" "$1"; } && ! has "$SKIP" "$1"; }

# leave_out PART WHY: note a part that does not run.
leave_out() {
  left_out="$left_out $1"
  printf '== %s LEFT OUT: %s\n' "$1" "$2"
}

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
    find . \( -path ./.site -o -path './*cache' \) -prune -o -type f \
      \( -name '*.json' -o -name '*.jsonl' -o -name '*.log' -o -name '*.csv' -o -name '*.html' \) \
      -print0 | tar --null -T - -czf results.tgz
  )
}

# within NAME COMMAND...: a step that takes at most PART_S and what is left of LIMIT_S.
within() {
  local name=$1
  local seconds=$((LIMIT_S - SECONDS))
  shift
  if [ "$seconds" -lt 20 ]; then
    leave_out "$name" 'no time'
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

# unpacked FILE FOLDER: unpack a frame cache, once.
unpacked() {
  [ -d "$OUT/$2" ] || step "unpack_$2" "$PYTHON" -m tools.pack_cache unpack "$1" "$OUT/$2"
}

# measure_objects: the programs of objects, then detection in real frames.
measure_objects() {
  measure objects --modes=object_infer,object_train --batch="$OBJECT_BATCHES"
  if [ -n "$OBJECT_CACHE" ] && [ -n "$DETECTOR" ]; then
    unpacked "$OBJECT_CACHE" object_cache
    measure detection --modes=objects --batch=64,512 --cache="$OUT/object_cache" \
      --detector="$DETECTOR"
  else
    leave_out detection 'no OBJECT_CACHE or no DETECTOR'
  fi
  [ -n "$PEER" ] || return 0
  local options
  for options in '--layout ndhwc' '--layout ndhwc --crops grid --compile default'; do
    PART_S=$PEER_S measure "objects_peer${options//[^a-z]/}" --modes=object_train,object_infer \
      --batch="${OBJECT_BATCHES%%,*}" --peer="$OBJECT_PEER" --peer_python="$PEER_PYTHON" \
      --peer_options="$options" --pairs="$PAIRS"
  done
}

# train_and_score CONFIG: a training run on an unpacked cache, for at most TRAIN_S.
train_and_score() {
  local config=$1
  local variants=${config##*:}
  local name="train_${variants//,/_}"
  if has "$SKIP" train || has "$SKIP" "$name"; then return; fi
  [ -z "$PARTS" ] || has "$PARTS" train || has "$PARTS" "$name" || return
  local cache=cache
  local packed=$CACHE
  case "$variants" in *objects* | *best*) cache=object_cache packed=$OBJECT_CACHE ;; esac
  if [ -z "$packed" ]; then
    leave_out "$name" 'no frame cache'
    return
  fi
  local seconds=$((LIMIT_S - SECONDS))
  [ "$seconds" -le "$TRAIN_S" ] || seconds=$TRAIN_S
  seconds=$((seconds - 45))  # scoring and the report take the rest
  if [ "$seconds" -le 5 ]; then
    leave_out "$name" 'no time'
    return
  fi
  unpacked "$packed" "$cache"
  local profile=()
  ! wanted profile || profile=(--profile="$PROFILE")
  # shellcheck disable=SC2086  # TRAIN_FLAGS are several words
  step "$name" "$PYTHON" -m a3dcae_jax.main --config="$config" --workdir="$OUT/run_${name#train_}" \
    --config.data.cache="$OUT/$cache" --config.train.time_limit_s="$seconds" \
    "${profile[@]}" $TRAIN_FLAGS
  ! wanted profile || step "kernels_${name#train_}" "$PYTHON" -m tools.top_kernels \
    "$OUT/run_${name#train_}/profile" --count=30 --json="$OUT/kernels_${name#train_}.json"
}

if [ -n "$WHEELS" ]; then
  step wheels "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --upgrade \
    --target "$OUT/.site" "$WHEELS"/*.whl
  export PYTHONPATH="$OUT/.site:$PYTHONPATH"
fi
step environment environment

infer_batch=${BATCHES%%,*}  # for the parts that try one batch, until the fastest is known
train_batch=${TRAIN_BATCHES%%,*}
: "${LAYOUTS:=default}"
first_layout=${LAYOUTS%% *}
if [ -n "$PEER" ] && wanted peer_compiled; then
  beside_compiled_peer "$first_layout"
fi
! wanted check || tool check check_device --json="$OUT/check.json" --preset="$CHECK_PRESET"
! wanted objects || measure_objects
for config in $CONFIGS; do
  train_and_score "$config"
done
rm -rf "$OUT/cache" "$OUT/object_cache"
if wanted benchmark; then
  measure infer --modes=infer --batch="$BATCHES"
  measure train --modes=train --batch="$TRAIN_BATCHES"
fi
infer_batch=$(best infer "$BATCHES")
train_batch=$(best train "$TRAIN_BATCHES")
if [ -n "$PEER" ] && wanted peer; then
  beside_peer "$first_layout"
  for layout in ${LAYOUTS#"$first_layout"}; do
    beside_peer "$layout"
    beside_compiled_peer "$layout"
  done
fi
if wanted trace; then
  trace infer "$infer_batch"
  trace train "$train_batch"
fi
! wanted rates || tool rates conv_rates --json="$OUT/rates.json" --batch="$infer_batch"
if wanted stream; then
  if "$PYTHON" - av <<< 'import av' 2> /dev/null; then
    within benchmark_stream "$PYTHON" -m a3dcae_jax.benchmark --modes=stream --preset="$PRESET" \
      --seconds=5 --json="$OUT/stream.json"
  else
    leave_out stream 'no av'
  fi
fi
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

printf '== done in %d s' "$SECONDS"
[ -z "$failed" ] || printf ', FAILED:%s' "$failed"
[ -z "$left_out" ] || printf ', LEFT OUT:%s' "$left_out"
echo
[ -z "$failed" ]
