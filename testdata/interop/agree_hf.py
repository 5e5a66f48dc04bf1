"""Compares one version of transformers on converted directories with the original: python agree_hf.py JOBS.json

JOBS.json is a list of {"label", "converted", "recording", "agree", "noise"}. The recording holds the results of the
original implementation for the same weights: tokens, logits, and greedily generated tokens. The logits of the first
`agree` positions must be within `noise` of the recording: in one pass, with the cache if the model supports it, and in
generation. Those of the next position, if there is one, must not be, which shows that the check can fail.
Prints one JSON object a line: {"label", "problem", "worst"}.
"""

import json
import sys

import numpy as np
import torch
import transformers

import golden
from judge_hf import LogCapture

MODERN = transformers.__version__ >= "5"


def one_pass(model, tokens):
    with torch.no_grad():
        return model(input_ids=tokens, use_cache=False).logits.float().numpy()


def with_cache(model, tokens):
    """Logits of a prompt of two tokens, then of one token at a time. (5.23 treats a prompt of one token as the
    continuation of an earlier text.)"""
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
    with LogCapture(job["converted"]) as log:
        model, info = golden.load_hf(job["converted"], "float32")
    if log.messages:
        return f"transformers prints {log.messages}", None
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
            return f"{name}: logits of position {first} agree but must differ", worst
    if first >= tokens.shape[1] and (MODERN or not model.config.use_cache):
        prompt = want["prompt"].item()
        got = generated(model, tokens[:, :prompt], want["generated"].shape[1] - prompt)
        if not np.array_equal(got, want["generated"]):
            at = int(np.argmax((got != want["generated"]).any(0)))
            return f"generation differs from position {at} on", worst
    return "", worst


def main():
    torch.set_num_threads(2)
    with open(sys.argv[1]) as f:
        jobs = json.load(f)
    for job in jobs:
        label = f"transformers {transformers.__version__}, {job['label']}"
        try:
            problem, worst = judge(job)
        except Exception as e:  # an error of transformers is a result of the check
            problem, worst = f"{type(e).__name__}: {e}", None
        print(json.dumps(dict(label=label, problem=problem, worst=worst)), flush=True)


if __name__ == "__main__":
    main()
