"""Checks each document of standard input against the schema that a version of Kubernetes has for it, or else a definition of its kind."""

import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

version, definitions = sys.argv[1:]


def closed(schema):
    """As the strict schemas of Kubernetes are: a key that is not known is a mistake."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        schema.setdefault("additionalProperties", schema.get("x-kubernetes-preserve-unknown-fields", False))
    return schema


def custom():
    """API version and kind → schema."""
    for path in Path(definitions).glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        for served in spec["versions"]:
            name = f"{spec['group']}/{served['name']}", spec["names"]["kind"]
            yield name, closed(served["schema"]["openAPIV3Schema"])


customs = dict(custom())
for document in yaml.safe_load_all(sys.stdin):
    kind = document["kind"]
    try:
        schema = customs.get((document["apiVersion"], kind))
        if schema is None:
            kubernetes_validate.validate(document, version, strict=True)
        else:
            jsonschema.validate(document, schema)
        print("valid", kind)
    except kubernetes_validate.SchemaNotFoundError:
        print("unknown", kind)
    except jsonschema.ValidationError as error:
        print("invalid", kind, error.json_path, error.message)
