"""Runs models with candle: python runtimes_candle.py JOBS.json (see runtimes_job.py)

$CANDLE is the program of the directory candle. Logits are those of the last position that a call reads: "prompt.N" begins there. "again" is
the last logits of the tokens read at once by a model that has read them before, "pieces" those of 5 tokens and then all others, "at.N" for
each N of job["at"] those of one token at that position, and if job["half"] is set "half" is "whole" in float16. If job["long"] is set, "long" is
so many tokens, each repeated from those of the job, one by one, and "long.exact" the same in float32. job["dtype"], if there is one, is the
type in which the model computes.
"""

import json
import os
import subprocess

import numpy as np

import runtimes_job


class Candle:
    """A process of the program with one directory."""

    process = None

    def __init__(self, job):
        self.job = job
        self.ask([], mode="load")

    def ask(self, row, **request):
        """Returns rows of logits, or raises the error of candle."""
        if Candle.process is None:
            Candle.process = subprocess.Popen([os.environ["CANDLE"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        request = dict(dict(dir=self.job["dir"], dtype=self.job.get("dtype"), tokens=row), **request)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return np.array(answer["bits"], np.uint32).view(np.float32)


def passes_of(model, job):
    requests = {"whole": dict(mode="whole"), "again": dict(mode="again"), "pieces": dict(mode="pieces", prompt=5)}
    requests.update({f"prompt.{p}": dict(mode="decode", prompt=p) for p in job["prompts"]})
    requests.update({f"at.{p}": dict(mode="at", prompt=p) for p in job.get("at", [])})
    if job.get("half"):
        requests["half"] = dict(mode="whole", dtype="f16")
    if job.get("long"):
        requests["long"] = dict(mode="decode", prompt=1, repeat=job["long"])
        requests["long.exact"] = dict(requests["long"], dtype="f32")

    def compute(repeat=0, **request):
        return np.stack([model.ask((row * repeat)[:repeat] if repeat else row, **request) for row in job["tokens"]])

    return {name: lambda request=request: compute(**request) for name, request in requests.items()}


if __name__ == "__main__":
    runtimes_job.main(Candle, passes_of)
    if Candle.process:
        Candle.process.stdin.close()
        Candle.process.wait()
