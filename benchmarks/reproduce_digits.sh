#!/bin/sh
# Train the `digits` model from nothing, on one CPU core or a GPU; put it in place, or
# into a folder that is named, and measure it.
# Interrupt it whenever you like; run again, it continues from the last checkpoint.
#
#   benchmarks/reproduce_digits.sh [WORKING_FOLDER [MODEL_FOLDER]]
set -eu
cd "$(dirname "$0")/.."
runs=${1:-runs/digits}
model=${2:-pipelines/ldm_pipelines/models/digits}
bin=.venv/bin
[ -x "$bin/ldm" ] || bin=$(dirname "$(command -v ldm)")

export OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1

[ -d "$runs/autoencoder/vae" ] ||
    "$bin/ldm" train autoencoder --data digits --resolution 32 --steps 4000 --crop-steps 0 \
        --batch-size 64 --out "$runs/autoencoder"
[ -d "$runs/transformer/model" ] ||
    "$bin/ldm" train transformer --autoencoder "$runs/autoencoder" --out "$runs/transformer"

mkdir -p "$model"
for part in model_index.json scheduler transformer vae; do
    rm -rf "${model:?}/$part"
    cp -R "$runs/transformer/model/$part" "$model/$part"
done
"$bin/python" benchmarks/digits.py --model "$model" --json "$runs/digits.json"
