#!/usr/bin/env bash
# Which Embedding Loss? One short run (100 steps of 16 images, one seed) for every bank, kernel, estimator, weight, number of networks and of real images,
# one change at a time from weight 1 of the recipes' term, beside each of four methods; Fréchet-LeNet of the averaged student at the end.
#
#   recipes/evidence/embedding-search.sh [RUNS]     about an hour on two cores, one thread a run; runs that are in the folder RUNS are kept
#
# Writes embedding-search.csv beside itself. METHODS, VARIANTS, SEEDS and JOBS in the environment change it; what is in RUNS of
# any variant and seed is listed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
retort=${RETORT:-$here/../../retort}
runs=${1:-$(mktemp -d)}
methods=${METHODS:-dmd2 dmd diff_instruct consistency}
seeds=${SEEDS:-1}
mkdir -p "$runs"

# What a variant changes, as keys of `METHOD.embedding`, or of METHOD with a leading dot.
change() {
  case $1 in
    none) echo weight=0 ;;
    default) ;;
    weight-*) echo "weight=${1#*-}" ;;
    bank-*) echo "bank=${1#*-}" ;;
    kernel-*) echo "kernel=${1#*-}" ;;
    biased) echo unbiased=false ;;
    networks-*) echo "networks=${1#*-}" ;;
    width-*) echo "width=${1#*-}" ;;
    depth-*) echo "depth=${1#*-}" ;;
    real-*) echo ".real_batch=${1#*-}" ;;
  esac
}
# shellcheck disable=SC2206
variants=(${VARIANTS:-none default weight-0.1 weight-0.3 weight-3 weight-10 bank-norm_free bank-instance kernel-linear kernel-polynomial kernel-energy
  biased networks-4 width-128 depth-2 real-16 real-256})

one() {
  local method=$1 variant=$2 seed=$3 run=$runs/$1-$2-$3 set
  local options=(--set "$method.batch=16" --set "$method.student.cooldown=0" --set "$method.embedding.weight=1")
  [[ ! -e $run/summary.json ]] || return 0
  [[ $method == consistency ]] || options+=(--set "$method.real_batch=64" --set "$method.critic.cooldown=0")
  [[ $method != dmd ]] || options+=(--set dmd.pairs=512)
  for set in $(change "$variant"); do
    case $set in
      .*) options+=(--set "$method$set") ;;
      *) options+=(--set "$method.embedding.$set") ;;
    esac
  done
  local recipe=fashion-mnist-${method/_/-}
  [[ $method != dmd2 ]] || recipe+=-el
  rm -rf "$run"
  RETORT_THREADS=1 "$retort" distill "$recipe" --out "$run" --seed "$seed" --steps 100 --set evaluation.every=0 --set evaluation.count=500 \
    --set evaluation.teacher_steps=1 --set save.samples=1000000 "${options[@]}" >/dev/null 2>"$run.log" ||
    printf '%s, %s, seed %s: see %s\n' "$method" "$variant" "$seed" "$run.log" >&2
}
export -f one change
export here retort runs
for seed in $seeds; do
  for method in $methods; do
    for variant in "${variants[@]}"; do
      [[ $method == consistency && $variant == real-* ]] || printf '%s %s %s\n' "$method" "$variant" "$seed"
    done
  done
done | xargs -P "${JOBS:-2}" -L 1 bash -c 'one "$@"' one

{
  printf 'method,variant,seed,frechet_lenet\n'
  for summary in "$runs"/*/summary.json; do
    run=$(basename "$(dirname "$summary")")
    method=${run%%-*} seed=${run##*-} variant=${run#*-}
    printf '%s,%s,%s,%s\n' "$method" "${variant%-*}" "$seed" \
      "$(tr -d ' \n' <"$summary" | sed -n 's/.*"name":"student"[^}]*"frechet_lenet":\([0-9.eE+-]*\).*/\1/p')"
  done
} >"$here/embedding-search.csv"
