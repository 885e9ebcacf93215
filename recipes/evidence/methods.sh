#!/usr/bin/env bash
# What every distillation method reaches from one teacher: Fréchet-LeNet of the averaged student over steps and over seconds, medians of
# three seeds, in one page.
#
#   recipes/evidence/methods.sh [RUNS]     runs that are in the folder RUNS are kept; a run that was stopped goes on
#
# Writes methods.csv, .md and .svg beside itself. SEEDS, STEPS and RECIPES in the environment restrict it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
retort=${RETORT:-$here/../../retort}
runs=${1:-$(mktemp -d)}
seeds=${SEEDS:-1,2,3}
steps=${STEPS:-900}
recipes=${RECIPES:-$("$retort" methods --json | grep -o '"fashion-mnist-[a-z0-9-]*"' | tr -d '"' | sort -u | grep -v -e teacher -e metric-net)}

# shellcheck disable=SC2086
"$retort" compare $recipes --seeds "$seeds" --set steps="$steps" --set evaluation.teacher_steps=1 --set save.samples=1000000 --out "$runs"
for kind in csv md svg; do
  cp "$runs/comparison.$kind" "$here/methods.$kind"
done
