#!/bin/sh
# Train the `moving-shapes` model from nothing but `shapes`, on one CPU core; put it in place, or
# into a folder that is named, and measure it.
# Interrupt it whenever you like; run again, it continues from the last checkpoint.
#
#   benchmarks/reproduce_moving_shapes.sh [WORKING_FOLDER [MODEL_FOLDER]]
#
# The first of the three parts teaches directions, the second to draw, the third colours and shapes. The
# model that ships was made likewise, but its first part had a second background: its card tells how.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-runs/moving-shapes}
model=${2:-pipelines/ldm_pipelines/models/moving-shapes}
bin=.venv/bin
[ -x "$bin/ldm" ] || bin=$(dirname "$(command -v ldm)")

export OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1

train() {  # the part's folder, and its options
    part=$1
    shift
    [ -d "$runs/$part/model" ] ||
        "$bin/python" -m ldm_pipelines.moving_shapes.training "$runs/$part" "$@"
}
on() {  # a later part: the folder of the one before, and options
    before=$1
    shift
    train "$@" --from-model "$runs/$before/model" --quiet-steps 0 --noisy-steps 0 --learning-rate 1e-3
}
train first --steps 1205
on first second --steps 1100 --seed 1
on second third --steps 420 --seed 2 --lean 1

mkdir -p "$model"
for part in model_index.json scheduler text_encoder tokenizer unet vae; do
    rm -rf "${model:?}/$part"
    cp -R "$runs/third/model/$part" "$model/$part"
done
"$bin/python" benchmarks/moving_obedience.py --model "$model" --json "$runs/obedience.json"
