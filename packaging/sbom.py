#!/usr/bin/env python3
"""What is in the program: a CycloneDX list of the crates that are linked into it, out of `cargo metadata` on standard input.

Usage: cargo metadata --locked --format-version 1 --filter-platform TARGET | sbom.py VERSION SECONDS
Crates that only build others are left out; the same sources and the same time give the same bytes.
"""
import json
import sys
from datetime import datetime, timezone


def main() -> None:
    version, made = sys.argv[1], int(sys.argv[2])
    told = json.load(sys.stdin)
    packages = {package["id"]: package for package in told["packages"]}
    nodes = {node["id"]: node for node in told["resolve"]["nodes"]}
    root = next(key for key, package in packages.items() if package["name"] == "kith")

    linked, waiting = set(), [root]
    while waiting:
        key = waiting.pop()
        if key in linked:
            continue
        linked.add(key)
        for dependency in nodes[key]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])

    def entry(key: str) -> dict:
        package = packages[key]
        made_of = {
            "type": "library",
            "bom-ref": f"{package['name']}@{package['version']}",
            "name": package["name"],
            "version": package["version"],
            "purl": f"pkg:cargo/{package['name']}@{package['version']}",
        }
        if package.get("license"):
            made_of["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        return made_of

    components = sorted((entry(key) for key in linked if key != root), key=lambda one: (one["name"], one["version"]))
    at = datetime.fromtimestamp(made, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    json.dump(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {"timestamp": at, "component": {"type": "application", "name": "kith", "version": version}},
            "components": components,
        },
        sys.stdout,
        indent=1,
    )
    print()


main()
