"""Loads and runs directories with one version of transformers: python departures_hf.py JOBS.json

JOBS.json is a list of {"dir", "plain"}; plain ones load without a dtype, and others as float32. Prints one JSON object a line:
{"loads", "logits", "tokens", "error"}, where logits is the logits of some tokens and tokens what generate() continues them with; null
where that fails.
"""

import json
import sys
import warnings

import torch
import transformers


def run(job):
    result = dict(loads=False, logits=None, tokens=None, error="")
    dtype = {} if job.get("plain") else dict(dtype=torch.float32)
    try:
        model, info = transformers.AutoModelForCausalLM.from_pretrained(job["dir"], output_loading_info=True, trust_remote_code=True, **dtype)
        wrong = {k: v for k, v in info.items() if v}
        if wrong:
            raise ValueError(f"keys: {wrong}")
        result["loads"] = True
        tokens = torch.tensor([[2, 5, 9, 11, 4]])
        logits = model.eval()(input_ids=tokens, use_cache=False).logits
        result["logits"] = logits.float().flatten().tolist()
        torch.manual_seed(7)
        limit = {} if model.generation_config.max_new_tokens or model.generation_config.max_length not in (None, 20) else dict(max_new_tokens=8)
        result["tokens"] = model.generate(tokens, attention_mask=torch.ones_like(tokens), **limit).tolist()
    except Exception as e:  # an error of transformers is a result
        result["error"] = f"{type(e).__name__}: {str(e)[:200]}"
    return result


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity(60)
    with open(sys.argv[1]) as f:
        jobs = json.load(f)
    for job in jobs:
        print(json.dumps(run(job)), flush=True)


if __name__ == "__main__":
    main()
