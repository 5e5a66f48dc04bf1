"""Has one version of transformers judge converted directories: python judge_hf.py JOBS.json

JOBS.json is a list of {"case", "own", "converted"}: a case directory, what transformers itself saved of its weights,
and what griffin made of them. Prints one JSON object a line: {"label", "problem"}. Each converted directory has to
load without a word of warning, to mean the same configuration, and to compute exactly the same logits, hidden
states and packed rows.
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


class Heard(logging.Handler):
    """Collects what transformers says while something is loaded, paths left out."""

    def __init__(self, path):
        super().__init__(logging.WARNING)
        self.path, self.said = path, []

    def emit(self, record):
        self.said.append(record.getMessage().replace(self.path, "PATH"))

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
        self.said += [str(w.message).replace(self.path, "PATH") for w in self.warned
                      if "transformers" in str(w.filename)]


def meaning(config):
    """A configuration without what may vary, block_types written out: transformers repeats them over the layers.
    Without a recurrent block nothing has the width of the recurrence, and no checkpoint tells it."""
    config = {k: v for k, v in config.to_dict().items() if k not in VARIES}
    depth, kinds = config["num_hidden_layers"], config["block_types"]
    blocks = [kinds[i % len(kinds)] for i in range(depth)]
    if "recurrent" not in blocks:
        del config["lru_width"]
    return dict(config, block_types=blocks)


def judge(case, path):
    with Heard(path) as heard:
        model, info = golden.load_hf(path)
    keys = {k: sorted(map(str, v)) for k, v in info.items() if v}
    config = meaning(AutoConfig.from_pretrained(path))
    generation = {k: v for k, v in GenerationConfig.from_pretrained(path).to_dict().items() if k not in VARIES}
    return dict(said=heard.said, keys=keys, config=config, generation=generation,
                outputs=golden.trace_hf(case, model), dtype=str(model.dtype))


def compare(want, got):
    """The first thing that a converted directory does differently."""
    if got["said"]:
        return f"transformers says {got['said']}, of its own {want['said']}"
    if got["keys"] != want["keys"]:
        return f"keys: {got['keys']}, of its own {want['keys']}"
    for part in ("config", "generation"):
        if problem := differences(want[part], got[part]):
            return f"{part}: {problem}"
    if got["dtype"] != want["dtype"]:
        return f"loads as {got['dtype']}, its own as {want['dtype']}"
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
        except Exception as e:  # whatever a version trips over is a finding, not the end of the run
            problem = f"{type(e).__name__}: {e}"
        print(json.dumps(dict(label=label, problem=problem)), flush=True)


if __name__ == "__main__":
    main()
