"""That nothing of the Rust SDK is forgotten: `api.md` names each of its public calls, and what it names of the binding is there."""

import ast
import inspect
import pathlib
import re
import unittest

import kith

BINDINGS = pathlib.Path(__file__).resolve().parents[1]
ROW = re.compile(r"^\| `(\w+)::(\w+)` \| (.*) \|$", re.M)
# For tests, values that the rows of others speak of, and what is below an app: sockets, stores, load tools.
BESIDE = {"Delivery", "Endpoint", "Event", "LocalId", "MemoryStore", "MessageRef", "NewChannel", "Session", "Span", "Status", "StoreFailed", "TimelineItem", "Trust"}


def public_calls():
    calls = set()
    for path in sorted((BINDINGS.parent / "src").glob("*.rs")):
        of = None
        for line in path.read_text(encoding="utf-8").split("#[cfg(test)]\nmod ")[0].splitlines():
            if block := re.match(r"impl(?:<.*?>)? ([\w: ]+?)(?:<.*>)? \{", line):
                of = block[1] if " for " not in line else None
            elif (call := re.match(r"    pub (?:const )?(?:async )?fn (\w+)", line)) and of and of not in BESIDE:
                calls.add((of, call[1]))
    return calls


class Api(unittest.TestCase):
    def test_each_public_call_has_a_row_and_each_row_a_call(self):
        rows = [(of, call) for of, call, _ in ROW.findall((BINDINGS / "api.md").read_text(encoding="utf-8"))]
        self.assertEqual(len(rows), len(set(rows)))
        self.assertEqual(public_calls() - set(rows), set(), "add rows to client-sdk/bindings/api.md")
        self.assertEqual(set(rows) - public_calls(), set(), "these are gone from client-sdk/src")

    def test_what_a_row_names_is_in_the_binding(self):
        named = 0
        for of, call, here in ROW.findall((BINDINGS / "api.md").read_text(encoding="utf-8")):
            if here.startswith("no: "):
                continue
            for name in re.findall(r"`([\w.]+)`", here):
                what, _, part = name.partition(".")
                of_it = getattr(kith, what, None)
                there = of_it is not None and (not part or hasattr(of_it, part) or part in inspect.signature(of_it.__init__).parameters)
                self.assertTrue(there, f"{of}::{call}: there is no {name}")
                named += 1
        self.assertGreater(named, 100)

    def test_what_the_docs_call_is_there(self):
        owners = {"kith": kith, "client": kith.ChatClient, "server": kith.FakeServer}
        checked = 0
        for page in (BINDINGS / "README.md", BINDINGS.parents[1] / "docs/sdk/README.md"):
            for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.S | re.M):
                for node in ast.walk(compile(block, page.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)):
                    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in owners:
                        self.assertTrue(hasattr(owners[node.value.id], node.attr), f"{page}: there is no {node.value.id}.{node.attr}")
                        checked += 1
        self.assertGreater(checked, 15)


if __name__ == "__main__":
    unittest.main()
