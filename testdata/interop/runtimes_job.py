"""What the programs that run models with one runtime have in common: runtimes_hf.py, runtimes_mlx.py and runtimes_candle.py

Each is started with the name of a file JOBS.json, a list of {"name", "dir", "tokens", "prompts", "cut", "out", "loads_only", ...}. For each job
it loads the directory and writes to out (.npz) the logits of passes: "whole" for the tokens read at once without cache, "prompt.N" for each
N of prompts, read at once into a new cache, with the tokens after it one by one, and others. It prints one JSON object a line: {"name",
"loads", "error", "failed"}; failed has the error of each pass that failed.
"""

import json
import sys

import numpy as np


def described(e):
    return f"{type(e).__name__}: {str(e)[:300]}"


def run(job, load, passes_of):
    """Runs a job. load(job) returns a model, and passes_of(model, job) functions that return logits, by the name of their pass."""
    try:
        model = load(job)
    except Exception as e:  # an error of the runtime is a result
        return dict(name=job["name"], loads=False, error=described(e), failed={})
    out, failed = {}, {}
    for name, compute in ({} if job.get("loads_only") else passes_of(model, job)).items():
        try:
            out[name] = compute()
        except Exception as e:
            failed[name] = described(e)
    np.savez(job["out"], **out)
    return dict(name=job["name"], loads=True, error="", failed=failed)


def main(load, passes_of):
    with open(sys.argv[1]) as f:
        jobs = json.load(f)
    for job in jobs:
        print(json.dumps(run(job, load, passes_of)), flush=True)
