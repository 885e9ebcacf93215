#!/usr/bin/env bash
# Does the Embedding Loss earn its place? Batch 16, three seeds, Fréchet-LeNet of the averaged student every 50 steps of a
# 300-step run; controls: batch 64 without it (to the first third) and, of DMD2, the Embedding Loss alone.
#
#   recipes/evidence/embedding-loss.sh [RUNS]     about 15 minutes on two cores; runs that are in the folder RUNS are kept
#
# METHOD is dmd2 (writes embedding-loss.csv, .md and .svg), diff_instruct, consistency or dmd (embedding-loss-METHOD.*), into OUT or beside itself.
# SEEDS, VARIANTS (with_el, with_el-WEIGHT, without_el, el_only, large_batch), EVERY and LARGE_STEPS in the environment change it; OPTIONS go to every
# run (`--device cuda`); JOBS runs go side by side.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
retort=${RETORT:-$here/../../retort}
runs=${1:-$(mktemp -d)}
seeds=${SEEDS:-1 2 3}
method=${METHOD:-dmd2}
variants=${VARIANTS:-with_el without_el el_only large_batch}
large_steps=${LARGE_STEPS:-100}
out=${OUT:-$here}
common=(--set evaluation.every="${EVERY:-50}" --set evaluation.teacher_steps=1 --set save.samples=1000000 --set "$method.batch=16"
  --set "$method.student.cooldown=0" ${OPTIONS:-})
case $method in
  dmd2) recipe=fashion-mnist-dmd2-el name=embedding-loss ;;
  diff_instruct | consistency | dmd)
    recipe=fashion-mnist-${method/_/-} name=embedding-loss-$method variants=${variants/el_only/}
    ;;
  *)
    printf 'METHOD must be dmd2, diff_instruct, consistency or dmd, got %s\n' "$method" >&2
    exit 2
    ;;
esac
[[ $method == consistency ]] || common+=(--set "$method.real_batch=64" --set "$method.critic.cooldown=0")
[[ $method != dmd ]] || common+=(--set dmd.pairs=512)
common_options=${common[*]} # arrays cannot be exported
mkdir -p "$runs" "$out"

options() {
  case $1 in
    with_el) echo --steps 300 --set "$method.embedding.weight=1" ;;
    with_el-*) echo --steps 300 --set "$method.embedding.weight=${1#*-}" ;;
    without_el) echo --steps 300 --set "$method.embedding.weight=0" ;;
    el_only) echo --steps 100 --set dmd2.embedding.weight=1 --set dmd2.distribution_matching=0 --set dmd2.gan=0 ;;
    large_batch) echo --steps "$large_steps" --set "$method.embedding.weight=0" --set "$method.batch=64" ;;
  esac
}

one() {
  local run=$runs/$1-$2
  [[ ! -e $run/summary.json ]] || return 0
  rm -rf "$run"
  # shellcheck disable=SC2046,SC2086
  "$retort" distill "$recipe" --out "$run" --seed "$2" $common_options $(options "$1") >/dev/null 2>"$run.log" ||
    { printf '%s, seed %s: see %s\n' "$1" "$2" "$run.log" >&2 && return 1; }
}
export -f one options
export retort runs recipe method common_options large_steps

for variant in $variants; do
  for seed in $seeds; do
    printf '%s %s\n' "$variant" "$seed"
  done
done | xargs -P "${JOBS:-1}" -L 1 bash -c 'one "$@"' one

groups=()
for variant in $variants; do
  members=()
  for seed in $seeds; do
    members+=("$runs/$variant-$seed")
  done
  groups+=("$variant=$(IFS=,; echo "${members[*]}")")
done

page=$(mktemp -d)
"$retort" compare "${groups[@]}" --out "$page"
for kind in csv md svg; do
  cp "$page/comparison.$kind" "$out/$name.$kind"
done
