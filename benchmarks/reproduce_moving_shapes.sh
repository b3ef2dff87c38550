#!/bin/sh
# Train the `moving-shapes` model from nothing but `shapes`, on one CPU core; measure it and put it in place.
# Interrupt it whenever you like; run again, it continues from the last checkpoint.
#
#   benchmarks/reproduce_moving_shapes.sh [WORKING_FOLDER [OPTION OF THE TRAINING]...]
#
# The model that ships was made in two parts: its card tells how.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-runs/moving-shapes}
[ $# -eq 0 ] || shift
model=pipelines/ldm_pipelines/models/moving-shapes
bin=.venv/bin
[ -x "$bin/ldm" ] || bin=$(dirname "$(command -v ldm)")

export OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1

[ -d "$runs/model" ] || "$bin/python" -m ldm_pipelines.moving_shapes.training "$runs" "$@"

mkdir -p "$model"
for part in model_index.json scheduler text_encoder tokenizer unet vae; do
    rm -rf "${model:?}/$part"
    cp -R "$runs/model/$part" "$model/$part"
done
"$bin/python" benchmarks/moving_obedience.py --model "$model" --json "$runs/obedience.json"
