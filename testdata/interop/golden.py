"""Runs the implementations on the tokens of a case and records their results.

A recording is a safetensors file with tokens, positions, logits, hidden.0 (embeddings), hidden.i (output of block
i-1) and final_norm, in float32 or int32. All but that of torch also have packed.*: two documents in each row, with
positions that start again at the second one. That of JAX also has decode.logits: the logits of the last tokens, fed one
at a time with the cache.
"""

from importlib.metadata import version

import numpy as np

import family


def inputs(case):
    rng = np.random.default_rng(case["seed"] + 1000)
    batch, length = case["batch"], case["length"]
    tokens = rng.integers(0, case["config"]["vocab_size"], (batch, length)).astype(np.int32)
    positions = np.broadcast_to(np.arange(length, dtype=np.int32), (batch, length)).copy()
    packed = positions.copy()
    for row in range(batch):
        cut = int(rng.integers(length // 4, 3 * length // 4))
        packed[row, cut:] -= cut
    return tokens, positions, packed


def save(path, tensors, meta):
    from safetensors.numpy import save_file
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, {k: str(v) for k, v in meta.items()})


def griffin_config(config):
    from recurrentgemma import common
    kinds = {family.R: common.TemporalBlockType.RECURRENT, family.A: common.TemporalBlockType.ATTENTION}
    fields = dict(config, block_types=tuple(kinds[b] for b in config["block_types"]))
    return common.GriffinConfig(scan_type=common.ScanType.ASSOCIATIVE_NATIVE, **fields)


def run_jax(case, params, path):
    import jax
    import jax.numpy as jnp
    from recurrentgemma.jax import griffin
    variables = {"params": jax.tree.map(jnp.asarray, params)}
    model = griffin.Griffin(griffin_config(case["config"]), gradient_checkpointing=False)
    tokens, positions, packed = (jnp.asarray(x) for x in inputs(case))

    @jax.jit
    def trace(variables, t, p):
        bound = model.bind(variables)
        x = bound.embedder.encode(t)
        hidden = [x]
        for block in bound.blocks:
            x, _ = block(x, p, None, True)
            hidden.append(x)
        return hidden, bound.final_norm(x), bound(t, p)[0]

    def f32(x):
        return np.asarray(x.astype(jnp.float32))

    result = {"tokens": np.asarray(tokens)}
    for prefix, pos in (("", positions), ("packed.", packed)):
        hidden, final, logits = trace(variables, tokens, pos)
        result[prefix + "positions"] = np.asarray(pos)
        result[prefix + "logits"] = f32(logits)
        result[prefix + "final_norm"] = f32(final)
        result.update({f"{prefix}hidden.{i}": f32(h) for i, h in enumerate(hidden)})
    half = case["length"] // 2
    prefill, step = jax.jit(model.apply), jax.jit(model.apply)
    logits, cache = prefill(variables, tokens[:, :half], positions[:, :half])
    steps = [logits[:, -1]]
    for t in range(half, case["length"]):
        logits, cache = step(variables, tokens[:, t:t + 1], positions[:, t:t + 1], cache)
        steps.append(logits[:, 0])
    result["decode.logits"] = f32(jnp.stack(steps, 1))  # from position half-1 on
    save(path, result, dict(implementation="google-deepmind/recurrentgemma jax", recurrentgemma="1.0.1",
                            jax=version("jax"), dtype=case["dtype"], decode_start=half))


def run_torch(case, params, path):
    import torch
    from recurrentgemma.torch import griffin
    model = griffin.Griffin(griffin_config(case["config"]), gradient_checkpointing=False,
                            dtype=getattr(torch, case["dtype"]))
    model.load_state_dict(family.torch_state(params))
    tokens, positions, _ = inputs(case)
    t, p = torch.tensor(tokens.astype(np.int64)), torch.tensor(positions.astype(np.int64))
    with torch.no_grad():
        x = model.embedder.encode(t)
        hidden = [x]
        for block in model.blocks:
            x, _ = block(x, p, None)
            hidden.append(x)
        final = model.final_norm(x)
        logits, _ = model(t, p)
    result = {"tokens": tokens, "positions": positions, "logits": logits.float().numpy(),
              "final_norm": final.float().numpy()}
    result.update({f"hidden.{i}": h.float().numpy() for i, h in enumerate(hidden)})
    save(path, result, dict(implementation="google-deepmind/recurrentgemma torch", recurrentgemma="1.0.1",
                            torch=version("torch"), dtype=case["dtype"]))


def load_hf(path, dtype=None):
    """The transformers model of a directory, and its lists of missing, unexpected and mismatched keys."""
    import torch
    from transformers import AutoModelForCausalLM
    model, info = AutoModelForCausalLM.from_pretrained(
        path, output_loading_info=True, attn_implementation="eager", dtype=getattr(torch, dtype) if dtype else "auto")
    return model.eval(), info


def trace_hf(case, model):
    """The tensors of a recording, from a transformers model."""
    import torch
    tokens, positions, packed = inputs(case)
    hidden = {}

    def keep(i):
        def hook(module, args, kwargs, output):
            if i == 0:
                hidden["hidden.0"] = (args[0] if args else kwargs["activations"]).float().numpy()
            result = output[0] if isinstance(output, tuple) else output
            hidden[f"hidden.{i + 1}"] = result.float().numpy()
        return hook

    for i, layer in enumerate(model.model.layers):
        layer.register_forward_hook(keep(i), with_kwargs=True)
    model.model.final_norm.register_forward_hook(lambda m, a, o: hidden.update(final_norm=o.float().numpy()))
    result = {"tokens": tokens}
    for prefix, pos in (("", positions), ("packed.", packed)):
        with torch.no_grad():  # with a cache or a mask the results would differ
            logits = model(input_ids=torch.tensor(tokens.astype(np.int64)),
                           position_ids=torch.tensor(pos.astype(np.int64)), use_cache=False).logits
        result[prefix + "positions"] = pos
        result[prefix + "logits"] = logits.float().numpy()
        result.update({prefix + k: v for k, v in hidden.items()})
    return result


def run_hf(case, model_dir, path):
    import torch
    import transformers
    model, _ = load_hf(model_dir, case["dtype"])
    save(path, trace_hf(case, model), dict(
        implementation="transformers", transformers=transformers.__version__, torch=torch.__version__,
        dtype=case["dtype"]))
