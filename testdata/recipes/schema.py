"""Writes job.schema.json: what the published schema of Kubernetes says about the fields of kubernetes.yaml.

python3 schema.py, in an environment with the package kubernetes-validate, which has the published schemas. The result
has the types and required fields of every object in the manifest, all its known fields, and no descriptions.
"""

import json
import os

import kubernetes_validate
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMAS = os.path.join(os.path.dirname(kubernetes_validate.__file__), "kubernetes-json-schema", "v1.37.0-local-strict")


def load(name):
    with open(os.path.join(SCHEMAS, name)) as f:
        return json.load(f)


DEFINITIONS = load("_definitions.json")["$defs"]


def resolve(schema):
    while "$ref" in schema:
        schema = DEFINITIONS[schema["$ref"].split("/")[-1]]
    return schema


def reduce(schema, values):
    """The schema of some values in the manifest; what none of them has is known by its type only."""
    schema = resolve(schema)
    out = {k: schema[k] for k in ("type", "enum", "required", "oneOf") if k in schema and (values or k != "required")}
    inside = [v for v in values if isinstance(v, dict)]
    if "properties" in schema and values:
        out["properties"] = {k: reduce(s, [v[k] for v in inside if k in v]) for k, s in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict) and values:
        out["additionalProperties"] = reduce(schema["additionalProperties"], [x for v in inside for x in v.values()])
    elif "additionalProperties" in schema and values:
        out["additionalProperties"] = schema["additionalProperties"]
    if "items" in schema and values:
        out["items"] = reduce(schema["items"], [x for v in values if isinstance(v, list) for x in v])
    return out


with open(f"{HERE}/kubernetes.yaml") as f:
    manifest = yaml.safe_load(f)
kubernetes_validate.validate(manifest, "1.37", strict=True)
with open(f"{HERE}/job.schema.json", "w") as f:
    json.dump(reduce(load("job-batch-v1.json"), [manifest]), f, separators=(",", ":"))
    f.write("\n")
