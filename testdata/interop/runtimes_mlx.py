"""Runs models with mlx-lm: python runtimes_mlx.py JOBS.json (see runtimes_job.py)"""

from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.utils import load_model

import runtimes_job


def load(job):
    """Loads a directory as mlx-lm's programs do."""
    return load_model(Path(job["dir"]), strict=True)[0]


def floats(x):
    return np.array(x.astype(mx.float32))


def decode(model, tokens, prompt):
    cache = model.make_cache()
    out = [floats(model(tokens[:, :prompt], cache=cache))]
    for t in range(prompt, tokens.shape[1]):
        out.append(floats(model(tokens[:, t:t + 1], cache=cache)))
    return np.concatenate(out, 1)


def passes_of(model, job):
    tokens = mx.array(np.array(job["tokens"], np.int32))
    passes = {"whole": lambda: floats(model(tokens))}
    for prompt in job["prompts"]:
        passes[f"prompt.{prompt}"] = lambda prompt=prompt: decode(model, tokens, prompt)
    return passes


if __name__ == "__main__":
    runtimes_job.main(load, passes_of)
