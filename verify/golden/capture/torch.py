#!/usr/bin/env python3
"""Records a golden fixture from google-deepmind/recurrentgemma in PyTorch, for griffin to verify checkpoints against.

    python capture_torch.py 2b.pt --random 128 --out golden.safetensors

It needs torch and recurrentgemma, runs on the processor or with --device cuda, and writes tokens, positions, logits,
hidden.i, temporal.i and final_norm; under --decode-from also decode.logits. The flags that change how products are
rounded are recorded.
"""

from common import *  # replaced by the text of common.py when the script is printed


def load(path):
    """Parameters as they are stored, by the original's names."""
    import torch
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    prefix = next((k[:-len("embedder.input_embedding")] for k in state if k.endswith("embedder.input_embedding")), None)
    if prefix is None:
        sys.exit(f"{path}: holds no embedder.input_embedding")
    return {k[len(prefix):]: v for k, v in state.items() if k.startswith(prefix)}


def parameters(state):
    import torch
    for name, value in state.items():
        data = value.contiguous().view(-1).view(torch.uint8).numpy()
        yield name, str(value.dtype).removeprefix("torch."), tuple(value.shape), data


class Watch:
    """Keeps what a model's parts put out."""

    def __init__(self, model):
        self.seen = {}
        for i, block in enumerate(model.blocks):
            block.register_forward_hook(self.keep(f"hidden.{i + 1}"))
            temporal = getattr(block, "recurrent_block", None) or block.attention_block
            temporal.register_forward_hook(self.keep(f"temporal.{i}"))
        model.blocks[0].register_forward_pre_hook(lambda module, given: self.seen.update({"hidden.0": given[0]}))
        model.final_norm.register_forward_hook(self.keep("final_norm"))

    def keep(self, name):
        def hook(module, given, output):
            self.seen[name] = output[0] if isinstance(output, tuple) else output
        return hook


def decode(model, tokens, positions, start):
    """Logits from position start-1 on: the first tokens at once, the others through the cache."""
    import torch
    logits, cache = model(tokens[:, :start], positions[:, :start])
    steps = [logits[:, -1]]
    for t in range(start, tokens.shape[1]):
        logits, cache = model(tokens[:, t:t + 1], positions[:, t:t + 1], cache)
        steps.append(logits[:, 0])
    return torch.stack(steps, 1)


def main():
    p = parser(__doc__)
    add_original_options(p)
    p.add_argument("--device", default="cpu", help="such as cuda (default: cpu)")
    args = p.parse_args()

    import torch
    from recurrentgemma.torch import griffin
    state = load(args.checkpoint)
    config = original_config(args, {k: tuple(v.shape) for k, v in state.items()})
    inputs = Inputs(args, config.vocab_size)
    if args.decode_from is not None and not 1 <= args.decode_from <= inputs.tokens.shape[1]:
        sys.exit(f"--decode-from {args.decode_from}: rows have {inputs.tokens.shape[1]} tokens")
    meta = dict(implementation="google-deepmind/recurrentgemma torch", **versions("recurrentgemma", "torch"))
    if not args.no_digest:
        meta["model_digest"] = digest("torch", parameters(state))
    dtype = getattr(torch, args.dtype) if args.dtype else state["embedder.input_embedding"].dtype
    model = griffin.Griffin(config, device="meta", gradient_checkpointing=False, dtype=dtype)
    model.load_state_dict({k: v.to(args.device, dtype) for k, v in state.items()}, assign=True)
    model.eval()

    result = {"tokens": inputs.tokens}
    tokens = torch.tensor(inputs.tokens.astype(np.int64), device=args.device)
    with torch.no_grad():
        watch = None if args.logits_only else Watch(model)
        for prefix, numbers in inputs.passes():
            positions = torch.tensor(numbers.astype(np.int64), device=args.device)
            result[prefix + "positions"] = numbers
            result[prefix + "logits"], _ = model(tokens, positions, return_cache=False)
            if watch:
                result.update({prefix + name: value for name, value in watch.seen.items()})
        if args.decode_from is not None:
            positions = torch.tensor(inputs.positions.astype(np.int64), device=args.device)
            result["decode.logits"] = decode(model, tokens, positions, args.decode_from)
            meta["decode_start"] = args.decode_from
    meta.update(torch_precision(args.device), dtype=str(dtype).removeprefix("torch."))
    write_fixture(args.out, result, meta, lambda x: x.float().cpu().numpy())


if __name__ == "__main__":
    main()
