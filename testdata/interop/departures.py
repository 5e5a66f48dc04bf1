"""Holds what griffin says of fields of config.json against transformers: python.sh current departures.py [--seed N] [--all]

Values of the fields that formats/hfconfig/departures.go names, a sample by a random seed (--all: every value), are written into the config.json of
a small model, each into another. Both versions of transformers load each directory, compute logits and generate. Then
  - where griffin calls the directory the same model without a word about the field, both do what they do with the model;
  - where griffin only notes the field, both load it and compute the same logits;
  - where griffin fails it, its effect is what happens: which version fails to load or to run it, computes other logits or generates
    something else, and which ignores it.
Every name in departures.go has to be in the table below. Exits with status 1 if anything differs. It prints the seed, with which a run can
be repeated.
"""

import argparse
import json
import os
import random
import re
import shutil
import tempfile

import numpy as np

import family
import griffin
import originals
from family import A, R
from interop import with_transformers

SOURCE = f"{griffin.REPOSITORY}/formats/hfconfig/departures.go"
CONFIG = dict(vocab_size=40, width=16, mlp_expanded_width=24, num_heads=2, lru_width=16, block_types=[R, A, R], attention_window_size=6,
              embeddings_scale_by_sqrt_dim=True, logits_soft_cap=30.0)

# {field: (values with which transformers does something else, values that it ignores)}
FIELDS = {
    "auto_map": ([{"AutoModelForCausalLM": "absent.Model"}], [{}]),
    "configuration_files": ([["config.4.0.0.json"]], [[]]),
    "transformers_weights": (["absent.safetensors"], [None]),
    "is_encoder_decoder": ([True], [False]),
    "pruned_heads": ([{"0": [1]}], [{}]),
    "is_causal": ([False], [True]),
    "return_dict": ([False], [True]),
    "per_layer_config": ([{"0": {"hidden_size": 8}}], [{}]),
    "fusion_config": ([{"a": 1}, [1]], [{}]),
    "kv_sharing_modes": ([["a"]], [[]]),
    "number_of_conv_states": (["x", None], [1, 2, 0]),
    "mlp_layer_types": ([["dense"]], [None]),
    "mtp_layer_types": ([3], [["dense"], "x", [3], {"a": 1}, []]),
    "experts_implementation": (["absent"], [None]),
    "_experts_implementation": (["absent"], [None]),
    "attn_implementation": (["absent"], ["eager", "sdpa", None]),
    "_attn_implementation": (["absent"], ["eager"]),
    "_attn_implementation_internal": (["absent"], ["eager"]),
    "base_model_tp_plan": ([True, 3], [{"layers.*": "colwise"}, None]),
    "base_model_ep_plan": ([True], [{}]),
    "base_model_pp_plan": ([True], [{}]),
    "base_model_fsdp_plan": ([True], [{}]),
    "text_config": ([{}, 3], [None]),
    "attribute_map": ([{"hidden_size": "width"}], []),
    "sub_configs": ([{}, {"a": 1}, 3], []),
    "use_return_dict": ([True], []),
    "layers_block_type": ([["recurrent"]], []),
    "layer_types": ([["recurrent"]], []),
    "per_layer_attributes": ([[]], []),
    "is_heterogeneous": ([False], []),
    "nested_rope_parameter_keys": ([[]], []),
    "ignore_keys_at_rope_validation": ([3], [[], ["x"], None]),
    "quantization_config": ([{"quant_method": "bitsandbytes", "load_in_8bit": True}, None], []),
    # what transformers refuses: formats/hfconfig/refusals.go
    "dtype": (["bf16", "torch.float32", "auto", ["float32"]], ["float", None]),
    "logits_soft_cap": ([None, 30], []), "rms_norm_eps": ([None], []), "head_dim": ([None, 8.0], []), "hidden_size": ([None], []),
    "hidden_activation": (["swiglu", "gelu_pytorch", None], ["gelu_new"]), "final_w_init_variance_scale": ([None], [1]),
    "w_init_variance_scale": ([None, 1], []), "pad_token_id": ([40, -41], [39]), "attention_dropout": ([None], [0]), "partial_rotary_factor": ([None], []),
    # for generate()
    "max_length": ([3], [20]), "min_length": ([9], [0]), "do_sample": ([True], [False]), "num_beams": ([3], [1]),
    "repetition_penalty": ([9.0], [1.0]), "suppress_tokens": ([list(range(20))], [None]), "no_repeat_ngram_size": ([1], [0]),
    "bad_words_ids": ([[[n] for n in range(20)]], [None]), "max_new_tokens": ([2], [None]), "renormalize_logits": ([], [False]),
    # without effect
    "transformers_version": ([], ["9.9.9", 3]), "_name_or_path": ([], ["x", {"a": 1}]), "use_cache": ([], [True, False]),
    "output_attentions": ([], [False]), "torchscript": ([], [False]), "is_decoder": ([], [True]), "add_cross_attention": ([], [True]),
    "tie_encoder_decoder": ([], [True]), "finetuning_task": ([], ["x"]), "id2label": ([], [{"0": "a"}]), "num_labels": ([], [3]),
    "tokenizer_class": ([], ["X"]), "prefix": ([], ["x"]), "use_bfloat16": ([], [True]), "initializer_range": ([], [9.0]),
    "gradient_checkpointing": ([], [True]), "keys_to_ignore_at_inference": ([], [["x"]]), "_block_types": ([], [[A]]),
    "embeddings_scale_by_sqrt_dim": ([], [False]),
    "standardize_rope_params": ([], [3]), "convert_rope_params_to_dict": ([], [3]), "validate_rope": ([], [3]), "validate": ([], [3]),
    "update": ([], [3]), "from_dict": ([], [3]),
    # not known to griffin, which says so
    "a_field_of_mine": ([], [1, {"a": [None]}]), "problem_type": ([], ["regression"]),
}
SAMPLE = 40  # values
METHOD = 3  # a value for a field that replaces a method


def names_in_source():
    """The names of departures and of methods in departures.go."""
    with open(SOURCE) as f:
        text = f.read()
    rows = re.findall(r'^\t\{"(\w+)",', text, re.M)
    methods = re.findall(r'"(\w+)"', re.search(r"var methods = \[\]string\{(.*?)\}", text, re.S)[1])
    return rows, methods


def sample(rng, everything):
    """[(field, value)]: SAMPLE values of fields and some methods, or all."""
    _, methods = names_in_source()
    chosen = []
    for field, kinds in FIELDS.items():
        chosen += [(field, v) for values in kinds for v in values]
    chosen += [(field, METHOD) for field in methods]
    return chosen if everything else rng.sample(chosen, SAMPLE)


def write(base, out, field, value):
    os.makedirs(out)
    os.symlink(f"{base}/model.safetensors", f"{out}/model.safetensors")
    with open(f"{base}/config.json") as f:
        config = json.load(f)
    with open(f"{out}/config.4.0.0.json", "w") as f:
        json.dump(dict(config, logits_soft_cap=2.0), f)
    config[field] = value
    with open(f"{out}/config.json", "w") as f:
        json.dump(config, f)


def said(base, directory, field):
    """(verdict, effect): "same", "noted" or "failed" with its effect."""
    expect = 0
    try:
        out, _ = griffin.run("verify", "--json", base, directory)
    except griffin.Failed:
        expect = 1
        out, _ = griffin.run("verify", "--json", base, directory, expect=1)
    verdict = json.loads(out)
    findings = [f for f in verdict["config"]["findings"] if f.get("field", "").split(".")[0] == field]
    if findings:
        return "failed", findings[0].get("detail", "")
    if expect:
        raise griffin.Failed(f"not the same, and nothing is said of {field}: {out[:500]}")
    notes = json.dumps(verdict)
    return ("noted" if re.search(rf"\b{re.escape(field)}\b", notes) else "same"), ""


def outcome_of(result, base):
    """What a version did, compared with the model: "as before", "loads not", "runs not", "other logits" or "generates otherwise"."""
    if not result["loads"]:
        return "loads not"
    if result["logits"] is None:
        return "runs not"
    if not np.allclose(result["logits"], base["logits"], rtol=0, atol=1e-4):  # attention in eager and sdpa rounds differently
        return "other logits"
    return "as before" if result["tokens"] == base["tokens"] else "generates otherwise"


def problem_with(verdict, effect, outcomes):
    """Why what griffin says does not fit the outcomes {version: outcome}; "" if it does."""
    if verdict == "same":
        wrong = {v: o for v, o in outcomes.items() if o != "as before"}
        return f"called the same: {wrong}" if wrong else ""
    if verdict == "noted":
        wrong = {v: o for v, o in outcomes.items() if o not in ("as before", "generates otherwise")}
        return f"only noted: {wrong}" if wrong else ""
    if set(outcomes.values()) == {"as before"}:
        return f"failed ({effect}), and has no effect"
    for version, name in (("4", "4.57"), ("5", "5.23")):
        did = outcomes[version]
        if f"{name} ignores it" in effect and did != "as before":
            return f"{name} does not ignore it: {did}"
        if re.search(rf"({re.escape(name)}|transformers) fails to load", effect) and did != "loads not":
            return f"{name} loads it: {did}"
        refuses = re.search(rf"(transformers {re.escape(name)} does not load|neither transformers 5.23 nor 4.57 loads) the model", effect)
        if refuses and did not in ("loads not", "runs not"):
            return f"{name} does not refuse it: {did}"
        if f"{name} fails to run" in effect and did != "runs not":
            return f"{name} runs it: {did}"
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="default: random")
    parser.add_argument("--all", action="store_true", help="every value and method")
    args = parser.parse_args()
    score = griffin.Score(f"departures --seed {args.seed}")
    print(f"departures: seed {args.seed}", flush=True)
    root = tempfile.mkdtemp(prefix="griffin-departures-")
    try:
        missing = [name for name in names_in_source()[0] if name not in FIELDS]
        score.check("every name of departures.go is tried", ", ".join(missing))
        os.makedirs(f"{root}/source")
        originals.torch_files(f"{root}/source", family.make_params(CONFIG, args.seed, "float32"))
        base = f"{root}/base"
        griffin.convert(f"{root}/source/torch.pt", base, *family.settings_flags(CONFIG))
        for name in ("conversion.json", "generation_config.json"):
            if os.path.exists(f"{base}/{name}"):
                os.remove(f"{base}/{name}")
        jobs = []
        for i, (field, value) in enumerate(sample(random.Random(args.seed), args.all)):
            job = dict(field=field, value=value, dir=f"{root}/{i}", plain=field == "dtype")
            write(base, job["dir"], field, value)
            jobs.append(job)
        with open(f"{root}/jobs.json", "w") as f:
            json.dump([dict(dir=base)] + jobs, f)
        results = {}
        for generation, done in with_transformers("departures_hf.py", f"{root}/jobs.json"):
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            if len(lines) != 1 + len(jobs) or not lines[0]["loads"] or lines[0]["tokens"] is None:
                raise griffin.Failed(f"transformers {generation}: {lines[:1]} {done.stderr[-2000:]}")
            results[generation] = lines
        for i, job in enumerate(jobs):
            outcomes = {g: outcome_of(lines[1 + i], lines[0]) for g, lines in results.items()}

            def judged():
                verdict, effect = said(base, job["dir"], job["field"])
                problem = problem_with(verdict, effect, outcomes)
                return problem and f"{problem}; {outcomes}, {[lines[1 + i]['error'] for lines in results.values()]}"

            score.attempt(f"{job['field']} {json.dumps(job['value'])}", judged)
    finally:
        shutil.rmtree(root)
    score.finish()


if __name__ == "__main__":
    main()
