"""Writes the weights of a case with the names of transformers, even if transformers cannot run the model because it has
no soft cap or no embedding scale. The tests of package reference use them if ../../testdata/CASE has no directory hf.

    testdata/interop/python.sh current ../../reference/testdata/weights.py CASE_DIR OUT.safetensors
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../testdata/interop"))

import family  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

case = json.load(open(sys.argv[1] + "/case.json"))
params = family.make_params(case["config"], case["seed"], case["dtype"])
save_file(family.hf_state(params), sys.argv[2])
