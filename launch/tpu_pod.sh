#!/usr/bin/env bash
# Trains on a Cloud TPU slice: asks for it as a queued resource, installs on every host, starts the same command on all of them, and starts it
# again where it was preempted.
#
#   PROJECT=my-project ZONE=us-west4-a TYPE=v5litepod-16 SOURCE=git+https://HOST/a3dcae_jax \
#     bash launch/tpu_pod.sh --config=configs/avenue.py --config.data.cache=/mnt/disks/share/avenue --workdir=/mnt/disks/share/runs/avenue
#
# What follows goes to a3dcae_jax.main. DRY_RUN=1 prints the commands only. SPOT=1 asks for preemptible machines. RUNTIME: the machines' software.
# SOURCE: what pip installs; NAME: of the queued resource. The queued resource stays when the run has ended; the last line says how to delete it.
set -euo pipefail
: "${PROJECT:?set PROJECT}" "${ZONE:?set ZONE}" "${SOURCE:?set SOURCE to what pip installs, as in git+https://HOST/a3dcae_jax}"
NAME=${NAME:-a3dcae} TYPE=${TYPE:-v5litepod-16} RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite} SPOT=${SPOT:-} DRY_RUN=${DRY_RUN:-}
RETRIES=${RETRIES:-20}
place=(--project="$PROJECT" --zone="$ZONE")

run() {  # run COMMAND...: prints it, and does it unless DRY_RUN is set
  printf '+ %s\n' "$*"
  [ -n "$DRY_RUN" ] || "$@"
}

on_all_hosts() { run gcloud compute tpus tpu-vm ssh "$NAME" "${place[@]}" --worker=all --command="$1"; }

quoted=''
[ "$#" -gt 0 ] || { echo 'error: no flags for a3dcae_jax.main, as in --config=configs/avenue.py --workdir=/mnt/disks/share/runs/avenue' >&2; exit 2; }
printf -v quoted '%q ' "$@"

spot=()
[ -z "$SPOT" ] || spot=(--spot)
run gcloud compute tpus queued-resources create "$NAME" "${place[@]}" --node-id="$NAME" --accelerator-type="$TYPE" --runtime-version="$RUNTIME" \
  ${spot[@]+"${spot[@]}"}
state=''
until [ "$state" = ACTIVE ] || [ -n "$DRY_RUN" ]; do
  sleep 30
  state=$(gcloud compute tpus queued-resources describe "$NAME" "${place[@]}" --format='value(state.state)')
  echo "queued resource $NAME: $state"
  case $state in FAILED | SUSPENDED) exit 1 ;; esac
done
on_all_hosts "pip install -q '${SOURCE}' 'jax[tpu]' -f https://storage.googleapis.com/jax-releases/libtpu_releases.html"
# The hosts find each other by the machines' metadata. 75: preempted and saved; 76, 134: a host was lost; 255: ssh lost the host.
for ((try = 1; try <= RETRIES; try++)); do
  status=0
  on_all_hosts "PYTHONUNBUFFERED=1 python3 -m a3dcae_jax.main ${quoted}" || status=$?
  echo "try $try ended with status $status"
  case $status in 75 | 76 | 134 | 255) sleep 20 ;; *) break ;; esac
done
printf 'to give the machines back: gcloud compute tpus queued-resources delete %s --project=%s --zone=%s --force\n' "$NAME" "$PROJECT" "$ZONE"
exit "$status"
