"""Runs models with mlx-lm: python runtimes_mlx.py JOBS.json

JOBS.json is a list of {"name", "dir", "tokens", "prompts", "out"}. For each job it loads the directory as mlx-lm's programs do and
writes to out (.npz) the logits of all positions: "whole" for the tokens read at once without cache, and "prompt.N" for each N
of prompts, read at once into a new cache, with the tokens after it one by one. It prints one JSON object a line: {"name", "loads",
"error", "failed"}; failed has the error of each pass that failed.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.utils import load_model


def floats(x):
    return np.array(x.astype(mx.float32))


def decode(model, tokens, prompt):
    cache = model.make_cache()
    out = [floats(model(tokens[:, :prompt], cache=cache))]
    for t in range(prompt, tokens.shape[1]):
        out.append(floats(model(tokens[:, t:t + 1], cache=cache)))
    return np.concatenate(out, 1)


def run(job):
    try:
        model, _ = load_model(Path(job["dir"]), strict=True)
    except Exception as e:  # an error of mlx-lm is a result
        return dict(name=job["name"], loads=False, error=f"{type(e).__name__}: {str(e)[:300]}", failed={})
    tokens = mx.array(np.array(job["tokens"], np.int32))
    passes = {"whole": lambda: floats(model(tokens))}
    for prompt in job["prompts"]:
        passes[f"prompt.{prompt}"] = lambda prompt=prompt: decode(model, tokens, prompt)
    out, failed = {}, {}
    for name, compute in passes.items():
        try:
            out[name] = compute()
        except Exception as e:
            failed[name] = f"{type(e).__name__}: {str(e)[:300]}"
    np.savez(job["out"], **out)
    return dict(name=job["name"], loads=True, error="", failed=failed)


def main():
    with open(sys.argv[1]) as f:
        jobs = json.load(f)
    for job in jobs:
        print(json.dumps(run(job)), flush=True)


if __name__ == "__main__":
    main()
