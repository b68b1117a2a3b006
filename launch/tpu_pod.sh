#!/usr/bin/env bash
# Train on a Cloud TPU slice: ask for it as a queued resource, install on all hosts, start the same
# command on all of them, and start it again after a preemption.
#
#   PROJECT=my-project ZONE=us-west4-a TYPE=v5litepod-16 SOURCE=git+https://HOST/a3dcae_jax \
#     bash launch/tpu_pod.sh --config=configs/avenue.py \
#     --config.data.cache=/mnt/disks/share/avenue --workdir=/mnt/disks/share/runs/avenue
#
# All flags go to a3dcae_jax.main. SOURCE: what pip installs. NAME: of the queued resource. RUNTIME:
# software of the machines. SPOT=1: preemptible machines. RETRIES: how often the run is started.
# DRY_RUN=1: print the commands only. The queued resource stays when the run has ended; the last
# line says how to delete it.
set -euo pipefail
: "${PROJECT:?set PROJECT}" "${ZONE:?set ZONE}"
: "${SOURCE:?set SOURCE to what pip installs, as in git+https://HOST/a3dcae_jax}"
NAME=${NAME:-a3dcae}
TYPE=${TYPE:-v5litepod-16}
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}
SPOT=${SPOT:-}
DRY_RUN=${DRY_RUN:-}
RETRIES=${RETRIES:-20}
RELEASES=https://storage.googleapis.com/jax-releases/libtpu_releases.html
place=(--project="$PROJECT" --zone="$ZONE")

# run COMMAND...: print a command, and run it unless DRY_RUN is set.
run() {
  printf '+ %s\n' "$*"
  [ -n "$DRY_RUN" ] || "$@"
}

on_all_hosts() {
  run gcloud compute tpus tpu-vm ssh "$NAME" "${place[@]}" --worker=all --command="$1"
}

if [ "$#" -eq 0 ]; then
  echo 'error: no flags for a3dcae_jax.main, as in --config=FILE --workdir=DIR' >&2
  exit 2
fi
printf -v quoted '%q ' "$@"

spot=()
[ -z "$SPOT" ] || spot=(--spot)
run gcloud compute tpus queued-resources create "$NAME" "${place[@]}" --node-id="$NAME" \
  --accelerator-type="$TYPE" --runtime-version="$RUNTIME" ${spot[@]+"${spot[@]}"}
state=''
until [ "$state" = ACTIVE ] || [ -n "$DRY_RUN" ]; do
  sleep 30
  state=$(gcloud compute tpus queued-resources describe "$NAME" "${place[@]}" \
    --format='value(state.state)')
  echo "queued resource $NAME: $state"
  case $state in FAILED | SUSPENDED) exit 1 ;; esac
done
on_all_hosts "pip install -q '${SOURCE}' 'jax[tpu]' -f $RELEASES"
# The hosts find each other by the metadata of the machines. 75: preempted and saved; 76 and 134: a
# host was lost; 255: ssh lost the host.
for ((try = 1; try <= RETRIES; try++)); do
  status=0
  on_all_hosts "PYTHONUNBUFFERED=1 python3 -m a3dcae_jax.main ${quoted}" || status=$?
  echo "try $try ended with status $status"
  case $status in 75 | 76 | 134 | 255) sleep 20 ;; *) break ;; esac
done
echo 'to give the machines back:'
echo "gcloud compute tpus queued-resources delete $NAME ${place[*]} --force"
exit "$status"
