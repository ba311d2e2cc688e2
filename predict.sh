#!/bin/sh
# Segment a folder of images: sh predict.sh [INPUT OUTPUT] [OPTIONS of python -m app]
# In the image this is also the command vsm, from any folder.
# Without folders it uses /inputs and /outputs, or else /workspace/inputs and /workspace/outputs.
set -eu

here=$(dirname -- "$(readlink -f -- "$0")") # also where this is called through a link

case ${1:--} in
-*)
    if [ -d /inputs ] && [ -d /outputs ]; then
        set -- /inputs /outputs "$@"
    else
        set -- /workspace/inputs /workspace/outputs "$@"
    fi
    ;;
esac

python=$here/.venv/bin/python # in a checkout
[ -x "$python" ] || python=python3 # in the image, where it is the environment's own

# -P: an "app" in the caller's folder must not be taken for ours. exec: signals reach Python.
PYTHONPATH=$here exec "$python" -P -m app "$@"
