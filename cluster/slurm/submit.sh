#!/bin/sh
# Segment a folder of images by N tasks of SLURM, then merge: sh submit.sh N INPUT OUTPUT [OPTIONS]
# The options are those of python -m app. Those of sbatch go by its variables (SBATCH_PARTITION,
# SBATCH_ACCOUNT, SBATCH_TIMELIMIT ...), which count for both jobs, or into segment.sbatch and
# merge.sbatch. In a container:
# VSM="apptainer exec vsm.sif sh /workspace/predict.sh" sh submit.sh ...
set -eu

refuse() {
    echo "error: $1" >&2
    exit 2
}

here=$(dirname -- "$(readlink -f -- "$0")")
[ $# -ge 3 ] || refuse "N INPUT OUTPUT [OPTIONS] were wanted, N a number of tasks (16)"
case $1 in
0* | *[!0-9]* | '') refuse "$1: a number of tasks was wanted first (16), then INPUT and OUTPUT" ;;
esac
for folder in "$2" "$3"; do
    case $folder in
    -*) refuse "$folder: a folder was wanted (./$folder if it is one); options come after OUTPUT" ;;
    esac
done
count=$1
output=$3
program=$here/../../predict.sh
shift

# An array that nothing merges must not stay.
array=
cancel() {
    [ -z "$array" ] || scancel "${array%%;*}"
    echo "error: the jobs were not started${array:+; ${array%%;*} is cancelled}" >&2
}
trap cancel EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

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
trap - EXIT

if [ -n "${SBATCH_OUTPUT:-}" ]; then
    echo "jobs $array and then $merging"
else
    echo "jobs $array (segment-${array}_*.log) and then $merging (merge-$merging.log)"
fi
