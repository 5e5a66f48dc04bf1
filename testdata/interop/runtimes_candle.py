"""Runs models with candle: python runtimes_candle.py JOBS.json

JOBS.json and the results are as those of runtimes_mlx.py. $CANDLE is the program of the directory candle. "again" is the last logits of
the tokens read at once by a model that has read them before, "pieces" those of 5 tokens and then all others; job["dtype"], if there is one, is the type in which the model computes.
"""

import json
import os
import subprocess
import sys

import numpy as np


class Candle:
    def __init__(self):
        self.process = subprocess.Popen([os.environ["CANDLE"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, job, row, **request):
        request = dict(dict(dir=job["dir"], dtype=job.get("dtype"), tokens=row), **request)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def run(candle, job):
    passes = {"whole": dict(mode="whole"), "again": dict(mode="again"), "pieces": dict(mode="pieces", prompt=5)}
    passes.update({f"prompt.{p}": dict(mode="decode", prompt=p) for p in job["prompts"]})
    out, failed = {}, {}
    for name, request in passes.items():
        answers = [candle.ask(job, row, **request) for row in job["tokens"]]
        errors = [a for a in answers if "error" in a]
        if errors and not errors[0]["loaded"]:
            return dict(name=job["name"], loads=False, error=errors[0]["error"][:300], failed={})
        if errors:
            failed[name] = errors[0]["error"][:300]
            continue
        out[name] = np.stack([np.array(a["bits"], np.uint32).view(np.float32) for a in answers])
    np.savez(job["out"], **out)
    return dict(name=job["name"], loads=True, error="", failed=failed)


def main():
    candle = Candle()
    with open(sys.argv[1]) as f:
        jobs = json.load(f)
    for job in jobs:
        print(json.dumps(run(candle, job)), flush=True)
    candle.process.stdin.close()
    candle.process.wait()


if __name__ == "__main__":
    main()
