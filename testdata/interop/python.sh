#!/usr/bin/env bash
# python.sh ENVIRONMENT SCRIPT ARGUMENT... runs a script of this directory in one of the Python environments that setup.sh
# installs: current, 2024, or peft, deepspeed, bitsandbytes or blake3, which is current with that package on its path.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
GRIFFIN_INTEROP_HOME=$("$here/setup.sh")
export GRIFFIN_INTEROP_HOME
export PYTHONPATH="$GRIFFIN_INTEROP_HOME/recurrentgemma" PYTHONDONTWRITEBYTECODE=1
export JAX_PLATFORMS=cpu TF_CPP_MIN_LOG_LEVEL=3 HF_HUB_OFFLINE=1
export XLA_FLAGS=--xla_allow_excess_precision=false # round to bfloat16 after every operation
environment=$1 script=$2
shift 2
if [ "$environment" = peft ] || [ "$environment" = deepspeed ] || [ "$environment" = bitsandbytes ] || [ "$environment" = blake3 ]; then
  "$here/setup_$environment.sh" "$GRIFFIN_INTEROP_HOME"
  PYTHONPATH="$PYTHONPATH:$GRIFFIN_INTEROP_HOME/$environment"
  PATH="$GRIFFIN_INTEROP_HOME/$environment/bin:$PATH"
  environment=current
fi
exec "$GRIFFIN_INTEROP_HOME/$environment/bin/python" "$here/$script" "$@"
