#!/usr/bin/env python3
"""Records a golden fixture from Hugging Face transformers, for griffin to verify checkpoints against.

    python capture_transformers.py recurrentgemma-2b --random 128 --out golden.safetensors

CHECKPOINT is a directory, or the name of a model that is in the local cache. It needs torch, transformers and
safetensors, runs on the processor or with --device cuda, and writes tokens, positions, logits, hidden.i, temporal.i
and final_norm. transformers is run without cache and without mask: with either it computes something else. The flags
that change how products are rounded are recorded.
"""

from common import *  # replaced by the text of common.py when the script is printed


def parameters(directory):
    """The parameters in the safetensors files of a directory, as they are stored."""
    with open(f"{directory}/config.json") as f:
        tied = json.load(f).get("tie_word_embeddings", True)
    kinds = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
    for file in sorted(os.listdir(directory)):
        if not file.endswith(".safetensors"):
            continue
        stored, _ = read_safetensors(f"{directory}/{file}")
        for name, (dtype, shape, data) in stored.items():
            if not (tied and name == "lm_head.weight"):
                yield name.removeprefix("model."), kinds[dtype], shape, data


def local_directory(name):
    """Where the files of a model are."""
    if os.path.isdir(name):
        return name
    from transformers.utils import cached_file
    return os.path.dirname(cached_file(name, "config.json"))


class Watch:
    """Keeps what a model's parts put out."""

    def __init__(self, model):
        self.seen = {}
        for i, layer in enumerate(model.layers):
            layer.register_forward_hook(self.keep(f"hidden.{i + 1}"))
            layer.temporal_block.register_forward_hook(self.keep(f"temporal.{i}"))
        model.layers[0].register_forward_pre_hook(self.first, with_kwargs=True)
        model.final_norm.register_forward_hook(self.keep("final_norm"))

    def first(self, module, args, kwargs):
        self.seen["hidden.0"] = args[0] if args else kwargs["activations"]

    def keep(self, name):
        def hook(module, given, output):
            self.seen[name] = output[0] if isinstance(output, tuple) else output
        return hook


def main():
    p = parser(__doc__)
    p.add_argument("--device", default="cpu", help="such as cuda (default: cpu)")
    args = p.parse_args()

    import torch
    import transformers
    directory = local_directory(args.checkpoint)
    key = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        directory, output_loading_info=True, attn_implementation="eager", **{key: getattr(torch, args.dtype) if args.dtype else "auto"})
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if set(info[kind]) - {"lm_head.weight"}:
            sys.exit(f"{directory}: {kind.replace('_', ' ')}: {sorted(info[kind])[:10]}")
    model.eval().to(args.device)
    inputs = Inputs(args, model.config.vocab_size)
    meta = dict(implementation="transformers", transformers=transformers.__version__, torch=torch.__version__)
    if not args.no_digest:
        meta["model_digest"] = digest("huggingface", parameters(directory))

    result = {"tokens": inputs.tokens}
    tokens = torch.tensor(inputs.tokens.astype(np.int64), device=args.device)
    with torch.no_grad():
        watch = None if args.logits_only else Watch(model.model)
        for prefix, numbers in inputs.passes():
            positions = torch.tensor(numbers.astype(np.int64), device=args.device)
            result[prefix + "positions"] = numbers
            result[prefix + "logits"] = model(input_ids=tokens, position_ids=positions, use_cache=False).logits
            if watch:
                result.update({prefix + name: value for name, value in watch.seen.items()})
    meta.update(torch_precision(args.device), dtype=str(model.dtype).removeprefix("torch."))
    write_fixture(args.out, result, meta, lambda x: x.float().cpu().numpy())


if __name__ == "__main__":
    main()
