#!/bin/sh
# Train the `tones` model from nothing, on one CPU core; put it in place, or
# into a folder that is named, and measure it.
# Interrupt it whenever you like; run again, it continues from the last checkpoint.
#
#   benchmarks/reproduce_tones.sh [WORKING_FOLDER [MODEL_FOLDER]]
#
# The model that ships was made likewise, but its first part saw tones between the middles of the
# channels too: its card tells how.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-runs/tones}
model=${2:-pipelines/ldm_pipelines/models/tones}
bin=.venv/bin
[ -x "$bin/ldm" ] || bin=$(dirname "$(command -v ldm)")

export OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1

train() {  # the part's folder, and its options
    part=$1
    shift
    [ -d "$runs/$part/model" ] ||
        "$bin/python" -m ldm_pipelines.tones.training "$runs/$part" "$@"
}
on() {  # a later part: the folder of the one before, and options
    before=$1
    shift
    train "$@" --from-model "$runs/$before/model" --learning-rate 1.5e-3
}
train first --steps 1000
on first second --steps 1000 --seed 1
on second third --steps 450 --seed 2
on third fourth --steps 450 --seed 3
on fourth fifth --steps 5000 --seed 5

mkdir -p "$model"
for part in model_index.json projection_model scheduler text_encoder tokenizer transformer vae; do
    rm -rf "${model:?}/$part"
    cp -R "$runs/fifth/model/$part" "$model/$part"
done
"$bin/python" benchmarks/tones_obedience.py --model "$model" --json "$runs/obedience.json"
