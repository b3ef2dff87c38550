#!/bin/sh
# Train the `shapes` model from nothing on two CPU cores, measure it and put it where it ships.
# Interrupt it whenever you like; run again, it continues from the last checkpoint.
#
#   benchmarks/reproduce_shapes.sh [WORKING_FOLDER]
set -eu
cd "$(dirname "$0")/.."
runs=${1:-runs/shapes}
model=pipelines/ldm_pipelines/models/shapes
bin=.venv/bin
[ -x "$bin/ldm" ] || bin=$(dirname "$(command -v ldm)")

# One thread a process and no spinning: two such processes are nearly twice as fast as one.
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
together() { "$bin/torchrun" --nproc-per-node 2 --no-python "$bin/ldm" "$@"; }

[ -d "$runs/autoencoder/vae" ] || together train autoencoder --out "$runs/autoencoder"
[ -d "$runs/denoiser/model" ] ||
    together train denoiser --autoencoder "$runs/autoencoder" --out "$runs/denoiser"

mkdir -p "$model"
for part in model_index.json scheduler text_encoder tokenizer unet vae; do
    rm -rf "${model:?}/$part"
    cp -R "$runs/denoiser/model/$part" "$model/$part"
done
OMP_NUM_THREADS=2
"$bin/python" benchmarks/reconstruction.py --model "$model" --json "$runs/reconstruction.json"
"$bin/python" benchmarks/obedience.py --model "$model" --json "$runs/obedience.json"
