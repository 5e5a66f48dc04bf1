"""Runs models with one version of transformers: python runtimes_hf.py JOBS.json (see runtimes_job.py)

Passes are run with position_ids and without mask, the attention implementation "eager", in float32. Of each job it also computes "packed",
the tokens without cache where the positions start again at job["cut"], "later.1", which is "prompt.1" by a model that has run before, and
if job["half"] is set "half", which is "whole" in float16.
"""

import copy

import numpy as np
import torch
import transformers

import runtimes_job

MODERN = transformers.__version__ >= "5"


class RandomWeights(Exception):
    """It initialised weights that it did not find."""


def load(job):
    from transformers import AutoModelForCausalLM
    model, info = AutoModelForCausalLM.from_pretrained(job["dir"], output_loading_info=True, attn_implementation="eager",
                                                       dtype=torch.float32)
    info = {k: v for k, v in info.items() if v and k != "unexpected_keys"}
    if "missing_keys" in info:
        raise RandomWeights(info)
    if info:
        raise ValueError(f"keys: {info}")
    return model.eval()


def whole(model, tokens, positions):
    return model(input_ids=tokens, position_ids=positions, use_cache=False).logits.float().numpy()


def decode(model, tokens, prompt):
    keep = {}
    if MODERN:
        keep["past_key_values"] = transformers.DynamicCache(config=model.config)
    out = []
    for start, end in [(0, prompt)] + [(t, t + 1) for t in range(prompt, tokens.shape[1])]:
        if not MODERN:
            keep["cache_position"] = torch.arange(start, end)
        out.append(model(input_ids=tokens[:, start:end], use_cache=True, **keep).logits)
    return torch.cat(out, 1).float().numpy()


def passes_of(model, job):
    tokens = torch.tensor(np.array(job["tokens"], np.int64))
    positions = torch.arange(tokens.shape[1])[None].expand(*tokens.shape)
    packed = positions.clone()
    packed[:, job["cut"]:] -= job["cut"]
    passes = {"whole": lambda: whole(model, tokens, positions), "packed": lambda: whole(model, tokens, packed)}  # keep no state
    for prompt in sorted(job["prompts"]):  # that of one token first
        passes[f"prompt.{prompt}"] = lambda prompt=prompt: decode(model, tokens, prompt)
    passes["later.1"] = lambda: decode(model, tokens, 1)
    if job.get("half"):
        passes["half"] = lambda: whole(copy.deepcopy(model).half(), tokens, positions)
    return passes


if __name__ == "__main__":
    torch.set_num_threads(1)  # the models are tiny
    torch.set_grad_enabled(False)
    runtimes_job.main(load, passes_of)
