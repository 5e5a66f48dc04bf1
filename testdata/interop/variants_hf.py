"""Makes models with transformers, and runs directories: python variants_hf.py make|run|fixture JOBS.json

make: JOBS.json is a list of {"directory", "config", "seed", "dtype", "changed", "dropped", "form"}. Each model is saved in the
directory's made, its config.json is changed, and the logits that transformers computes with it for random tokens, in float32, are
recorded beside it. form "9b" saves it as the published 9B is: a copy of the head in four files.
run: JOBS.json is a list of {"name", "directory", "recording"}. The logits for the recorded tokens go to a file. Prints one JSON
object a line: {"name", "error", "logits"}, where logits is the file.
fixture: makes a model as make does, but as hf beside golden, where this version of transformers is recorded. 4.57 finds it made.
"""

import json
import os
import sys

import numpy as np
import torch
import transformers

import golden


def randomise(model, seed):
    """Weights that leave no part of the model without effect. None is 0 or 1."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = torch.randn(p.shape, generator=g)
            if name.endswith("recurrent_param"):
                x = x - 4
            elif name.endswith("conv_1d.weight"):
                x = x * 0.5
            elif p.dim() == 1 or name.endswith("gate_bias"):
                x = x * 0.2
            else:
                x = x * p.shape[-1] ** -0.5
            p.copy_(x)


def save_in_four(model, directory):
    """Saves the weights as the published 9B has them."""
    from safetensors.torch import save_file
    state = {k: v.clone().contiguous() for k, v in model.state_dict().items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()
    index = {}
    names = sorted(state)
    for i in range(4):
        file = f"model-{i + 1:05d}-of-00004.safetensors"
        part = {k: state[k] for k in names[i::4]}
        save_file(part, f"{directory}/{file}", {"format": "pt"})
        index.update({k: file for k in part})
    with open(f"{directory}/model.safetensors.index.json", "w") as f:
        json.dump({"metadata": {"total_size": sum(v.nbytes for v in state.values())}, "weight_map": index}, f)
    os.remove(f"{directory}/model.safetensors")


def logits_of(directory, tokens):
    from golden import load_hf
    model, info = load_hf(directory, "float32")
    wrong = {k: v for k, v in info.items() if v}
    if wrong:
        raise ValueError(f"keys: {wrong}")
    with torch.no_grad():
        return model(input_ids=torch.tensor(tokens.astype(np.int64)), use_cache=False).logits.float().numpy()


def save(job, made):
    """Makes a model and saves it."""
    config = transformers.RecurrentGemmaConfig(**job["config"])
    model = transformers.RecurrentGemmaForCausalLM(config).eval()
    randomise(model, job["seed"])
    model = model.to(getattr(torch, job["dtype"]))
    model.save_pretrained(made)
    if job["form"] == "9b":
        save_in_four(model, made)
    with open(f"{made}/config.json") as f:
        stated = json.load(f)
    for name in job["dropped"]:
        stated.pop(name, None)
    stated.update(job["changed"])
    with open(f"{made}/config.json", "w") as f:
        json.dump(stated, f, indent=2)
    return config


def make(job):
    made = f"{job['directory']}/made"
    config = save(job, made)
    tokens = np.random.default_rng(job["seed"]).integers(0, config.vocab_size, (2, 3 * config.attention_window_size + 4)).astype(np.int32)
    golden.save(f"{job['directory']}/recording.safetensors", dict(tokens=tokens, logits=logits_of(made, tokens)), {})


def fixture(job):
    made = f"{job['directory']}/hf"
    if not os.path.isdir(made):
        save(job, made)
    golden.run_hf(job, made, f"{job['directory']}/golden/hf{transformers.__version__[0]}.safetensors")


def run(job):
    from safetensors.numpy import load_file
    out = f"{job['directory']}.transformers{transformers.__version__[0]}.safetensors"
    result = dict(name=job["name"], error="", logits=out)
    try:
        golden.save(out, dict(logits=logits_of(job["directory"], load_file(job["recording"])["tokens"])), {})
    except Exception as e:  # an error of transformers is a result of the check
        result["error"] = f"{type(e).__name__}: {e}"[:500]
    print(json.dumps(result), flush=True)


def main():
    torch.set_num_threads(2)
    transformers.logging.set_verbosity(60)
    with open(sys.argv[2]) as f:
        jobs = json.load(f)
    for job in jobs:
        {"make": make, "run": run, "fixture": fixture}[sys.argv[1]](job)


if __name__ == "__main__":
    main()
