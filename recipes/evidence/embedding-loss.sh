#!/usr/bin/env bash
# Does the Embedding Loss earn its place? Batch 16, three seeds, Fréchet-LeNet of the averaged student after the first third
# of a 300-step run and at its end; controls: Embedding Loss alone, and batch 64 without it.
#
#   recipes/evidence/embedding-loss.sh [OUT]     about 25 minutes on two cores; writes embedding-loss.csv and .table.md beside itself
#   SEEDS and VARIANTS in the environment restrict it; rows already in the csv are kept
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
retort=${RETORT:-$here/../../retort}
out=${1:-$(mktemp -d)}
csv=$here/embedding-loss.csv
steps=300
seeds=${SEEDS:-1 2 3}
variants=${VARIANTS:-with_el without_el el_only large_batch}
common=(--set evaluation.count=0 --set save.samples=1000000
  --set dmd2.batch=16 --set dmd2.real_batch=64 --set dmd2.student.cooldown=0 --set dmd2.critic.cooldown=0)

options() {
  case $1 in
    with_el) echo --set dmd2.embedding.weight=1 ;;
    without_el) echo --set dmd2.embedding.weight=0 ;;
    el_only) echo --set dmd2.embedding.weight=1 --set dmd2.distribution_matching=0 --set dmd2.gan=0 ;;
    large_batch) echo --set dmd2.embedding.weight=0 --set dmd2.batch=64 ;;
  esac
}

# The averaged student's row of a run, as name=value of one metric.
metric() { sed -n "s/.*\"$1\": *\([-0-9.eE]*\).*/\1/p" <<<"$2" | head -n 1; }

[[ -f $csv ]] || echo "variant,seed,steps,frechet_lenet,precision,recall,seconds" >"$csv"
for n in ${STEPS:-$((steps / 3)) $steps}; do
  for seed in $seeds; do
    for variant in $variants; do
      [[ $n == "$steps" && $variant != with_el && $variant != without_el ]] && continue
      grep -q "^$variant,$seed,$n," "$csv" && continue
      run=$out/$variant-$seed-$n
      rm -rf "$run"
      start=$SECONDS
      # shellcheck disable=SC2046
      "$retort" distill --out "$run" --seed "$seed" --steps "$n" "${common[@]}" $(options "$variant") >/dev/null
      took=$((SECONDS - start))
      rows=$("$retort" eval "$run" --data fashion-mnist-embedded --metrics frechet,prdc --count 1000 --steps 1 --json 2>/dev/null |
        sed -n '/"name": "model"/,/}/p')
      echo "$variant,$seed,$n,$(metric frechet_lenet "$rows"),$(metric precision "$rows"),$(metric recall "$rows"),$took" |
        tee -a "$csv" >&2
    done
  done
done

# Medians over seeds.
{
  echo "| run | steps | Fréchet-LeNet, median (each seed) |"
  echo "|---|---|---|"
  tail -n +2 "$csv" | cut -d, -f1,3 | sort -u | while IFS=, read -r variant n; do
    values=$(awk -F, -v v="$variant" -v n="$n" '$1 == v && $3 == n {printf "%.2f\n", $4}' "$csv" | sort -g)
    median=$(awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}' <<<"$values")
    echo "| $variant | $n | **$median** ($(tr '\n' ' ' <<<"$values" | sed 's/ $//')) |"
  done
} >"$here/embedding-loss.table.md"
cat "$here/embedding-loss.table.md"
