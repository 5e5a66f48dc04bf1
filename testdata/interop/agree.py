"""Compares transformers on converted models with the original: python.sh current agree.py [--seed N] [--random N]

Makes models from a random seed, converts them with griffin, and checks that both versions of transformers load the
directories without a message and compute the logits of google-deepmind/recurrentgemma, within float32 rounding:
  - transformers 5 on directories written with --match-runtime, at every position of three windows, in one pass, with
    the cache and in generation; without that flag, up to the window; transformers 4.57 up to the window + 1, in one pass;
  - models without embedding scale, without soft cap, without attention blocks, and without all of these;
  - a model without an exact form, written with --allow-inexact: with the number of inexact elements that griffin reports.
Then it converts each directory back and compares the result with the source, bit for bit.
Exits with status 1 if anything differs. It prints the seed, with which a run can be repeated.
"""

import argparse
import json
import os
import random
import shutil
import tempfile

import numpy as np

import family
import golden
import griffin
import originals
from griffin import differences
from interop import with_transformers

DTYPES = ("float32", "bfloat16")

# The paper's models in small: no embedding scale, no soft cap, an RG-LRU that is wider than the model.
PAPER = dict(vocab_size=96, width=64, mlp_expanded_width=192, num_heads=4, lru_width=88, attention_window_size=8,
             embeddings_scale_by_sqrt_dim=False, logits_soft_cap=0.0)
WITHOUT = {
    "paper-griffin": dict(PAPER, block_types=[family.R, family.R, family.A] * 2),
    "paper-hawk": dict(PAPER, block_types=[family.R] * 4),
    "no-scale": dict(PAPER, block_types=[family.R, family.A, family.R], logits_soft_cap=20.0, width=16),
    "no-cap": dict(PAPER, block_types=[family.A, family.R], embeddings_scale_by_sqrt_dim=True, width=40,
                   num_heads=2),
    "attention-only": dict(PAPER, block_types=[family.A, family.A], embeddings_scale_by_sqrt_dim=True,
                           logits_soft_cap=30.0),
    "hawk": dict(PAPER, block_types=[family.R, family.R], embeddings_scale_by_sqrt_dim=True, logits_soft_cap=30.0),
}


def cases(seed, how_many_random):
    """Yields (name, configuration, dtype) of each case."""
    rng = np.random.default_rng(seed)
    for name in ("tiny-griffin", "odd-griffin", "small-griffin"):
        yield name, family.CASES[name], DTYPES[seed % 2]
    for i, (name, config) in enumerate(WITHOUT.items()):
        yield name, config, DTYPES[(seed + i) % 2]
    for i in range(how_many_random):
        config = family.random_config(rng)
        if config["lru_width"] % 2:  # not supported by the JAX implementation; the number of heads is odd too
            config["lru_width"] += config["num_heads"]
        if rng.random() < 0.5:
            config["logits_soft_cap"] = 0.0
        yield f"random-{i}", config, DTYPES[i % 2]


def record(config, params, seed, path):
    """Records the results of the original torch implementation in float32. Returns the largest difference between its
    logits and those of the JAX implementation, and the largest logit."""
    import jax
    import jax.numpy as jnp
    import torch
    from recurrentgemma.jax import griffin as jax_griffin
    from recurrentgemma.torch import griffin as torch_griffin
    wide = family.map_leaves(lambda x: x.astype(np.float32), params)
    window = config["attention_window_size"]
    rng = np.random.default_rng(seed + 1000)
    tokens = rng.integers(0, config["vocab_size"], (2, 3 * window)).astype(np.int32)
    model = torch_griffin.Griffin(golden.griffin_config(config), gradient_checkpointing=False, dtype=torch.float32)
    model.load_state_dict(family.torch_state(wide))

    def logits_of(t):
        t = torch.tensor(t.astype(np.int64))
        with torch.no_grad():
            return model(t, torch.arange(t.shape[1]).expand(*t.shape))[0].numpy()

    logits = logits_of(tokens)
    other = jax_griffin.Griffin(golden.griffin_config(config), gradient_checkpointing=False)
    positions = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    by_jax = np.asarray(jax.jit(other.apply)({"params": originals.as_jax(wide)}, jnp.asarray(tokens),
                                             jnp.asarray(positions))[0])
    prompt = window // 2 + 2
    text = tokens[:, :prompt]
    for _ in range(2 * window):
        text = np.concatenate([text, logits_of(text)[:, -1].argmax(-1).astype(np.int32)[:, None]], 1)
    golden.save(path, dict(tokens=tokens, logits=logits, generated=text.astype(np.int64),
                           prompt=np.array(prompt)), {})
    return float(np.abs(logits - by_jax).max()), float(np.abs(logits).max())


def check_case(score, root, name, config, dtype, seed, jobs):
    params = family.make_params(config, seed, dtype)
    case = f"{root}/{name}"
    os.makedirs(f"{case}/original")
    originals.torch_files(f"{case}/original", params)
    apart, largest = record(config, params, seed, f"{case}/recording.safetensors")
    noise = max(8 * apart, 1e-6 * largest)
    window, source = config["attention_window_size"], f"{case}/original/torch.pt"
    everywhere = 3 * window
    attends = family.A in config["block_types"]
    want = griffin.inspect(source)
    for kind, flags in (("plain", []), ("matched", ["--match-runtime=transformers5"])):
        out = f"{case}/{kind}"
        label = f"{name} {dtype} {kind}"
        if not score.attempt(f"convert {label}", lambda: griffin.convert(
                source, out, "--verify", *flags, *family.settings_flags(config))):
            continue
        job = dict(label=label, converted=out, recording=f"{case}/recording.safetensors", noise=noise)
        jobs["5"].append(dict(job, agree=everywhere if flags or not attends else window))
        jobs["4"].append(dict(job, agree=window + 1 if attends else everywhere))
        for record_kept in (True, False):
            back = f"{case}/{kind}-{'back' if record_kept else 'back-without-record'}.pt"

            def there_and_back():
                if not record_kept:
                    os.remove(f"{out}/conversion.json")
                griffin.convert(out, back, "--to=torch", "--verify")
                return differences(want, griffin.inspect(back))

            score.attempt(f"{label} back to torch{'' if record_kept else ', without conversion.json'}", there_and_back)


def check_inexact(score, root, seed, jobs):
    """A model without embedding scale whose width is not a power of four is refused, and written with
    --allow-inexact, with the number of inexact elements."""
    config = dict(WITHOUT["paper-griffin"], width=40, num_heads=2)
    params = family.make_params(config, seed, "float32")
    case = f"{root}/inexact"
    os.makedirs(f"{case}/original")
    originals.torch_files(f"{case}/original", params)
    apart, largest = record(config, params, seed, f"{case}/recording.safetensors")
    source, flags = f"{case}/original/torch.pt", family.settings_flags(config)

    def refused():
        _, error = griffin.run("convert", *flags, source, f"{case}/hf", expect=3)
        return "" if "--allow-inexact" in error else f"the error does not mention --allow-inexact: {error}"

    score.attempt("a model without an exact form is refused", refused)

    def written():
        out, _ = griffin.run("convert", "--json", "--allow-inexact", "--match-runtime=transformers5", *flags, source,
                             f"{case}/hf")
        result = json.loads(out)
        with np.errstate(all="ignore"):
            whole = params["embedder"]["input_embedding"]
            by = np.float32(result["huggingface"]["embedding_divided_by"])
            lost = int((whole / by * by != whole).sum())
        return "" if result["inexact"] == lost else f"griffin counts {result['inexact']} inexact elements, numpy {lost}"

    if score.attempt("a model without an exact form is written with --allow-inexact", written):
        jobs["5"].append(dict(label="inexact", converted=f"{case}/hf", recording=f"{case}/recording.safetensors",
                              agree=3 * config["attention_window_size"], noise=max(8 * apart, 1e-6 * largest)))


def judged(score, root, jobs):
    worst = {}
    for generation in jobs:
        with open(f"{root}/jobs{generation}.json", "w") as f:
            json.dump(jobs[generation], f)
    for generation in jobs:
        for which, done in with_transformers("agree_hf.py", f"{root}/jobs{generation}.json", only=generation):
            verdicts = [json.loads(line) for line in done.stdout.splitlines()]
            for verdict in verdicts:
                score.check(verdict["label"], verdict["problem"])
            worst[which] = max((v["worst"] or 0 for v in verdicts), default=0)
            if len(verdicts) != len(jobs[generation]):
                score.check(f"transformers {which}",
                            f"judged {len(verdicts)} of {len(jobs[generation])}: {done.stderr[-2000:]}")
    for generation, value in worst.items():
        print(f"transformers {generation}: largest difference between logits that must agree: {value:.2g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="default: random")
    parser.add_argument("--random", type=int, default=3, help="number of random configurations")
    parser.add_argument("--keep", help="work in this directory and keep it")
    args = parser.parse_args()
    score = griffin.Score(f"agree --seed {args.seed} --random {args.random}")
    print(f"agree: seed {args.seed}", flush=True)
    root = os.path.abspath(args.keep) if args.keep else tempfile.mkdtemp(prefix="griffin-agree-")
    try:
        jobs = {"5": [], "4": []}
        for name, config, dtype in cases(args.seed, args.random):
            check_case(score, root, name, config, dtype, args.seed, jobs)
        check_inexact(score, root, args.seed, jobs)
        judged(score, root, jobs)
    finally:
        if not args.keep:
            shutil.rmtree(root)
    score.finish()


if __name__ == "__main__":
    main()
