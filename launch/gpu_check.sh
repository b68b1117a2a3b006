#!/usr/bin/env bash
# Everything there is to measure on a GPU, in one command, results written as they come:
#   environment, correctness against the CPU, benchmark beside the peer, a profile, and then training for the time that is left.
#
#   STORE=packed.npz OUT=results PEER=torch_peer.py LIMIT_S=590 bash launch/gpu_check.sh
#
# STORE: a store packed by launch/pack_store.py (no TensorFlow, no footage needed here); without it nothing is trained.
# PEER: another implementation to alternate with; without it only ours is timed. WHEELS: folder of pure wheels to install first.
# CONFIG, PRESET, BATCHES, REPS, PAIRS, SKIP (words of: check benchmark train): to try it in small, as the tests do on a CPU.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-gpu_check} LIMIT_S=${LIMIT_S:-590} CONFIG=${CONFIG:-configs/ucsd_ped2.py:paper} PRESET=${PRESET:-paper}
BATCHES=${BATCHES:-16,32,64} TRAIN_BATCHES=${TRAIN_BATCHES:-8,16} REPS=${REPS:-9} PAIRS=${PAIRS:-2} SKIP=${SKIP:-}
PYTHON=${PYTHON:-python3}
mkdir -p "$OUT"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=${XLA_PYTHON_CLIENT_PREALLOCATE:-false}
failed=''

step() {  # step NAME COMMAND...: runs it, keeps its log, goes on whatever it gives
  local name=$1; shift
  printf '== %s (%d s so far)\n' "$name" "$SECONDS"
  "$@" > >(tee "$OUT/$name.log") 2>&1 || { failed="$failed $name"; printf '== %s FAILED\n' "$name"; }
}

wanted() { case " $SKIP " in *" $1 "*) return 1 ;; *) return 0 ;; esac; }

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
wanted check && step check "$PYTHON" launch/check_device.py --json="$OUT/check.json" --preset="${CHECK_PRESET:-small}"
peer=()
[ -n "${PEER:-}" ] && peer=(--peer="$PEER" --peer_python="${PEER_PYTHON:-$PYTHON}" --peer_options="${PEER_OPTIONS---compile max-autotune}" --pairs="$PAIRS")
if wanted benchmark; then
  step benchmark_infer "$PYTHON" -m a3dcae_jax.benchmark --preset="$PRESET" --modes=infer --batch="$BATCHES" --reps="$REPS" --json="$OUT/infer.json" "${peer[@]}"
  step benchmark_train "$PYTHON" -m a3dcae_jax.benchmark --preset="$PRESET" --modes=train --batch="$TRAIN_BATCHES" --reps="$REPS" --json="$OUT/train.json" "${peer[@]}"
fi
left=$((LIMIT_S - SECONDS - 45))  # scoring and the report need the rest
if wanted train && [ -n "${STORE:-}" ] && [ "$left" -gt 5 ]; then
  [ -d "$OUT/store" ] || step unpack "$PYTHON" launch/pack_store.py unpack "$STORE" "$OUT/store"
  step train "$PYTHON" -m a3dcae_jax.main --config="$CONFIG" --config.data.store="$OUT/store" --config.train.time_limit_s="$left" \
    --workdir="$OUT/run" ${TRAIN_FLAGS:-}
  rm -rf "$OUT/store"
fi
printf '== done in %d s%s\n' "$SECONDS" "${failed:+, FAILED:$failed}"
[ -z "$failed" ]
