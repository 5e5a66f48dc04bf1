"""Holds what griffin says of runtimes against the runtimes: python.sh current runtimes.py [--seed N] [--candle PROGRAM]

Makes models from a random seed, asks "griffin verify --explain-runtime --json" about their Hugging Face directories, and runs these with
transformers 5.23, transformers 4.57 and mlx-lm, or with candle if its program is given. For each model and runtime it checks
  - whether the directory loads;
  - that logits of a prompt that is read at once without cache are those of the original up to the position that griffin names, and
    others there (the original is google-deepmind/recurrentgemma in torch where it can run the model, else griffin's reference);
  - that they are those of "griffin golden --semantics RUNTIME" at every position, also in packed rows;
  - each case: decoding with the cache after prompts of several lengths, and what fails;
  - that wrong claims are noticed: each claim is changed, and the same check has to fail.
Exits with status 1 if anything differs. It prints the seed, with which a run can be repeated.
"""

import argparse
import copy
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import family
import golden
import griffin
import runtimes_models as models
from interop import with_transformers

HERE = os.path.dirname(os.path.abspath(__file__))
LENGTH, CUT, ROWS = 16, 9, 4
SLACK = 2

# Where the type of a runtime loses digits: the error in float16, as a part of the root mean square of logits, is above the first if the soft cap
# is what griffin writes for none, and below half of it otherwise; and late in a long document it is so many times that of its beginning.
HALF, LATE = 0.008, 2


def original_logits(model, tokens):
    """The logits of the original torch implementation, in float32."""
    import torch
    from recurrentgemma.torch import griffin as torch_griffin
    wide = family.map_leaves(lambda x: x.astype(np.float32), model.params)
    net = torch_griffin.Griffin(golden.griffin_config(model.config), gradient_checkpointing=False, dtype=torch.float32)
    net.load_state_dict(family.torch_state(wide))
    t = torch.tensor(tokens.astype(np.int64))
    with torch.no_grad():
        return net(t, torch.arange(t.shape[1]).expand(*t.shape))[0].numpy()


def recorded(model, semantics):
    """(logits, packed logits) of griffin's reference."""
    from safetensors.numpy import load_file
    out = f"{model.dir}.{semantics}.safetensors"
    griffin.run("golden", "--logits-only", "--semantics", semantics, "--tokens", f"{model.dir}.tokens.safetensors", "--out", out, model.dir)
    made = load_file(out)
    return made["logits"], made["packed.logits"]


def prepare(model, rng):
    """Draws the tokens of a model, and records what the original and griffin compute."""
    tokens = rng.integers(1, model.config["vocab_size"], (ROWS, LENGTH)).astype(np.int32)
    positions = np.broadcast_to(np.arange(LENGTH, dtype=np.int32), tokens.shape).copy()
    packed = positions.copy()
    packed[:, CUT:] -= CUT
    golden.save(f"{model.dir}.tokens.safetensors", {"tokens": tokens, "positions": positions, "packed.positions": packed}, {})
    model.tokens = tokens
    if model.claims:
        return ""
    out, _ = griffin.run("verify", "--explain-runtime", "--json", model.dir)
    model.claims = {c["runtime"]: c for c in json.loads(out)["runtimes"]}
    if model.loads_only:
        return ""
    model.original, model.packed = recorded(model, "original")
    if model.params is not None:
        by_torch = original_logits(model, tokens)
        apart = np.abs(by_torch - model.original).max()
        if apart > 2e-5 * max(1, np.abs(by_torch).max()):
            return f"griffin's logits and those of the original differ by {apart:g}"
        model.original = by_torch
    return ""


def positions_at(model):
    """The last position that candle's rotary embedding has by the claims about it, and the next one."""
    limits = [re.fullmatch(r"more than (\d+) tokens", c["prompt"]) for c in model.claims["candle"]["cases"] if "no more positions" in c["does"]]
    return [int(n[1]) + i for n in limits for i in (-1, 0)]


def run_with(root, which, made, command, env=None):
    """Runs the models with a runtime, and returns {model: (answer, {pass: logits})}."""
    window = models.WINDOW
    jobs = [dict(m.jobs, name=m.name, dir=m.dir, tokens=m.tokens.tolist(), prompts=[2, window, window + 1, window + 2, 1], cut=CUT,
                 loads_only=m.loads_only, at=positions_at(m) if m.jobs.get("at") else [], out=f"{m.dir}.{which}.npz") for m in made]
    path = f"{root}/jobs-{which}.json"
    with open(path, "w") as f:
        json.dump(jobs, f)
    done = command(path)
    answers = {a["name"]: a for a in map(json.loads, done.stdout.splitlines())}
    if len(answers) != len(jobs):
        raise griffin.Failed(f"{which} answered for {len(answers)} of {len(jobs)} models: {done.stderr[-2000:]}")
    results = {}
    for m in made:
        passes = {}
        if answers[m.name]["loads"]:
            with np.load(f"{m.dir}.{which}.npz") as f:
                passes = {k: f[k] for k in f.files}
        results[m.name] = answers[m.name], passes
    return results


def errors(got, want, exact=True):
    """The difference of each position: the largest, or if the runtime rounds to bfloat16 the root of the mean square."""
    apart = np.abs(np.nan_to_num(got.astype(np.float64), nan=1e9) - want)
    return apart.max((0, 2)) if exact else np.sqrt((apart ** 2).mean((0, 2)))


def is_exact(model, runtime):
    """Whether the runtime computes in float32. The others compute in the type of the weights."""
    return model.dtype == "float32" or runtime.startswith("transformers")


def tolerance_of(model, runtime, want):
    """The largest error that counts as rounding."""
    if not is_exact(model, runtime):
        return models.ROUNDING * np.sqrt((want ** 2).mean())
    return (model.tolerance.get(runtime) or models.TOLERANCE[runtime]) * max(1, np.abs(want).max())


def compare(err, tolerance, at, exact):
    """The problem with the claim that logits are those of the original before position `at` (None: everywhere), and others there, or at
    most SLACK positions from there if the runtime rounds to bfloat16."""
    wrong = np.flatnonzero(err > tolerance)
    first = int(wrong[0]) if wrong.size else None
    if first == at or not exact and None not in (first, at) and abs(first - at) <= SLACK:
        return ""
    return f"logits differ from position {first} on, not {at} (by {err.max():.2g}, tolerance {tolerance:.2g})"


PROMPTS = (
    (r"any", lambda n: True), (r"(\d+) tokens?", lambda n, a: n == a), (r"(\d+) to (\d+) tokens", lambda n, a, b: a <= n <= b),
    (r"up to (\d+) tokens", lambda n, a: n <= a), (r"more than (\d+) tokens", lambda n, a: n > a), (r"2 tokens and more", lambda n: n >= 2),
)


def applies(case, prompt, cache):
    if case["cache"] not in (cache, "either"):
        return False
    for pattern, holds in PROMPTS:
        match = re.fullmatch(pattern, case["prompt"])
        if match:
            return holds(prompt, *map(int, match.groups()))
    return False


def judge_case(case, answer, passes, name, start, model, tolerance):
    """The problem with a case for a pass whose logits begin at position `start`."""
    does = case["does"]
    exact = is_exact(model, case["runtime"])
    if "previous call" in does and name == "prompt.1":
        problem = compare(errors(passes["later.1"], model.original, exact), tolerance, 0, exact)
        if problem or not does.startswith("crashes"):
            return problem
    if does.startswith(("crashes", "fails")) or "every pass fails" in does:
        return "" if name in answer["failed"] else "it does not fail"
    if name not in passes:
        return f"it fails: {answer['failed'].get(name)}"
    if "previous call" in does:
        return ""  # the first call has no state to start from
    err = errors(passes[name], model.original[:, start:], exact)
    at = re.search(r"from position (\d+) on", does)
    at = max(int(at[1]) - start, 0) if at else None
    problem = compare(err, tolerance, at, exact)
    if case["as_original"] and not does.startswith(("as the original", "no attention")):
        problem = problem or "as_original, but it does not say so"
    return problem


def judge(model, claim, answer, passes):
    """Yields (claim, problem) for the claims about a model and a runtime."""
    yield "loads", "" if claim["loads"] == answer["loads"] else f"loads is {claim['loads']}: {answer['error']}"
    if not (claim["loads"] or answer["loads"]):
        random = any("random weights" in c["does"] for c in claim["cases"])  # runtimes_hf.py refuses them
        yield "random weights", "" if random == answer["error"].startswith("RandomWeights") else f"random is {random}: {answer['error']}"
    if not (claim["loads"] and answer["loads"]):
        yield "diverges_at", "" if claim["diverges_at"] is None else "diverges_at is not null"
        return
    if model.loads_only or claim.get("not_compared"):
        return
    runtime = claim["runtime"]
    exact = is_exact(model, runtime)
    tolerance = tolerance_of(model, runtime, model.original)
    if "whole" in passes:
        yield "diverges_at", compare(errors(passes["whole"], model.original, exact), tolerance, claim["diverges_at"], exact)
    else:
        yield "diverges_at", "" if claim["diverges_at"] == 0 else f"every pass fails: {answer['failed']['whole']}"
    prompts = [(int(n[7:]), "with") for n in [*passes, *answer["failed"]] if n.startswith("prompt.")]
    missing = [f"{n} {cache} the cache" for n, cache in [(LENGTH, "without"), *prompts] if not any(applies(c, n, cache) for c in claim["cases"])]
    yield "every prompt has a case", ", ".join(missing)
    for case in claim["cases"]:
        label = f"{case['prompt']}, {case['cache']} cache"
        if applies(case, LENGTH, "without"):
            yield f"{label}: whole", judge_case(case, answer, passes, "whole", 0, model, tolerance)
        for name in [n for n in list(passes) + list(answer["failed"]) if n.startswith("prompt.")]:
            prompt = int(name[7:])
            if applies(case, prompt, "with"):
                first = prompt - 1 if runtime == "candle" else 0
                yield f"{label}: {name}", judge_case(case, answer, passes, name, first, model, tolerance)
        if case["prompt"] in ("a second document", "in several pieces"):
            name = {"a second document": "again", "in several pieces": "pieces"}[case["prompt"]]
            yield label, "" if name in answer["failed"] else "it does not fail"
        if case["prompt"] == "packed rows" and "packed" in passes and case["cache"] != "with":
            differs = errors(passes["packed"], model.packed, exact).max() > tolerance
            yield label, "" if differs != case["as_original"] else "packed rows are not what the claim says"
        limit = re.fullmatch(r"more than (\d+) tokens", case["prompt"])
        if "no more positions" in case["does"] and "at" in model.jobs:
            last, next_ = (f"at.{int(limit[1]) + i}" for i in (-1, 0))
            yield label, "" if last in passes and next_ in answer["failed"] else f"{last} fails or {next_} does not"
    if "half" in passes:
        finite = np.isfinite(passes["half"])
        apart = np.sqrt(((passes["half"] - passes["whole"])[finite] ** 2).sum() / finite.size / (passes["whole"] ** 2).mean())
        does = next((c["does"] for c in claim["cases"] if c["prompt"] == "any, in float16"), "as in float32")
        holds = not finite.all() if "infinite" in does else finite.all() and (apart > HALF if "lose digits" in does else apart < HALF / 2)
        yield "float16", "" if holds else f"the error in float16 is {apart:.2g} of the logits, {(~finite).mean():.0%} of which are not finite"
    if "long" in passes:
        err = np.sqrt(((passes["long"] - passes["long.exact"]) ** 2).mean((0, 2)))
        growth = err[-100:].mean() / max(err[:16].mean(), 1e-30)
        loses = any("angles" in r for r in claim["reasons"])
        yield "angles", "" if (growth > LATE) == loses else f"the error grows {growth:.2g}-fold"


def judge_semantics(model, runtime, passes):
    """The problem with griffin's logits under the semantics of a runtime, at every position."""
    plain, packed = recorded(model, runtime)
    exact = is_exact(model, runtime)
    tolerance = 2e-5 * max(1, np.abs(plain).max()) if exact else 2 * tolerance_of(model, runtime, plain)
    for name, want in (("whole", plain), ("packed", packed)):
        if name in passes and errors(passes[name], want, exact).max() > tolerance:
            return f"{name}: logits differ from griffin's by {errors(passes[name], want, exact).max():.2g}"
    return ""


def claims_garbage(claim):
    """Whether griffin says that logits depend on what no runtime means to compute, so that its reference has no form of them."""
    return any("another number of channels" in r for r in claim["reasons"])


def lies(model, claim, exact):
    """Claims that are wrong in one point each, which the passes of the model show."""
    step = 1 if exact else 2 * SLACK + 1

    def changed(**values):
        lie = copy.deepcopy(claim)
        lie.update(values)
        return lie
    yield changed(loads=not claim["loads"])
    if claim["loads"] and not model.loads_only and not claim.get("not_compared"):
        for at in {None, (claim["diverges_at"] or 0) + step, max(0, (claim["diverges_at"] or 0) - step)} - {claim["diverges_at"]}:
            yield changed(diverges_at=at)
        if "half" in model.jobs and any(c["prompt"] == "any, in float16" for c in claim["cases"]):
            yield changed(cases=[c for c in claim["cases"] if c["prompt"] != "any, in float16"])
        if "long" in model.jobs and any("angles" in r for r in claim["reasons"]):
            yield changed(reasons=[r for r in claim["reasons"] if "angles" not in r])
        for i, case in enumerate(claim["cases"]):
            if "no more positions" in case["does"] and "at" in model.jobs:
                lie = copy.deepcopy(claim)
                lie["cases"][i]["prompt"] = re.sub(r"\d+", lambda n: str(int(n[0]) - 1), case["prompt"])
                yield lie
            at = re.search(r"from position (\d+) on", case["does"])
            if at and claim["diverges_at"] and int(at[1]) < LENGTH - 1 - step and case["prompt"] != "packed rows":
                lie = copy.deepcopy(claim)
                lie["cases"][i]["does"] = case["does"].replace(at[0], f"from position {int(at[1]) + step} on")
                yield lie


def check_runtime(score, made, runtime, results):
    noticed, unnoticed = 0, []
    for model in made:
        answer, passes = results[model.name]
        claim = model.claims[runtime]
        for what, problem in judge(model, claim, answer, passes):
            score.check(f"{runtime}, {model.name}: {what}", problem)
        if answer["loads"] and "whole" in passes and model.semantics and not claims_garbage(claim):
            score.attempt(f"{runtime}, {model.name}: griffin golden --semantics", judge_semantics, model, runtime, passes)
        for lie in lies(model, claim, is_exact(model, runtime)):
            if any(problem for _, problem in judge(model, lie, answer, passes)):
                noticed += 1
            else:
                unnoticed.append(f"{model.name}: {lie}")
    print(f"{runtime}: {noticed} wrong claims were noticed")
    score.check(f"{runtime}: wrong claims are noticed", "; ".join(map(str, unnoticed[:3])) if unnoticed or not noticed else "")


def mlx(path):
    home = os.environ["GRIFFIN_INTEROP_HOME"]
    subprocess.run([f"{HERE}/setup_mlx.sh", home], check=True, stdout=sys.stderr)
    return subprocess.run([f"{home}/mlx/bin/python", f"{HERE}/runtimes_mlx.py", path], capture_output=True, text=True)


def candle(program):
    def command(path):
        return subprocess.run([sys.executable, f"{HERE}/runtimes_candle.py", path], env=dict(os.environ, CANDLE=program), capture_output=True, text=True)
    return command


def transformers(generation):
    return lambda path: next(done for _, done in with_transformers("runtimes_hf.py", path, only=generation))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="default: random")
    parser.add_argument("--candle", help="only candle, with this program")
    parser.add_argument("--keep", help="work in this directory and keep it")
    args = parser.parse_args()
    score = griffin.Score(f"runtimes --seed {args.seed}")
    print(f"runtimes: seed {args.seed}", flush=True)
    root = os.path.abspath(args.keep) if args.keep else tempfile.mkdtemp(prefix="griffin-runtimes-")
    runtimes = {"candle": candle(args.candle)} if args.candle else {
        "transformers5": transformers("5"), "transformers4": transformers("4"), "mlx-lm": mlx}
    try:
        made, rng = [], np.random.default_rng(args.seed)
        for model in models.make(root, args.seed, LENGTH):
            if model.only and not set(model.only) & set(runtimes):
                continue
            if score.attempt(f"{model.name}: griffin explains it", prepare, model, rng):
                made.append(model)
        for runtime, command in runtimes.items():
            models_of = [m for m in made if m.runs_with(runtime)]
            check_runtime(score, models_of, runtime, run_with(root, runtime, models_of, command))
    finally:
        if not args.keep:
            shutil.rmtree(root)
    score.finish()


if __name__ == "__main__":
    main()
