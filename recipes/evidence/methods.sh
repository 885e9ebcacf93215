#!/usr/bin/env bash
# What every distillation method reaches from one teacher in 200 steps of 16 images, and the same without the method's first idea: Fréchet-LeNet of the
# averaged student over steps and over seconds, medians of three seeds, in one page.
#
#   recipes/evidence/methods.sh [RUNS]     runs that are in the folder RUNS are kept; a run that was stopped goes on
#
# Writes METHODS.md, methods.csv and three figures beside itself; about two hours on two cores. SEEDS, STEPS, BATCH and RECIPES in the environment change it; JOBS runs go side
# by side, of one thread each, so that their seconds can be compared with each other.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
retort=${RETORT:-$here/../../retort}
runs=${1:-$(mktemp -d)}
seeds=${SEEDS:-1 2 3}
steps=${STEPS:-200}
batch=${BATCH:-16}
count=${COUNT:-500}
jobs=${JOBS:-2}
recipes=${RECIPES:-$("$retort" methods --json | grep -o '"fashion-mnist-[a-z0-9-]*"' | tr -d '"' | sort -u |
  grep -v -e teacher -e metric-net -e unet2d -e dit)}
mkdir -p "$runs"

# What a recipe says in steps or pairs for its own length, here shortened likewise.
shortened() {
  case $1 in
    fashion-mnist-dmd) echo dmd.pairs=512 ;;
    fashion-mnist-sida) echo sid.critic_alone=20 sid.gan_from=60 ;;
    fashion-mnist-adm) echo adm.pairs=512 adm.pretraining=60 ;;
    fashion-mnist-nitrofusion) echo nitrofusion.pairs=512 nitrofusion.warmup=40 ;;
    fashion-mnist-msd-small) echo msd.matching_steps=80 ;;
    fashion-mnist-scd | fashion-mnist-sct) echo scm.tangent_warmup=60 ;;
    fashion-mnist-snoopi) echo "snoopi.teacher=$runs/teacher-guided" ;;
  esac
}

compare() {
  RETORT_THREADS=1 "$retort" compare "${@:3}" --controls 1 --seeds "$2" --set steps="$steps" --set evaluation.every=$((steps / 2)) --set evaluation.count="$count" \
    --set evaluation.teacher_steps=1 --set save.samples=1000000 --out "$1"
}

one() {
  local set sets=() method
  method=$(sed -n 's/^method: *//p' "$here/../$1.yaml")
  for set in "$method.batch=$batch" $(shortened "$1"); do
    sets+=(--set "$set")
  done
  printf '%s, seed %s\n' "$1" "$2"
  compare "$runs" "$2" "$1" "${sets[@]}" >/dev/null 2>"$runs/$1-$2.log" || printf '%s, seed %s: see %s\n' "$1" "$2" "$runs/$1-$2.log" >&2
}

if [[ $recipes == *snoopi* && ! -e $runs/teacher-guided/summary.json ]]; then
  rm -rf "$runs/teacher-guided"
  "$retort" train fashion-mnist-teacher-guided --set precision=bfloat16 --out "$runs/teacher-guided" >/dev/null
fi
export -f one compare shortened
export here runs steps batch count retort
for seed in $seeds; do
  for recipe in $recipes; do
    printf '%s %s\n' "$recipe" "$seed"
  done
done | xargs -P "$jobs" -L 1 bash -c 'one "$@"' one

# shellcheck disable=SC2086
compare "$runs" "${seeds// /,}" $recipes >/dev/null
{
  cat <<END
# Every method, $steps steps of $batch images

Made by \`recipes/evidence/methods.sh\` at commit $(git -C "$here" rev-parse --short HEAD), seeds $seeds, $(nproc) cores, $jobs runs at a time of one thread each, so that seconds
can be compared with each other and with nothing else. One teacher (the embedded one), embedded Fashion-MNIST, n images a measurement, Fréchet
distance in the features of \`lenet-fashion-mnist-embedded\`; not comparable with published FID. A run is \`retort distill RECIPE --seed S --set
steps=$steps --set METHOD.batch=$batch\` with what the recipe says in steps shortened likewise (\`shortened\` in the script); the recipes' cooldowns are
longer than the run, so that every learning rate falls from half its value to nothing along them; without the method's first idea, which the
recipe's method names itself (\`retort distill RECIPE --controls\` runs all of them). "Works" needs a gain above twice the larger standard deviation over the
seeds. What it says about each method is in [README.md](README.md).

![samples](methods-samples.svg)

![by steps](methods.svg)

![by wall time](methods-wall.svg)

END
  cat "$runs/comparison.md"
} >"$here/METHODS.md"
cp "$runs/comparison.csv" "$here/methods.csv"
cp "$runs/comparison.svg" "$here/methods.svg"
cp "$runs/comparison-wall.svg" "$here/methods-wall.svg"
cp "$runs/comparison-samples.svg" "$here/methods-samples.svg"
