#!/bin/sh
# Segment a folder of images by N tasks of SLURM, then merge: sh submit.sh N INPUT OUTPUT [OPTIONS]
# The options are those of python -m app. Those of sbatch go by its variables (SBATCH_PARTITION,
# SBATCH_ACCOUNT, SBATCH_TIMELIMIT ...) or into segment.sbatch. In a container:
# VSM="apptainer exec vsm.sif sh /workspace/predict.sh" sh submit.sh ...
set -eu

here=$(dirname -- "$(readlink -f -- "$0")")
case ${1:-} in
'' | 0 | *[!0-9]*) count= ;;
*) count=$1 ;;
esac
if [ -z "$count" ] || [ $# -lt 3 ]; then
    echo "error: N INPUT OUTPUT [OPTIONS] were wanted, N a number of tasks (16)" >&2
    exit 2
fi
shift
output=$2
program=$here/../../predict.sh

if [ -n "${VSM:-}" ]; then
    # shellcheck disable=SC2086 # several words
    merge() { sbatch --parsable "$@" "$here/merge.sbatch" $VSM merge "$output"; }
    # shellcheck disable=SC2086
    set -- $VSM "$@"
else
    merge() { sbatch --parsable "$@" "$here/merge.sbatch" sh "$program" merge "$output"; }
    set -- sh "$program" "$@"
fi
array=$(sbatch --parsable --array="0-$((count - 1))" "$here/segment.sbatch" "$count" "$@")
array=${array%%;*} # without the cluster's name
merging=$(merge --dependency="afterany:$array")
merging=${merging%%;*}
echo "jobs $array (segment-${array}_*.log) and then $merging (merge-$merging.log)"
