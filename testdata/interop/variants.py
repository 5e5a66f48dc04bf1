"""Holds griffin against transformers on models over the range of RecurrentGemmaConfig: python.sh current variants.py [--seed N] [--models N]

transformers 5.23 makes random models from a random seed: heads of keys and values, widths of heads, biases, activations, epsilons,
rotations, taps, soft caps, tied and untied heads, patterns of blocks, in the spellings of both versions. For each of them:
  - griffin's forward pass agrees with it to 2e-5 of max(1, the largest logit), in one pass and token by token;
  - griffin converts it to another directory, with which transformers 5.23, and 4.57 if it can run the model, compute the same bits as
    with the source; with both they compute what griffin says of them; verify and diff find nothing, and inspect names it;
  - griffin converts it to the original's layout, or refuses that with the fields that the original does not have.
The published forms of the 9B (a copy of the head, four files, no tie_word_embeddings) and of the 2B-it (_block_types alone) go
through the same in small.
Exits with status 1 if anything differs. It prints the seed, with which a run can be repeated.
"""

import argparse
import json
import os
import random
import shutil
import tempfile

import numpy as np

import griffin
from interop import with_transformers

BOUND = 2e-5
# The functions of one number in ACT2FN of transformers 5.23. The last two are not in 4.57.
ACTIVATIONS = ["gelu", "gelu_10", "gelu_fast", "gelu_new", "gelu_python", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_accurate",
               "laplace", "leaky_relu", "linear", "mish", "quick_gelu", "relu", "relu2", "relu6", "sigmoid", "silu", "swish", "tanh",
               "hardswish", "sqrtsoftplus"]
TANH_GELU = {"gelu_fast", "gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_accurate"}
R, A = "recurrent", "attention"


def random_config(rng, activation, older):
    """A configuration that transformers 5.23 can run, as the arguments of RecurrentGemmaConfig; with older, one that 4.57 rotates too."""
    def choose(*options):
        return options[int(rng.integers(len(options)))]

    groups, shared = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    heads, head_dim = groups * shared, int(rng.integers(2, 13))
    pattern = [choose(R, A) for _ in range(int(rng.integers(1, 5)))]
    factor = choose(0.5, 0.5, 0.25, 0.75, 1.0, 0.3, 0.499, 0.0)
    if older:
        head_dim, factor = (head_dim + 3) // 4 * 4, 0.5
    while (int(head_dim * factor) + 1) // 2 * 2 > head_dim:
        factor /= 2
    config = dict(
        vocab_size=int(rng.integers(10, 80)), hidden_size=heads * head_dim, intermediate_size=int(rng.integers(2, 60)),
        num_hidden_layers=int(rng.integers(1, 6)), num_attention_heads=heads, num_key_value_heads=shared,
        lru_width=heads * int(rng.integers(1, 9)), attention_window_size=int(rng.integers(1, 9)),
        conv1d_width=choose(4, 4, 1, 2, 3, 7), logits_soft_cap=choose(30.0, 30.0, 0.75, 2.0**20, 1e12, -3.0),
        rms_norm_eps=choose(1e-6, 1e-6, 1e-5, 0.01, 0.0), hidden_activation=activation, attention_bias=choose(True, False),
        tie_word_embeddings=choose(True, True, False), block_types=pattern, bos_token_id=2, eos_token_id=1, pad_token_id=0,
        rope_parameters=dict(rope_type="default", rope_theta=choose(10000.0, 10000.0, 500.0, 1e6, 1.5, 777), partial_rotary_factor=factor))
    if rng.random() < 0.15 and not older:  # heads of another width, as config.json may state it
        config["head_dim"] = int(rng.integers(max(1, head_dim // 2), 2 * head_dim))
        config["rope_parameters"]["partial_rotary_factor"] = 0.5
        if (config["head_dim"] // 2 + 1) // 2 * 2 > config["head_dim"]:
            del config["head_dim"]
    return config


def spelling(rng, config):
    """Changes to config.json that do not change the model: {field: value}, and the fields to drop."""
    changed, dropped = {}, []
    rope = config["rope_parameters"]
    kind = int(rng.integers(3))
    if kind:  # the flat spelling, alone or beside the nested one
        changed.update(rope_theta=rope["rope_theta"], partial_rotary_factor=rope["partial_rotary_factor"])
        if kind == 2:
            dropped.append("rope_parameters")
    if rng.random() < 0.5:
        changed["a_field_of_mine"] = {"kept": [1, None, "x"]}
    if config["num_key_value_heads"] == config["num_attention_heads"]:
        dropped.append("num_key_value_heads")
    if config["lru_width"] == config["hidden_size"]:
        dropped.append("lru_width")
    if "head_dim" not in config and rng.random() < 0.5:
        dropped.append("head_dim")
    if config["tie_word_embeddings"]:
        dropped.append("tie_word_embeddings")
    if not config["attention_bias"]:
        dropped.append("attention_bias")
    return changed, dropped


def cases(seed, models):
    """Yields what variants_hf.py needs to make each model."""
    rng = np.random.default_rng(seed)
    names = [str(n) for n in rng.permutation(ACTIVATIONS)]
    for i in range(models):
        config = random_config(rng, names[i % len(names)], older=i % 3 == 0)
        changed, dropped = spelling(rng, config)
        yield dict(name=f"{i}-{config['hidden_activation']}", config=config, changed=changed, dropped=dropped, form="",
                   seed=int(rng.integers(1 << 30)), dtype=("float32", "bfloat16")[i % 2])
    published = dict(vocab_size=96, hidden_size=48, intermediate_size=96, num_hidden_layers=8, num_attention_heads=4,
                     num_key_value_heads=1, lru_width=48, attention_window_size=8, bos_token_id=2, eos_token_id=1, pad_token_id=0)
    flat = dict(rope_theta=10000.0, partial_rotary_factor=0.5, torch_dtype="bfloat16")
    common = dict(config=published, seed=seed, dtype="bfloat16")
    yield dict(common, name="9b", form="9b", changed=dict(flat, transformers_version="4.42.0.dev0"),
               dropped=["rope_parameters", "dtype", "tie_word_embeddings", "head_dim"])
    yield dict(common, name="2b-it", form="", changed=dict(flat, _block_types=[R, R, A], embeddings_scale_by_sqrt_dim=True,
                                                           transformers_version="4.40.0.dev0"),
               dropped=["rope_parameters", "dtype", "tie_word_embeddings", "head_dim", "block_types"])


def beyond_original(config):
    """The fields of which the original computes only one value, and that have another."""
    kinds = (config.get("block_types", [R, R, A]) * 100)[:config["num_hidden_layers"]]
    rope = config.get("rope_parameters", dict(rope_theta=10000.0, partial_rotary_factor=0.5))
    head_dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    fields = {"hidden_activation": config.get("hidden_activation", "gelu_pytorch_tanh") not in TANH_GELU,
              "rms_norm_eps": config.get("rms_norm_eps", 1e-6) != 1e-6}
    if R in kinds:
        fields["conv1d_width"] = config.get("conv1d_width", 4) != 4
    if A in kinds:
        fields.update(num_key_value_heads=config["num_key_value_heads"] != 1, attention_bias=config.get("attention_bias", False),
                      head_dim=head_dim % 4 != 0 or head_dim * config["num_attention_heads"] != config["hidden_size"],
                      rope_theta=rope["rope_theta"] != 10000, partial_rotary_factor=rope["partial_rotary_factor"] != 0.5)
    return [name for name, beyond in fields.items() if beyond]


def arrays(path):
    from safetensors.numpy import load_file
    return load_file(path)


def forward(path, recording, semantics, out):
    """griffin's logits for the tokens of a recording, and those of decoding from the third token on."""
    griffin.run("golden", path, "--tokens", recording, "--semantics", semantics, "--decode-from=3", "--out", out)
    got = arrays(out)
    return got["logits"], got["decode.logits"]


def apart(want, got):
    """How far logits are from those of transformers, as a problem; empty within the bound."""
    bound = BOUND * max(1, float(np.abs(want).max()))
    worst = float(np.abs(want - got).max()) if want.shape == got.shape else np.inf
    return "" if worst <= bound else f"logits differ by {worst:.3g}, more than {bound:.3g}"


def check_forward(score, case, root):
    at = f"{root}/{case['name']}"
    want = arrays(f"{at}/recording.safetensors")["logits"]

    def one_pass():
        logits, decoded = forward(f"{at}/made", f"{at}/recording.safetensors", "transformers5", f"{at}/griffin.safetensors")
        problem = apart(want, logits)
        if not problem and not np.array_equal(decoded, logits[:, 2:]):
            problem = "decoding token by token gives other bits than one pass"
        return problem

    score.attempt(f"forward pass of {case['name']}", one_pass)


def check_conversions(score, case, root):
    at = f"{root}/{case['name']}"
    made, out = f"{at}/made", f"{at}/converted"

    def converted():
        griffin.convert(made, out, "--verify")
        griffin.run("verify", made, out)
        griffin.run("diff", made, out)
        summary = json.loads(griffin.run("inspect", "--json", made)[0])["model"]
        problems = [] if summary and "attention_window" in summary else ["inspect does not know the settings"]
        with open(f"{made}/config.json") as f:
            source = json.load(f)
        with open(f"{out}/config.json") as f:
            kept = json.load(f)
        problems += [f"{key} is not kept" for key in source if kept.get(key) != source[key]]
        return "; ".join(problems)

    score.attempt(f"conversion of {case['name']}", converted)
    beyond = beyond_original(case["config"])

    def to_original():
        if not beyond and case["config"].get("tie_word_embeddings", True):
            griffin.convert(made, f"{at}/original.pt", "--to=torch", "--verify")
            return ""
        if not beyond:
            return ""
        _, error = griffin.run("convert", "--to=torch", made, f"{at}/original.pt", expect=3)
        missing = [name for name in beyond if name not in error]
        return f"the error does not name {missing}: {error}" if missing else ""

    score.attempt(f"{case['name']} to the original's layout", to_original)


def notes_on_4(directory):
    """What inspect says of transformers 4.57 and a directory."""
    return [n for n in json.loads(griffin.run("inspect", "--json", directory)[0])["model"].get("notes") or [] if "4.57" in n]


def check_result(score, generation, job, result):
    """Holds what one version of transformers does with a directory against what griffin says. Returns the logits; None if it has none."""
    label = f"transformers {generation} on {job['name']}"
    notes = notes_on_4(job["directory"]) if generation == "4" else []
    if result["error"] and any(n in note for note in notes for n in ("does not have", "fails", "needs it")):
        score.check(f"{label}, which it cannot run", "")
        return None
    if not score.check(label, result["error"]):
        return None
    got = arrays(result["logits"])["logits"]
    wrong = any("without an error" in n for n in notes)
    semantics = "transformers5" if generation == "5" or wrong else "transformers4"

    def compare():
        problem = apart(got, forward(job["directory"], job["recording"], semantics, f"{job['directory']}.safetensors")[0])
        return ("" if problem else "logits agree") if wrong else problem

    score.attempt(f"{label}, which it computes wrongly" if wrong else f"{label}: logits", compare)
    return got


def check_runtimes(score, root, all_cases):
    """Both versions of transformers compute what griffin says with sources and conversions, and the same bits with both. Where 4.57 reads
    fields of the source otherwise, or not at all, the conversion may be another model to it."""
    jobs = [dict(name=f"{c['name']}/{which}", directory=f"{root}/{c['name']}/{which}", recording=f"{root}/{c['name']}/recording.safetensors")
            for c in all_cases for which in ("made", "converted") if os.path.isdir(f"{root}/{c['name']}/{which}")]
    with open(f"{root}/run.json", "w") as f:
        json.dump(jobs, f)
    for generation, done in with_transformers("variants_hf.py", "run", f"{root}/run.json"):
        results = {r["name"]: r for r in map(json.loads, done.stdout.splitlines())}
        logits = {}
        for job in jobs:
            result = results.get(job["name"], dict(error=f"no result: {done.stderr[-1000:]}"))
            logits[job["name"]] = check_result(score, generation, job, result)
        compared = 0
        for case in all_cases:
            made, converted = (logits.get(f"{case['name']}/{which}") for which in ("made", "converted"))
            if made is None or converted is None:
                continue
            if generation == "4" and set(notes_on_4(f"{root}/{case['name']}/made")) - set(notes_on_4(f"{root}/{case['name']}/converted")):
                continue
            compared += 1
            score.check(f"transformers {generation} on {case['name']}: bits", "" if np.array_equal(made, converted) else "the conversion has other bits")
            if generation == "5":
                recorded = arrays(f"{root}/{case['name']}/recording.safetensors")["logits"]
                score.check(f"transformers 5 on {case['name']}: recording", "" if np.array_equal(made, recorded) else "it does not compute the same bits twice")
        ran = sum(x is not None for x in logits.values())
        print(f"transformers {generation} ran {ran} of {len(jobs)} directories, and computes the same bits with source and conversion of {compared} of {len(all_cases)} models")
        score.check(f"transformers {generation} compares some", "" if compared >= len(all_cases) // 4 else f"only {compared}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="default: random")
    parser.add_argument("--models", type=int, default=len(ACTIVATIONS), help="number of random models")
    parser.add_argument("--keep", help="work in this directory and keep it")
    args = parser.parse_args()
    score = griffin.Score(f"variants --seed {args.seed} --models {args.models}")
    print(f"variants: seed {args.seed}", flush=True)
    root = os.path.abspath(args.keep) if args.keep else tempfile.mkdtemp(prefix="griffin-variants-")
    try:
        all_cases = list(cases(args.seed, args.models))
        os.makedirs(root, exist_ok=True)
        with open(f"{root}/make.json", "w") as f:
            json.dump([dict(c, directory=f"{root}/{c['name']}") for c in all_cases], f)
        for _, done in with_transformers("variants_hf.py", "make", f"{root}/make.json", only="5"):
            score.check("models are made", "" if done.returncode == 0 else done.stderr[-3000:])
        for case in all_cases:
            check_forward(score, case, root)
            check_conversions(score, case, root)
        check_runtimes(score, root, all_cases)
    finally:
        if not args.keep:
            shutil.rmtree(root)
    score.finish()


if __name__ == "__main__":
    main()
