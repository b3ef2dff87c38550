#!/bin/sh
# Train the `shapes` model from nothing, on two CPU cores or a GPU; measure it and put it in place.
# Interrupt it whenever you like; run again, it continues from the last checkpoint.
#
#   benchmarks/reproduce_shapes.sh [WORKING_FOLDER [OPTION OF ldm train denoiser]...]
#
# It needs no weights that were there before. The model that ships was made otherwise: its card tells how.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-runs/shapes}
[ $# -eq 0 ] || shift
model=pipelines/ldm_pipelines/models/shapes
bin=.venv/bin
[ -x "$bin/ldm" ] || bin=$(dirname "$(command -v ldm)")

export OMP_WAIT_POLICY=PASSIVE
if [ "$("$bin/python" -c 'import torch; print(torch.cuda.device_count())')" -gt 0 ]; then
    # One process on one GPU. Twice the batch of the two on the CPU costs it nothing, nor does
    # float32: so small a network waits for its kernels to be started, and bfloat16 starts more.
    # Pictures are drawn beside it, or it would wait for them too.
    train_autoencoder() {
        "$bin/ldm" train autoencoder --batch-size 128 --mixed-precision no --num-workers 10 "$@"
    }
    train_denoiser() { "$bin/ldm" train denoiser --batch-size 256 --mixed-precision no "$@"; }
else
    # One thread a process and no spinning: two such processes are nearly twice as fast as one.
    export OMP_NUM_THREADS=1
    together() { "$bin/torchrun" --nproc-per-node 2 --no-python "$bin/ldm" train "$@"; }
    train_autoencoder() { together autoencoder "$@"; }
    train_denoiser() { together denoiser "$@"; }
fi

[ -d "$runs/autoencoder/vae" ] || train_autoencoder --out "$runs/autoencoder"
[ -d "$runs/denoiser/model" ] ||
    train_denoiser --autoencoder "$runs/autoencoder" --out "$runs/denoiser" "$@"

for part in model_index.json scheduler text_encoder tokenizer unet vae; do
    rm -rf "${model:?}/$part"
    cp -R "$runs/denoiser/model/$part" "$model/$part"
done
OMP_NUM_THREADS=2
"$bin/python" benchmarks/reconstruction.py --model "$model" --json "$runs/reconstruction.json"
"$bin/python" benchmarks/obedience.py --model "$model" --json "$runs/obedience.json"
