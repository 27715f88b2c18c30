"""Checks each document of standard input against the schema that a version of Kubernetes has for it."""

import sys

import kubernetes_validate
import yaml

version = sys.argv[1]
for document in yaml.safe_load_all(sys.stdin):
    try:
        kubernetes_validate.validate(document, version, strict=True)
        print("valid", document["kind"])
    except kubernetes_validate.SchemaNotFoundError:
        print("unknown", document["kind"])
    except kubernetes_validate.ValidationError as error:
        print("invalid", document["kind"], error)
