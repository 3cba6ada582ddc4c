#!/usr/bin/env bash
# Trains what reports/accuracy shows: three pairs of pico networks at four budgets, SCSC's components and the mixers, tuned.
#
#     bash benchmarks/probe.sh [FOLDER]     # resumes with the same command; FOLDER: reports/accuracy
#
# About fifteen hours on two cores, two runs side by side with one thread each, at the lowest priority: time nothing
# meanwhile. Rows are kept as runs end, in FOLDER/rows.db; a kill loses at most one epoch per run. Six seeds come first, then
# ten; a table of ten comparisons needs nine for a verdict. `scsc-lab report --from FOLDER/rows.db` shows what is there.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-reports/accuracy}
tuned=(--tune lr=3e-4,1e-3,3e-3)
train() {
    OMP_NUM_THREADS=1 nice -n 19 python -m scsc_lab train "$@" "${tuned[@]}" --jobs 2 --threads 1 --device cpu \
        --store "$folder/rows.db" --write-weights "$folder/weights" --format json --output "$folder/last.json"
}
pairs() {
    for networks in "swin_pico scsc_swin_pico" "resnet_pico scsc_resnet_pico" "faceresnet_pico scsc_faceresnet_pico --data faces"; do
        # shellcheck disable=SC2086  # the words of one pair
        train $networks --tune-seeds 2 --tune-epochs 16 --budgets 4,8,16,32 --seeds "$1"
    done
}
variants() {
    third=0.3333333333333333
    largest="stage1.kernels=13 stage2.kernels=11 stage3.kernels=7 stage4.kernels=5"
    width="stage1.reduction=$third stage2.reduction=$third stage3.reduction=$third stage4.reduction=0.5"
    train scsc_swin_pico "scsc_swin_pico[shuffle=false]" "scsc_swin_pico[gates=false]" "scsc_swin_pico[se=false]" \
        "scsc_swin_pico[$largest]" "scsc_swin_pico[$largest $width]" "scsc_swin_pico[kernels=3]" \
        "scsc_swin_pico[kernels=3 $width]" --tune-seeds 1 --tune-epochs 8 --seeds "$1"
    train swin_pico --mixer identity --mixer pooling --mixer depthwise --mixer mixconv --mixer inception \
        --mixer selective_kernel --mixer focal --mixer large_kernel_attention --mixer dilated_reparam --mixer scsc \
        --tune-seeds 1 --tune-epochs 8 --seeds "$1"
}
mkdir -p "$folder"
pairs 3
pairs 6
variants 6
pairs 10
variants 9
