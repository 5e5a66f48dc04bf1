"""Compares griffin with the original libraries: python.sh current interop.py [--seed N] [--random N]

Makes checkpoints from a random seed in every original format, with current libraries and those of 2024, and checks that
  - `inspect --digest` agrees with what torch, orbax, flax and safetensors read,
  - `convert` writes the bytes that transformers saves of the same weights, in one file and in shards,
  - both versions of transformers load the results without a message, to the same configuration, with equal outputs,
  - `--dtype` rounds as torch does,
  - with the tokenizer files, both versions tokenize as SentencePiece does.
Exits with status 1 if anything differs. It prints the seed, with which a run can be repeated.
"""

import argparse
import filecmp
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import expect
import family
import griffin
import oracle
import originals
from griffin import differences

HERE = os.path.dirname(os.path.abspath(__file__))
TOKENIZER = os.path.join(griffin.REPOSITORY, "convert/testdata/tokenizer.model")
DTYPES = ("float32", "bfloat16", "float16")


def cases(seed, how_many_random):
    """Yields (name, configuration, dtype, seed) of each case."""
    rng = np.random.default_rng(seed)
    for dtype in DTYPES:
        yield f"tiny-griffin-{dtype}", family.CASES["tiny-griffin"], dtype, seed
    for i, name in enumerate(("odd-griffin", "small-griffin")):
        dtype = DTYPES[(seed + i) % 3]
        yield f"{name}-{dtype}", family.CASES[name], dtype, seed
    for i in range(how_many_random):
        dtype = DTYPES[i % 3]
        yield f"random-{i}-{dtype}", family.random_config(rng), dtype, seed + i


def make_cases(root, args):
    """Makes every case with current libraries, adds the formats as written in 2024, and returns the directories."""
    made = []
    for name, config, dtype, seed in cases(args.seed, args.random):
        out = f"{root}/{name}"
        oracle.make_case(oracle.describe(name, config, seed, dtype), out, recordings=())
        made.append(out)
    params = originals.as_jax(family.load_case(made[0])[1])
    originals.training_state(f"{made[0]}/original/orbax-training", params)
    subprocess.run([f"{HERE}/python.sh", "2024", "originals.py", "2024", *made], check=True)
    subprocess.run([f"{HERE}/python.sh", "current", "originals.py", "mesh", *made[:3]], check=True)
    return made


def same_files(want_dir, got_dir, suffixes):
    """Empty if both directories have the same files with these suffixes, byte for byte."""
    want, got = (sorted(n for n in os.listdir(d) if n.endswith(suffixes)) for d in (want_dir, got_dir))
    if want != got:
        return f"files are {got}, those of transformers {want}"
    differ = [n for n in want if not filecmp.cmp(f"{want_dir}/{n}", f"{got_dir}/{n}", shallow=False)]
    return f"bytes differ: {', '.join(differ)}" if differ else ""


def content(directory):
    """The digests of all files of a directory but conversion.json, which transformers does not read."""
    files = {}
    for name in sorted(set(os.listdir(directory)) - {"conversion.json"}):
        with open(f"{directory}/{name}", "rb") as f:
            files[name] = hashlib.sha256(f.read()).hexdigest()
    return tuple(files.items())


def check_original(score, case_dir, case, kind, path, want, jobs):
    """Checks what griffin reads from a checkpoint in an original format, and its conversion."""
    label = f"{case['name']} {kind}"
    flags = family.settings_flags(case["config"])
    score.attempt(f"inspect {label}", lambda: differences(want, griffin.inspect(path)))
    out = f"{case_dir}/converted/{kind}"
    os.makedirs(os.path.dirname(out), exist_ok=True)

    def convert():
        griffin.convert(path, out, *flags)
        return same_files(f"{case_dir}/hf", out, (".safetensors", "index.json"))

    if score.attempt(f"convert {label}", convert):
        jobs.setdefault((case_dir, content(out)), out)


def check_shards(score, case_dir, case):
    src, out = f"{case_dir}/original/torch.pt", f"{case_dir}/converted/sharded"

    def shards():
        griffin.convert(src, out, "--verify", f"--max-shard-size={oracle.SHARD_SIZE}",
                        *family.settings_flags(case["config"]))
        return same_files(f"{case_dir}/hf-sharded", out, (".safetensors", "index.json"))

    score.attempt(f"convert {case['name']} in shards", shards)


def check_rounding(score, case_dir, case):
    import torch
    from safetensors.torch import load_file
    for dtype in DTYPES:
        out = f"{case_dir}/converted/to-{dtype}"

        def rounded():
            griffin.convert(f"{case_dir}/original/orbax-ocdbt", out, "--verify", f"--dtype={dtype}",
                            *family.settings_flags(case["config"]))
            own = load_file(f"{case_dir}/hf/model.safetensors")
            want = {k: expect.digest_torch(v.to(getattr(torch, dtype))) for k, v in own.items()}
            return differences(want, expect.by_safetensors(f"{out}/model.safetensors"))

        score.attempt(f"convert {case['name']} to {dtype}", rounded)


def check_case(score, case_dir, jobs):
    case, _ = family.load_case(case_dir)
    for era in ("original", "original-2024", "original-mesh"):
        if os.path.isdir(f"{case_dir}/{era}"):
            for kind, path, want in expect.originals(f"{case_dir}/{era}"):
                check_original(score, case_dir, case, f"{era}-{kind}", path, want, jobs)
    own = expect.by_safetensors(f"{case_dir}/hf/model.safetensors")
    for directory in ("hf", "hf-sharded"):
        score.attempt(f"inspect {case['name']} {directory}",
                      lambda: differences(own, griffin.inspect(f"{case_dir}/{directory}")))
    check_shards(score, case_dir, case)
    check_rounding(score, case_dir, case)


def check_odd_torch(score, root):
    """Compares griffin with each version of torch on files whose contents are not plain state dicts."""
    for environment in ("current", "2024"):
        out = f"{root}/torch-{environment}"
        os.makedirs(out)
        subprocess.run([f"{HERE}/python.sh", environment, "odd_torch.py", out], check=True)
        for name in ("zip", "legacy"):
            with open(f"{out}/{name}.json") as f:
                want = {k: (dtype, tuple(shape), digest) for k, (dtype, shape, digest) in json.load(f).items()}
            score.attempt(f"inspect odd tensors, torch of {environment}, {name}",
                          lambda: differences(want, griffin.inspect(f"{out}/{name}.pt")))


def with_transformers(script, *argv, only=""):
    """Runs a script with transformers 5 and with 4.57, or only one of them. Yields the version and the process."""
    for generation, path in (("5", ""), ("4", os.environ["GRIFFIN_INTEROP_HOME"] + "/transformers4" + os.pathsep)):
        if only in ("", generation):
            env = dict(os.environ, PYTHONPATH=path + os.environ.get("PYTHONPATH", ""))
            yield generation, subprocess.run([sys.executable, f"{HERE}/{script}", *argv], env=env, capture_output=True, text=True)


def check_tokenizers(score, root, seed):
    """Checks the tokenizer files that a conversion writes, for a plain and for an instruction-tuned model."""
    import sentencepiece
    model = sentencepiece.SentencePieceProcessor(model_file=TOKENIZER)
    config = dict(family.CASES["micro-griffin"], vocab_size=len(model))
    os.makedirs(f"{root}/tokenizer")
    originals.torch_files(f"{root}/tokenizer", family.make_params(config, seed, "bfloat16"))
    for kind, flags, chat in (("plain", [], []), ("chat", ["--instruction-tuned"], ["--chat"])):
        out = f"{root}/tokenizer/{kind}"
        if not score.attempt(f"convert with a {kind} tokenizer", lambda: griffin.convert(
                f"{root}/tokenizer/torch.pt", out, f"--tokenizer={TOKENIZER}", *flags, *family.settings_flags(config))):
            continue
        for generation, done in with_transformers("tokenizer_check.py", out, f"--seed={seed}", *chat):
            problem = (done.stdout + done.stderr)[-2000:] if done.returncode else ""
            score.check(f"{kind} tokenizer, transformers {generation}", problem)


def judged_by_transformers(score, root, jobs):
    """Compares conversions with transformers. jobs has one directory for each different content."""
    with open(f"{root}/jobs.json", "w") as f:
        json.dump([dict(case=case, own=f"{case}/hf", converted=out) for (case, _), out in jobs.items()], f)
    for generation, done in with_transformers("judge_hf.py", f"{root}/jobs.json"):
        verdicts = [json.loads(line) for line in done.stdout.splitlines()]
        for verdict in verdicts:
            score.check(verdict["label"].replace(root + "/", ""), verdict["problem"])
        if len(verdicts) != len(jobs):
            score.check(f"transformers {generation}", f"judged {len(verdicts)} of {len(jobs)}: {done.stderr[-2000:]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="default: random")
    parser.add_argument("--random", type=int, default=3, help="number of random configurations")
    parser.add_argument("--keep", help="work in this directory and keep it")
    args = parser.parse_args()
    score = griffin.Score(f"interop --seed {args.seed} --random {args.random}")
    print(f"interop: seed {args.seed}", flush=True)
    root = os.path.abspath(args.keep) if args.keep else tempfile.mkdtemp(prefix="griffin-interop-")
    try:
        jobs = {}
        for case_dir in make_cases(root, args):
            check_case(score, case_dir, jobs)
        judged_by_transformers(score, root, jobs)
        check_odd_torch(score, root)
        check_tokenizers(score, root, args.seed)
    finally:
        if not args.keep:
            shutil.rmtree(root)
    score.finish()


if __name__ == "__main__":
    main()
