"""Compares converted directories with those of transformers, by one version of it: python judge_hf.py JOBS.json

JOBS.json is a list of {"case", "own", "converted"}: a case directory, the directory that transformers saved of its
weights, and the one that griffin wrote. Each converted directory must load without a message, to an equivalent
configuration, and compute equal logits, hidden states and packed rows. Prints one JSON object a line:
{"label", "problem"}.
"""

import json
import logging
import sys
import warnings

import numpy as np
import torch
import transformers
from transformers import AutoConfig, GenerationConfig

import family
import golden
from griffin import differences

VARIES = ("_name_or_path", "transformers_version", "_commit_hash", "_from_model_config")


class LogCapture(logging.Handler):
    """Collects the messages of transformers while something is loaded, with the path replaced."""

    def __init__(self, path):
        super().__init__(logging.WARNING)
        self.path, self.messages = path, []

    def emit(self, record):
        self.messages.append(record.getMessage().replace(self.path, "PATH"))

    def __enter__(self):
        transformers.logging.set_verbosity_warning()
        logging.getLogger("transformers").addHandler(self)
        self.caught = warnings.catch_warnings(record=True)
        self.warned = self.caught.__enter__()
        warnings.simplefilter("always")
        return self

    def __exit__(self, *exc):
        self.caught.__exit__(*exc)
        logging.getLogger("transformers").removeHandler(self)
        self.messages += [str(w.message).replace(self.path, "PATH") for w in self.warned
                      if "transformers" in str(w.filename)]


def meaning(config):
    """A configuration without the fields that may differ, and with one block type for each layer. lru_width is left out
    if no block is recurrent, because it cannot be known then."""
    config = {k: v for k, v in config.to_dict().items() if k not in VARIES}
    depth, kinds = config["num_hidden_layers"], config["block_types"]
    blocks = [kinds[i % len(kinds)] for i in range(depth)]
    if "recurrent" not in blocks:
        del config["lru_width"]
    return dict(config, block_types=blocks)


def judge(case, path):
    with LogCapture(path) as log:
        model, info = golden.load_hf(path)
    keys = {k: sorted(map(str, v)) for k, v in info.items() if v}
    config = meaning(AutoConfig.from_pretrained(path))
    generation = {k: v for k, v in GenerationConfig.from_pretrained(path).to_dict().items() if k not in VARIES}
    return dict(messages=log.messages, keys=keys, config=config, generation=generation,
                outputs=golden.trace_hf(case, model), dtype=str(model.dtype))


def compare(want, got):
    """The first difference between the results of a converted directory and those of the original one."""
    if got["messages"]:
        return f"transformers prints {got['messages']}, for its own directory {want['messages']}"
    if got["keys"] != want["keys"]:
        return f"keys: {got['keys']}, for its own directory {want['keys']}"
    for part in ("config", "generation"):
        if problem := differences(want[part], got[part]):
            return f"{part}: {problem}"
    if got["dtype"] != want["dtype"]:
        return f"loads as {got['dtype']}, its own directory as {want['dtype']}"
    for name, value in want["outputs"].items():
        if not np.array_equal(value, got["outputs"][name]):
            worst = np.abs(value.astype(np.float64) - got["outputs"][name]).max()
            return f"{name} differs by up to {worst:g}"
    return ""


def main():
    torch.set_num_threads(2)
    with open(sys.argv[1]) as f:
        jobs = json.load(f)
    own = {}
    for job in jobs:
        case, _ = family.load_case(job["case"])
        label = f"transformers {transformers.__version__} on {job['converted']}"
        try:
            if job["own"] not in own:
                own = {job["own"]: judge(case, job["own"])}
            problem = compare(own[job["own"]], judge(case, job["converted"]))
        except Exception as e:  # an error of transformers is a result of the check
            problem = f"{type(e).__name__}: {e}"
        print(json.dumps(dict(label=label, problem=problem)), flush=True)


if __name__ == "__main__":
    main()
