#!/usr/bin/env bash
# oracle.sh COMMAND... runs oracle.py, where the commands are described, in its Python environment.
exec "$(dirname "$0")/python.sh" current oracle.py "$@"
