#!/usr/bin/env bash
# What every distillation method reaches from one teacher in 200 steps of 16 images, and the same without the method's first idea: Fréchet-LeNet of the
# averaged student over steps and over seconds, medians of three seeds, in one page.
#
#   recipes/evidence/methods.sh [RUNS]     runs that are in the folder RUNS are kept; a run that was stopped goes on
#
# Writes METHODS.md, methods.csv and three figures into OUT, the folder of this script if the environment does not say; about two hours on two cores.
# SEEDS, STEPS, BATCH, COUNT and RECIPES in the environment change it; STEPS or BATCH set to nothing mean each recipe's own. OPTIONS go to every run
# (`--device cuda`). JOBS runs go side by side, of one thread each, so that their seconds can be compared with each other. After SECONDS_AT_MOST no
# further run is started, and what has all its seeds by then is compared.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
retort=${RETORT:-$here/../../retort}
runs=${1:-$(mktemp -d)}
seeds=${SEEDS:-1 2 3}
steps=${STEPS-200}
batch=${BATCH-16}
out=${OUT:-$here}
options=${OPTIONS:-}
count=${COUNT:-500}
jobs=${JOBS:-2}
recipes=${RECIPES:-$("$retort" methods --json | grep -o '"fashion-mnist-[a-z0-9-]*"' | tr -d '"' | sort -u |
  grep -v -e teacher -e metric-net -e unet2d -e dit)}
deadline=$(($(date +%s) + ${SECONDS_AT_MOST:-1000000}))
mkdir -p "$runs" "$out"

# What a recipe says for its own length, here shortened likewise; some students' rates for 900 steps are too small for 200.
shortened() {
  case ${steps:+$1} in
    fashion-mnist-dmd) echo dmd.pairs=512 ;;
    fashion-mnist-sida) echo sid.critic_alone=20 sid.gan_from=60 ;;
    fashion-mnist-adm) echo adm.pairs=512 adm.pretraining=60 adm.student.lr=5e-5 ;;
    fashion-mnist-dmd2-two-step) echo dmd2.student.lr=3e-4 ;;
    fashion-mnist-flash-dmd) echo flash_dmd.student.lr=3e-4 ;;
    fashion-mnist-gndmr) echo gndm.student.lr=3e-4 ;;
    fashion-mnist-nitrofusion) echo nitrofusion.pairs=512 nitrofusion.warmup=40 nitrofusion.student.lr=2e-4 ;;
    fashion-mnist-msd-small) echo msd.matching_steps=80 ;;
    fashion-mnist-scd | fashion-mnist-sct) echo scm.tangent_warmup=60 ;;
  esac
  [[ $1 != fashion-mnist-snoopi ]] || echo "snoopi.teacher=$runs/teacher-guided"
}

compare() {
  local set length=(--set evaluation.every=300)
  [[ ! $steps ]] || length=(--set steps="$steps" --set evaluation.every=$((steps / 2)))
  # shellcheck disable=SC2086
  RETORT_THREADS=1 "$retort" compare "${@:3}" --controls 1 --seeds "$2" "${length[@]}" --set evaluation.count="$count" \
    --set evaluation.teacher_steps=1 --set save.samples=1000000 --out "$1" $options
}

one() {
  local set sets=() method
  [[ ! -e $runs/$1-$2.done ]] && (($(date +%s) < deadline)) || return 0
  until [[ $1 != fashion-mnist-snoopi || -e $runs/teacher-guided/summary.json ]]; do
    kill -0 "$training" 2>/dev/null || { printf '%s has no teacher: see %s\n' "$1" "$runs/teacher-guided.log" >&2 && return 0; }
    sleep 1
  done
  method=$(sed -n 's/^method: *//p' "$here/../$1.yaml")
  for set in ${batch:+"$method.batch=$batch"} $(shortened "$1"); do
    sets+=(--set "$set")
  done
  printf '%s, seed %s\n' "$1" "$2"
  if compare "$runs" "$2" "$1" "${sets[@]}" >/dev/null 2>"$runs/$1-$2.log"; then
    touch "$runs/$1-$2.done"
  else
    printf '%s, seed %s: see %s\n' "$1" "$2" "$runs/$1-$2.log" >&2
  fi
}

training=''
if [[ $recipes == *snoopi* && ! -e $runs/teacher-guided/summary.json ]]; then
  rm -rf "$runs/teacher-guided"
  # shellcheck disable=SC2086
  "$retort" train fashion-mnist-teacher-guided --set precision=bfloat16 --out "$runs/teacher-guided" $options >/dev/null 2>"$runs/teacher-guided.log" &
  training=$!
fi
export -f one compare shortened
export here runs steps batch count retort options deadline training
for seed in $seeds; do
  for recipe in $recipes; do
    printf '%s %s\n' "$recipe" "$seed"
  done
done | xargs -P "$jobs" -L 1 bash -c 'one "$@"' one

# What has all its seeds.
whole=()
for recipe in $recipes; do
  for seed in $seeds; do
    [[ -e $runs/$recipe-$seed.done ]] || continue 2
  done
  whole+=("$recipe")
done
[[ ${whole[*]} ]] || {
  printf 'no recipe was run with all its seeds; its words are in %s\n' "$runs" >&2
  exit 1
}
compare "$runs" "${seeds// /,}" "${whole[@]}" >/dev/null
length="each recipe at its own length" shorter=''
if [[ $steps ]]; then
  length="$steps steps${batch:+ of $batch images}"
  shorter="A run is \`retort distill RECIPE --seed S --set steps=$steps${batch:+ --set METHOD.batch=$batch}\` with what the recipe says in steps shortened
likewise (\`shortened\` in the script); the recipes' cooldowns are longer than the run, so that every learning rate falls along it. "
fi
on=${options:+, \`$options\`}
{
  cat <<END
# Methods, ${length}

Made by \`recipes/evidence/methods.sh\` at commit ${COMMIT:-$(git -C "$here" rev-parse --short HEAD)}, seeds $seeds, $(nproc) cores$on, $jobs runs at a time of one thread each, so that
seconds can be compared with each other and with nothing else. One teacher (the embedded one), embedded Fashion-MNIST, n images a measurement, Fréchet
distance in the features of \`lenet-fashion-mnist-embedded\`; not comparable with published FID. "Works" needs a gain above twice the larger standard
deviation over the seeds. Without the method's first idea, which the recipe's method names itself (\`retort distill RECIPE --controls\` runs all of them).
${shorter}What it says about each method is in [README.md](README.md).

![samples](methods-samples.svg)

![by steps](methods.svg)

![by wall time](methods-wall.svg)

END
  cat "$runs/comparison.md"
} >"$out/METHODS.md"
cp "$runs/comparison.csv" "$out/methods.csv"
cp "$runs/comparison.svg" "$out/methods.svg"
cp "$runs/comparison-wall.svg" "$out/methods-wall.svg"
cp "$runs/comparison-samples.svg" "$out/methods-samples.svg"
