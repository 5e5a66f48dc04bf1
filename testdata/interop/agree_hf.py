"""Has one version of transformers compute what a converted directory does: python agree_hf.py JOBS.json

JOBS.json is a list of {"label", "converted", "recording", "agree", "noise"}. The recording has what the original
implementation computes of the same weights: tokens, logits, and the tokens that it generates greedily. Logits of the
first `agree` positions have to lie within `noise` of it: in one pass, with the cache where the model can have one,
and in generation. Those of the position after them, if there is one, must not: else the check would see nothing.
Prints one JSON object a line: {"label", "problem", "worst"}.
"""

import json
import sys

import numpy as np
import torch
import transformers

import golden
from judge_hf import Heard

MODERN = transformers.__version__ >= "5"


def one_pass(model, tokens):
    with torch.no_grad():
        return model(input_ids=tokens, use_cache=False).logits.float().numpy()


def with_cache(model, tokens):
    """A prompt of two tokens (5.23 takes one token for a step of an earlier text), then one at a time."""
    from transformers import DynamicCache
    cache, out = DynamicCache(config=model.config), []
    with torch.no_grad():
        for start, end in [(0, 2)] + [(t, t + 1) for t in range(2, tokens.shape[1])]:
            out.append(model(input_ids=tokens[:, start:end], use_cache=True, past_key_values=cache).logits)
    return torch.cat(out, 1).float().numpy()


def generated(model, tokens, length):
    with torch.no_grad():
        return model.generate(input_ids=tokens, attention_mask=torch.ones_like(tokens), do_sample=False, eos_token_id=None,
                              pad_token_id=0, min_new_tokens=length, max_new_tokens=length).numpy()


def judge(job):
    from safetensors.numpy import load_file
    want = load_file(job["recording"])
    with Heard(job["converted"]) as heard:
        model, info = golden.load_hf(job["converted"], "float32")
    if heard.said:
        return f"transformers says {heard.said}", None
    if any(info.values()):
        return f"keys: {info}", None
    tokens = torch.tensor(want["tokens"].astype(np.int64))
    first, cached = job["agree"], MODERN and model.config.use_cache
    passes = {"one pass": one_pass(model, tokens)}
    if cached:
        passes["with the cache"] = with_cache(model, tokens)
    worst = 0.0
    for name, logits in passes.items():
        apart = np.abs(logits - want["logits"])[:, :first]
        if not np.isfinite(logits).all():
            return f"{name}: logits are not finite", None
        worst = max(worst, float(apart.max()))
        if apart.max() > job["noise"]:
            at = int(np.argmax(apart.max((0, 2)) > job["noise"]))
            return f"{name}: logits differ by up to {apart.max():g}, first at position {at}", worst
        if first < tokens.shape[1] and np.abs(logits - want["logits"])[:, first].max() <= job["noise"]:
            return f"{name}: logits of position {first} should differ and do not", worst
    if first >= tokens.shape[1] and (MODERN or not model.config.use_cache):
        prompt = want["prompt"].item()
        got = generated(model, tokens[:, :prompt], want["generated"].shape[1] - prompt)
        if not np.array_equal(got, want["generated"]):
            at = int(np.argmax((got != want["generated"]).any(0)))
            return f"generation parts at position {at}", worst
    return "", worst


def main():
    torch.set_num_threads(2)
    with open(sys.argv[1]) as f:
        jobs = json.load(f)
    for job in jobs:
        label = f"transformers {transformers.__version__}, {job['label']}"
        try:
            problem, worst = judge(job)
        except Exception as e:  # whatever a version trips over is a finding, not the end of the run
            problem, worst = f"{type(e).__name__}: {e}", None
        print(json.dumps(dict(label=label, problem=problem, worst=worst)), flush=True)


if __name__ == "__main__":
    main()
