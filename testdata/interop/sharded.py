"""Holds what griffin reads of sharded training checkpoints against their writers: python.sh current sharded.py [--seed N]

sharded_write.py writes one model in every layout of torch, in processes of two, three and eight ranks, with torch of today
and of 2024; griffin has to find the digests of the whole tensors. Files are then taken away and changed: griffin has to
refuse what is left, with exit status 3. --quick is one run of four ranks. --deepspeed is for the environment deepspeed: it
trains with ZeRO of stages 1, 2 and 3, and DeepSpeed's own zero_to_fp32.py is the judge.

    sharded.py fixtures      writes the samples in formats/torch/{dcp,ranks}/testdata
    sharded.py --deepspeed fixtures    those in formats/torch/zero/testdata
"""

import argparse
import glob
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

import griffin

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = f"{griffin.REPOSITORY}/formats/torch"

# Directories of sharded_write.py, and the model in want.json that each holds. Others need an even number of ranks.
LAYOUTS = {"fsdp2/dcp": "model", "fsdp2/ranks": "model", "app": "model", "titan": "model", "titan/step-7": "model", "hf": "model",
           "threads": "model", "dtensors": "dtensors", "sharded-tensors": "model"}
EVEN = {f"{kind}/{files}": "model" for kind in ("fsdp2-tp", "hsdp") for files in ("dcp", "ranks")}


def write(*argv, environment=None):
    """Runs a script that writes, in this environment or in another one."""
    command = [f"{HERE}/python.sh", environment] if environment else [sys.executable, "-W", "ignore"]
    script = argv[0] if environment else f"{HERE}/{argv[0]}"
    done = subprocess.run([*command, script, *map(str, argv[1:])], capture_output=True, text=True, timeout=1800)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, argv))}:\n{done.stderr[-4000:]}")


def digests(path, *keys):
    with open(path) as f:
        want = json.load(f)
    for key in keys:
        want = want[key]
    return {name: (dtype, tuple(shape), digest) for name, (dtype, shape, digest) in want.items()}


def check(score, label, path, want, *flags):
    score.attempt(label, lambda: griffin.differences(want, griffin.inspect(path, *flags)))


def refused(score, label, path, *words):
    """Counts a check that griffin refuses a checkpoint and says why."""
    def run():
        _, error = griffin.run("inspect", "--digest", path, expect=3)
        missing = [w for w in words if w not in error]
        return f"the error does not say {missing}: {error}" if missing else ""
    score.attempt(label, run)


def check_layouts(score, root, label):
    for layout, key in {**LAYOUTS, **EVEN}.items():
        if os.path.exists(f"{root}/{layout}"):
            check(score, f"{label} {layout}", f"{root}/{layout}", digests(f"{root}/want.json", key))


def check_damage(score, root, label):
    """Takes the last rank's file away, and changes a replica."""
    for layout in LAYOUTS | EVEN:
        files = sorted(f for f in glob.glob(f"{root}/{layout}/*") if "optim" not in f)
        if not files or layout in ("titan", "hf"):
            continue
        os.rename(files[-1], f"{root}/taken")
        word = "missing" if files[-1].endswith(".distcp") else "files of ranks are missing"
        refused(score, f"{label} {layout} without {os.path.basename(files[-1])}", f"{root}/{layout}", word)
        os.rename(f"{root}/taken", files[-1])
    refused(score, f"{label} partial", f"{root}/partial", "Partial")


def check_zero(score, world, stage, seed, root):
    label, out = f"ZeRO of stage {stage}, {world} ranks", f"{root}/zero-{world}-{stage}"
    write("zero_write.py", world, stage, seed, out)
    check(score, label, out, digests(f"{out}/want.json"))
    if stage < 3:
        check(score, f"{label}, compute", out, digests(f"{out}/compute.json"), "--weights=compute")
    else:
        score.attempt(f"{label}, compute", lambda: griffin.run("inspect", "--weights=compute", out, expect=3) and "")
    last = sorted(glob.glob(f"{out}/*/*optim_states.pt"))[-1]
    os.remove(last)
    refused(score, f"{label} without {os.path.basename(last)}", out, "files of ranks are missing")


def fixtures(deepspeed):
    with tempfile.TemporaryDirectory() as root:
        if deepspeed:
            for stage in 1, 2, 3:
                write("zero_write.py", 2, stage, stage, f"{root}/stage-{stage}")
                for script in ("zero_to_fp32.py", "zero_to_torch.py"):  # DeepSpeed's own code
                    if os.path.exists(f"{root}/stage-{stage}/{script}"):
                        os.remove(f"{root}/stage-{stage}/{script}")
                keep(f"{root}/stage-{stage}", f"{PACKAGES}/zero/testdata/stage-{stage}")
            return
        for world in 3, 4:
            write("sharded_write.py", world, world, f"{root}/{world}", 1)
        write("sharded_write.py", 2, 2, f"{root}/2024", 1, environment="2024")
        for source, target in {"3/fsdp2/dcp": "dcp/testdata/fsdp2", "4/fsdp2-tp/dcp": "dcp/testdata/tensor-parallel", "3/hf": "dcp/testdata/hf",
                               "3/titan": "dcp/testdata/titan", "3/fsdp2/ranks": "ranks/testdata/fsdp2",
                               "4/fsdp2-tp/ranks": "ranks/testdata/tensor-parallel", "4/hsdp/ranks": "ranks/testdata/hybrid",
                               "3/sharded-tensors": "ranks/testdata/sharded-tensors", "2024/dtensors": "ranks/testdata/torch-2.3"}.items():
            keep(f"{root}/{source}", f"{PACKAGES}/{target}")
            key = "dtensors" if source.endswith("dtensors") else "model"
            with open(f"{PACKAGES}/{target}.json", "w") as f:
                json.dump(digests(f"{root}/{source.split('/')[0]}/want.json", key), f, indent=1)
                f.write("\n")


def keep(source, target):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["fixtures"])
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20), help="default: random")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--deepspeed", action="store_true")
    args = parser.parse_args()
    if args.what:
        return fixtures(args.deepspeed)
    score = griffin.Score(f"sharded --seed {args.seed}{' --quick' * args.quick}{' --deepspeed' * args.deepspeed}")
    with tempfile.TemporaryDirectory(prefix="griffin-sharded-") as root:
        if args.deepspeed:
            for world, stage in ((2, 1), (2, 2), (2, 3), (3, 2), (3, 3)):
                check_zero(score, world, stage, args.seed, root)
            score.finish()
        for world in (4,) if args.quick else (2, 3, 8):
            write("sharded_write.py", world, args.seed + world, f"{root}/{world}")
            check_layouts(score, f"{root}/{world}", f"{world} ranks")
            check_damage(score, f"{root}/{world}", f"{world} ranks")
        if not args.quick:
            write("sharded_write.py", 3, args.seed, f"{root}/2024", environment="2024")
            check_layouts(score, f"{root}/2024", "torch of 2024")
    score.finish()


if __name__ == "__main__":
    main()
