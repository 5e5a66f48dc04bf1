"""Compares griffin generate and griffin perplexity with the original implementation and transformers, on small models in
float32.

  python.sh current generate.py [--seed S] [--random N]
  python.sh current generate.py --fixture OUT.json     writes what reference/generate's tests compare with

Generation is greedy and goes on for three attention windows after a prompt that is shorter than a window, and after one
that is longer. It must give the tokens of google-deepmind/recurrentgemma, torch and JAX, from each layout; tokens after
a position where these two differ, or have two logits within rounding, are not compared. Perplexity must be what the logits
of the original and of transformers (both versions) give, to 1e-4 nats. Text must be split as SentencePiece splits it. The
memory of 100,000 tokens must be that of 1,000.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import family
import golden
import griffin
import originals

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))


class Original:
    """google-deepmind/recurrentgemma with one set of weights, in torch and JAX."""

    def __init__(self, config, params):
        import jax
        import torch
        from recurrentgemma.jax import griffin as jax_griffin
        from recurrentgemma.torch import griffin as torch_griffin
        wide = family.map_leaves(lambda x: x.astype(np.float32), params)
        settings = golden.griffin_config(config)
        self.torch_model = torch_griffin.Griffin(settings, gradient_checkpointing=False, dtype=torch.float32)
        self.torch_model.load_state_dict(family.torch_state(wide))
        jax_model = jax_griffin.Griffin(settings, gradient_checkpointing=False)
        self.variables = {"params": originals.as_jax(wide)}
        self.jax_apply = jax.jit(lambda v, t, p, c: jax_model.apply(v, t, p, cache=c))

    def torch_step(self, tokens, positions, cache):
        import torch
        with torch.no_grad():
            logits, cache = self.torch_model(torch.tensor(tokens.astype(np.int64)), torch.tensor(positions.astype(np.int64)), cache=cache)
        return logits.float().numpy(), cache

    def jax_step(self, tokens, positions, cache):
        import jax.numpy as jnp
        logits, cache = self.jax_apply(self.variables, jnp.asarray(tokens), jnp.asarray(positions), cache)
        return np.asarray(logits, np.float32), cache

    def logits(self, tokens):
        """The logits of each row of tokens in one pass, by torch."""
        positions = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
        return self.torch_step(tokens, positions, None)[0]

    def greedy(self, step, prompt, count):
        """Generates with the cache, as the original's sampler does: the prompt but its last token, then one at a time. Returns
        the tokens, and how far the two highest logits are apart for each."""
        tokens, margins, cache = list(prompt), [], None
        if len(prompt) > 1:
            before = np.array([prompt[:-1]], np.int32)
            _, cache = step(before, np.arange(len(prompt) - 1, dtype=np.int32)[None], None)
        for _ in range(count):
            at = len(tokens) - 1
            logits, cache = step(np.array([tokens[-1:]], np.int32), np.array([[at]], np.int32), cache)
            row = logits[0, -1]
            second, first = np.partition(row, -2)[-2:]
            margins.append(float(first - second))
            tokens.append(int(row.argmax()))
        return tokens[len(prompt):], margins

    def both(self, prompt, count):
        """The tokens that torch and JAX generate, up to where rounding could change one."""
        by_torch, margins = self.greedy(self.torch_step, prompt, count)
        by_jax, _ = self.greedy(self.jax_step, prompt, count)
        certain = count
        for i, (a, b) in enumerate(zip(by_torch, by_jax)):
            if a != b or margins[i] < 1e-4:
                certain = i
                break
        return by_torch[:certain]


def prompts(rng, config):
    window, vocab = config["attention_window_size"], config["vocab_size"]
    return [[int(t) for t in rng.integers(0, vocab, n)] for n in (1, max(window // 2, 2), 2 * window + 1)]


def lively(params):
    """Weights with smaller embeddings. Small random models repeat the last token, which would hide most mistakes, because the
    output head is the embedding."""
    params["embedder"]["input_embedding"] = (0.2 * params["embedder"]["input_embedding"]).astype(np.float32)
    return params


def write_fixture(path):
    out = []
    for name in ("odd-griffin", "micro-hawk", "tiny-griffin", "micro-griffin"):
        case, params = family.load_case(os.path.join(ROOT, "testdata", name))
        original, rng = Original(case["config"], params), np.random.default_rng(case["seed"])
        count = 3 * case["config"]["attention_window_size"] + 5
        candidates = [prompts(rng, case["config"]) for _ in range(40)]
        for of_length in zip(*candidates):  # the prompt with the most different tokens in its continuation
            prompt = max(of_length, key=lambda p: len(set(original.greedy(original.torch_step, p, count)[0])))
            tokens = original.both(prompt, count)
            out.append(dict(case=name, prompt=prompt, tokens=tokens))
            print(f"{name}: prompt of {len(prompt)}, {len(tokens)} tokens, {len(set(tokens))} different ones", flush=True)
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(e) for e in out) + "\n]\n")


def run_json(*args):
    return json.loads(griffin.run(*args, "--json")[0])


def nll(logits, tokens):
    """The mean negative log-likelihood of all tokens but the first of each row, in nats."""
    logits = logits[:, :-1].astype(np.float64)
    peak = logits.max(-1, keepdims=True)
    log_z = np.log(np.exp(logits - peak).sum(-1)) + peak[..., 0]
    chosen = np.take_along_axis(logits, tokens[:, 1:, None].astype(np.int64), -1)[..., 0]
    return float((log_z - chosen).mean())


COMPARED = []  # tokens of each continuation that were compared, and all of them


def check_generation(score, label, original, config, source, flags, rng):
    for prompt in prompts(rng, config):
        count = 3 * config["attention_window_size"] + 5
        want = original.both(prompt, count)
        COMPARED.append((len(want), count))

        def same():
            got = run_json("generate", source, "--tokens", ",".join(map(str, prompt)), "--max-tokens", str(count), "--ignore-eos", *flags)
            if len(got["tokens"]) != count:
                return f"{len(got['tokens'])} tokens, want {count}"
            if got["text"] is not None:
                return f"text {got['text']!r} without a tokenizer"
            for i, (a, b) in enumerate(zip(got["tokens"], want)):
                if a != b:
                    return f"token {i} after a prompt of {len(prompt)} is {a}, the original gives {b}"
            return ""

        score.attempt(f"{label}: {len(want)} of {count} tokens after a prompt of {len(prompt)}", same)


def check_perplexity(score, root, label, original, config, source, directory, flags, rng):
    tokens = rng.integers(0, config["vocab_size"], (2, 4 * config["attention_window_size"])).astype(np.int32)
    path = f"{root}/tokens.safetensors"
    golden.save(path, dict(tokens=tokens), {})
    want = nll(original.logits(tokens), tokens)

    def close(name, checkpoint, want, *more):
        def check():
            got = run_json("perplexity", checkpoint, "--tokens", path, *more)
            if got["tokens"] != tokens.size or got["predicted"] != tokens.size - len(tokens):
                return f"{got['tokens']} tokens, {got['predicted']} of them predicted"
            if abs(got["nll"] - want) > 1e-4 or abs(got["perplexity"] / np.exp(want) - 1) > 2e-4:
                return f"{got['nll']} nats and perplexity {got['perplexity']}, want {want} nats"
            return ""

        score.attempt(f"{label}: perplexity as {name}", check)

    close("the original", source, want, *flags)
    if not directory:
        return
    for which, python_path in (("5", None), ("4", f"{os.environ['GRIFFIN_INTEROP_HOME']}/transformers4")):
        env = dict(os.environ)
        if python_path:
            env["PYTHONPATH"] = python_path + os.pathsep + env.get("PYTHONPATH", "")
        done = subprocess.run([sys.executable, __file__, "--logits", directory, path], capture_output=True, text=True, env=env)
        if done.returncode:
            score.check(f"{label}: transformers {which}", done.stderr[-2000:])
            continue
        by_transformers = np.load(f"{path}.npy")
        close(f"transformers {which}", directory, nll(by_transformers, tokens), "--semantics", f"transformers{which}")
        if which == "5":
            close("transformers 5, which is the default", directory, nll(by_transformers, tokens))

    def divergence():
        got = run_json("perplexity", source, directory, "--tokens", path, *flags)
        first, second = original.logits(tokens)[:, :-1], np.load(f"{path}.5.npy")[:, :-1]
        log_p, log_q = (x - np.log(np.exp(x.astype(np.float64)).sum(-1, keepdims=True)) for x in (first.astype(np.float64), second.astype(np.float64)))
        kl = float((np.exp(log_p) * (log_p - log_q)).sum(-1).mean())
        agree = float((first.argmax(-1) == second.argmax(-1)).mean())
        both = got["comparison"]
        if abs(both["kl"] - kl) > 1e-4 or abs(both["top1_agreement"] - agree) > 0.02:
            return f"KL {both['kl']}, agreement {both['top1_agreement']}; want {kl}, {agree}"
        return ""

    score.attempt(f"{label}: divergence of transformers 5 from the original", divergence)


# Runs a command and prints its peak resident memory in kilobytes. A process of its own, because that of this script, which is
# large, would be counted.
MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def check_memory(score):
    """Compares the peak resident memory of short and long continuations."""
    def peak(count):
        return int(subprocess.run([sys.executable, "-S", "-c", MEASURE, griffin.BINARY, "generate", f"{ROOT}/testdata/micro-griffin/hf", "--tokens", "1,2,3",
                                   "--ignore-eos", "--temperature", "1", "--max-tokens", str(count)], check=True, capture_output=True, text=True,
                                  env=dict(os.environ, GOGC="20")).stdout)  # so that little of it is garbage

    def flat():
        short, long = peak(1_000), peak(100_000)
        print(f"generate: {short >> 10} MiB for 1,000 tokens, {long >> 10} MiB for 100,000")
        return f"{short} kB for 1,000 tokens, {long} for 100,000" if long > short + 8192 or short > 65536 else ""

    score.attempt("memory over 100,000 tokens", flat)


def logits_of(directory, path):
    """Writes the logits of a version of transformers, in one pass."""
    import torch
    import transformers
    from safetensors.numpy import load_file
    tokens = load_file(path)["tokens"]
    model, _ = golden.load_hf(directory, "float32")
    ids = torch.tensor(tokens.astype(np.int64))
    positions = torch.arange(tokens.shape[1]).expand(*tokens.shape)
    more = dict(position_ids=positions) if transformers.__version__ >= "5" else {}
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False, **more).logits.float().numpy()
    np.save(f"{path}.npy", logits)
    if transformers.__version__ >= "5":
        np.save(f"{path}.5.npy", logits)


def check_tokenizer(score, root, seed):
    """Runs the parity test of reference/tokenizer with fresh texts, on the model of the tests and on one trained now."""
    for name, model in (("the model of the tests", f"{ROOT}/convert/testdata/tokenizer.model"), ("a new model", None)):
        out = f"{root}/parity.json"
        args = [sys.executable, os.path.join(os.path.dirname(__file__), "tokenizer_parity.py"), out, "--random", "5000", "--seed", str(seed)]
        subprocess.run(args + (["--model", model] if model else []), check=True)
        done = subprocess.run(["go", "test", "./reference/tokenizer", "-count=1", "-run", "TestParity|TestEncodeReader$", "-parity", out,
                               "-parity-model", model or f"{root}/parity.model"], cwd=ROOT, capture_output=True, text=True)
        score.check(f"tokens of 5,000 texts as by SentencePiece, {name}", done.stdout[-2000:] if done.returncode else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="default: random")
    parser.add_argument("--random", type=int, default=2, help="number of random configurations")
    parser.add_argument("--fixture", metavar="OUT", help="write the fixture of reference/generate")
    parser.add_argument("--logits", nargs=2, metavar=("DIR", "TOKENS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.fixture:
        return write_fixture(args.fixture)
    if args.logits:
        return logits_of(*args.logits)
    print(f"generate: seed {args.seed}", flush=True)
    score = griffin.Score(f"generate --seed {args.seed} --random {args.random}")
    rng = np.random.default_rng(args.seed)
    root = tempfile.mkdtemp(prefix="griffin-generate-")
    try:
        cases = [(n, family.CASES[n]) for n in ("odd-griffin", "small-griffin", "micro-hawk")]
        for i in range(args.random):
            config = family.random_config(rng)
            if config["lru_width"] % 2:  # not supported by the JAX implementation; the number of heads is odd too
                config["lru_width"] += config["num_heads"]
            cases.append((f"random-{i}", config))
        for name, config in cases:
            params = lively(family.make_params(config, args.seed, "float32"))
            case = f"{root}/{name}"
            os.makedirs(case)
            originals.torch_files(case, params)
            source, flags = f"{case}/torch.pt", family.settings_flags(config)
            original = Original(config, params)
            check_generation(score, f"{name} from .pt", original, config, source, flags, rng)
            directory = None
            if family.has_plain_hf_form(config):
                directory = f"{case}/hf"
                griffin.convert(source, directory, *flags)
                check_generation(score, f"{name} from its conversion", original, config, directory, ["--semantics", "original"], rng)
            check_perplexity(score, root, name, original, config, source, directory, flags, rng)
        check_tokenizer(score, root, args.seed)
        check_memory(score)
    finally:
        shutil.rmtree(root)
    print(f"generate: {sum(c for c, _ in COMPARED)} of {sum(n for _, n in COMPARED)} generated tokens compared")
    score.finish()


if __name__ == "__main__":
    main()
