#!/usr/bin/env python3
"""Every manifest that ships is valid by its published schema, and a key that nobody knows is refused.

Exit codes: 0 passed, 1 failed, 77 skipped because python3-jsonschema or python3-yaml is missing.
"""
import copy
import json
import pathlib
import sys

try:
    import jsonschema
    import yaml
except ImportError as missing:
    print(f"SKIPPED: manifest schemas: {missing} (install python3-jsonschema and python3-yaml)")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2] / "manifests"


class Loader(yaml.SafeLoader):
    """As kfab reads YAML: dates stay text, and so do yes and no."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
import re  # noqa: E402

Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))

schemas = {path.name: json.loads(path.read_text()) for path in (ROOT / "schema").glob("*.schema.json")}


def validator(kind):
    schema = schemas[f"{kind.lower()}.schema.json"]
    resolver = jsonschema.RefResolver(base_uri="", referrer=schema, store=schemas)
    return jsonschema.Draft202012Validator(schema, resolver=resolver)


failed = checked = 0
for folder in ("sites", "examples", "profiles", "criteria", "roles"):
    for path in sorted((ROOT / folder).glob("*.yaml")):
        for document in yaml.load_all(path.read_text(), Loader=Loader):
            check = validator(document["kind"])
            checked += 1
            for error in check.iter_errors(document):
                failed += 1
                print(f"FAILED: {path.name}: {'/'.join(map(str, error.absolute_path))}: {error.message[:200]}")
            for where in ((), ("spec",), ("metadata",)):
                broken = copy.deepcopy(document)
                place = broken
                for key in where:
                    place = place[key]
                place["nobody_knows_this"] = 1
                if check.is_valid(broken):
                    failed += 1
                    print(f"FAILED: {path.name}: an unknown key in {'/'.join(where) or 'the document'} is accepted")
for schema in schemas.values():
    jsonschema.Draft202012Validator.check_schema(schema)
if checked < 17:
    failed += 1
    print(f"FAILED: only {checked} documents were found")
print(f"{checked} documents checked against {len(schemas)} schemas, {failed} failed")
sys.exit(1 if failed else 0)
