"""What can be said of Swift without its compiler: check.py PARSER FOLDER APP…, where PARSER has tree-sitter and its Swift grammar, and FOLDER what `build swift` made.

In: `kith.swift`, which UniFFI makes, `Sequences.swift`, and apps. Out: nothing, or what is wrong, and exit code 1. All of them must parse. Beyond that, an app (and
Sequences.swift) names nothing but what is in kith.swift, in itself, or in [KNOWN], the part of Swift's own library that it uses: types, members, cases, and of each call
the labels, whether it is awaited and whether it is tried. It is no type checker: a name is looked up among all types. At the end mistakes are put into a copy of the first app,
each of which must be found.
"""

import pathlib
import re
import sys

# Of Swift and Foundation: what apps here may use.
KNOWN = set(
    """
    Array AsyncStream CommandLine Data Element FileHandle Int ProcessInfo Self String Task Thread UInt64 Void arguments contentsOfFile detachNewThread encoding
    environment error exit fatalError finish isEmpty main nanoseconds print processInfo readLine replaceSubrange sleep trimmingCharacters unfolding utf8 whitespaces
    yield cancel count joined description _
    """.split()
)
# A grammar is no compiler: what this one cannot read though it is right, and what stands in its place.
GRAMMAR = [("@_documentation(visibility: private)", ""), ("{ () }", "{    }")]


def taken(text):
    """The text as a new compiler reads it: of each `#if` its first branch."""
    lines, branches = [], []
    for line in text.split("\n"):
        word = line.strip().split("(")[0].split(" ")[0]
        if word == "#if":
            branches.append(True)
        elif word in ("#else", "#elseif"):
            branches[-1] = False
        elif word == "#endif":
            branches.pop()
        lines.append(line if all(branches) and not word.startswith(("#if", "#else", "#endif")) else "")
    text = "\n".join(lines)
    for unread, instead in GRAMMAR:
        text = text.replace(unread, instead)
    return text.encode()


class File:
    def __init__(self, parser, name, text):
        self.name, self.source = name, taken(text)
        self.root = parser.parse(self.source).root_node

    def text(self, node):
        return self.source[node.start_byte : node.end_byte].decode()

    def all(self, *kinds):
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            if node.type in kinds:
                yield node
            waiting.extend(node.children)

    def place(self, node):
        return f"{self.name}:{node.start_point[0] + 1}"

    def errors(self):
        return [f"{self.place(node)}: does not parse: {self.text(node)[:60]!r}" for node in self.broken(self.root)]

    def broken(self, node):
        if node.type == "ERROR" or node.is_missing:
            return [node]
        return [one for child in node.children if child.has_error or child.is_missing for one in self.broken(child)]

    def named(self, node):
        """What a declaration is called."""
        name = node.child_by_field_name("name")
        return self.text(name).strip("`") if name is not None else ""


class Called:
    """A function, an initializer or a case, as it must be called."""

    def __init__(self, labels, optional, is_async, throws):
        self.labels, self.optional, self.is_async, self.throws = labels, optional, is_async, throws

    def takes(self, labels):
        at = 0
        for label, may_lack in zip(self.labels, self.optional):
            if at < len(labels) and labels[at] == label:
                at += 1
            elif not may_lack:
                return False
        return at == len(labels)


def signature(file, node):
    """Of a declaration of a function or an initializer."""
    body = next((child.start_byte for child in node.children if child.type == "function_body"), node.end_byte)
    head = file.source[node.start_byte : body].decode()
    labels, optional = [], []
    children = node.children
    for at, child in enumerate(children):
        if child.type != "parameter":
            continue
        external = child.child_by_field_name("external_name") or child.child_by_field_name("name")
        labels.append(file.text(external))
        optional.append(at + 1 < len(children) and children[at + 1].type == "=")
    return Called(labels, optional, re.search(r"\)\s*async\b", head) is not None, re.search(r"\bthrows\b", head) is not None)


class Kith:
    """What kith.swift and the files beside it declare."""

    def __init__(self, files):
        self.types, self.members, self.calls = set(), set(), {}
        for file in files:
            for node in file.all("class_declaration", "protocol_declaration", "typealias_declaration"):
                name = file.named(node).split("<")[0]
                self.types.add(name)
                for inner in node.children:
                    if inner.type in ("class_body", "enum_class_body", "protocol_body"):
                        self.body(file, name, inner)
            for node in file.all("function_declaration", "protocol_function_declaration"):
                self.call(file.named(node), signature(file, node))

    def body(self, file, name, body):
        for node in body.children:
            if node.type == "init_declaration":
                self.call(name, signature(file, node))
            elif node.type in ("property_declaration", "protocol_property_declaration"):
                self.members.update(file.text(one) for one in find(node, "pattern"))
            elif node.type == "enum_entry":
                parameters = [file.text(one) for one in find(node, "enum_type_parameters")]
                labels = re.findall(r"(\w+)\s*:", re.sub(r"/\*.*?\*/", "", parameters[0], flags=re.S)) if parameters else []
                case = file.named(node)
                self.members.update([case, *labels])
                self.call(case, Called(labels, [False] * len(labels), False, False))

    def call(self, name, called):
        self.calls.setdefault(name, []).append(called)


def find(node, kind):
    """Those of a kind that are in no other of it."""
    if node.type == kind:
        return [node]
    return [one for child in node.children for one in find(child, kind)]


def own_names(file):
    """What an app declares itself: functions, types, constants, parameters, names that patterns bind."""
    names = {file.named(node) for node in file.all("class_declaration", "function_declaration", "protocol_declaration", "parameter", "lambda_parameter")}
    for node in [file.root, *file.all(*DECLARING)]:
        for at, child in enumerate(node.children):
            if node.field_name_for_child(at) == "bound_identifier":
                names.add(file.text(child))
    return names


# Where names are bound.
DECLARING = ("pattern", "guard_statement", "if_statement", "while_statement", "for_statement", "property_declaration", "switch_pattern")


def case_of(file, pattern):
    """Of a pattern that takes a case apart: the case, and the label of each part; `None`: it is none such."""
    name, labels, label, is_inside = None, [], "_", False
    for child in pattern.children:
        if child.type == "(":
            is_inside = True
        elif child.type == "simple_identifier" and is_inside:
            label = file.text(child)
        elif child.type == "simple_identifier":
            name = file.text(child)
        elif child.type == "pattern" and is_inside:
            labels.append(label)
            label = "_"
    return (name, labels) if name is not None and is_inside else None


def is_under(node, kinds):
    """Whether it is in an expression of these kinds, within its own function."""
    while node is not None and node.type not in ("function_declaration", "lambda_literal", "computed_property"):
        if node.type in kinds:
            return True
        node = node.parent
    return False


def tried(file, node):
    while node is not None and node.type not in ("function_declaration", "lambda_literal"):
        if node.type == "try_expression" or any(child.type == "try_operator" for child in node.children):
            return True
        node = node.parent
    return False


def faults(kith, file):
    own, found = own_names(file), file.errors()
    known = KNOWN | own | kith.types
    for node in file.all("type_identifier"):
        if file.text(node) not in known:
            found.append(f"{file.place(node)}: no type is called {file.text(node)}")
    for node in file.all("simple_identifier"):
        name = file.text(node).strip("`")
        if name not in known | kith.members | kith.calls.keys() and not is_under(node, ("value_argument_label", "import_declaration")):
            found.append(f"{file.place(node)}: nothing is called {name}")
    for node in file.all("pattern"):
        found += fault_of_pattern(kith, file, node)
    for node in file.all("call_expression"):
        callee = node.children[0]
        last = (find(callee, "navigation_suffix") or [callee])[-1] if callee.type == "navigation_expression" else callee
        name = file.text(last).lstrip(".").strip("`")
        if name in own | KNOWN or not re.fullmatch(r"\w+", name):
            continue
        arguments = [one for suffix in node.children if suffix.type == "call_suffix" for one in find(suffix, "value_arguments")][:1]
        labels = []
        for argument in (one for all_of in arguments for one in all_of.children if one.type == "value_argument"):
            label = next((child for child in argument.children if child.type == "value_argument_label"), None)
            labels.append(file.text(label) if label is not None else "_")
        fitting = [called for called in kith.calls.get(name, []) if called.takes(labels)]
        if not fitting:
            found.append(f"{file.place(node)}: {name} is not called with ({', '.join(labels)})")
        elif all(called.is_async for called in fitting) and not is_under(node, ("await_expression",)):
            found.append(f"{file.place(node)}: {name} is not awaited")
        elif all(called.throws for called in fitting) and not tried(file, node):
            found.append(f"{file.place(node)}: {name} is not tried")
    return found


def fault_of_pattern(kith, file, node):
    case = case_of(file, node)
    if case is None or case[0] in own_names(file):
        return []
    name, labels = case
    bare = [] if any(label != "_" for label in labels) else [len(labels)]
    if any(called.labels == labels or len(called.labels) in bare for called in kith.calls.get(name, [])):
        return []
    return [f"{file.place(node)}: the case {name} has not ({', '.join(labels)})"]


# A mistake each, which the compiler would find.
MISTAKES = [
    ("client.shutDown()", "client.shutDwon()"),
    ("send(channel: room, text: text)", "send(room: room, text: text)"),
    ("send(channel: room, text: text)", "send(channel: room)"),
    ("try await client.connect()", "try client.connect()"),
    ("try await client.connect()", "await client.connect()"),
    ("TokenReason", "TokenReasons"),
    (".received(", ".recieved("),
    ("message.sender", "message.author"),
    (".text else", ".textual else"),
    ("caPem:", "ca:"),
    ("retryAfterMs: _, ", ""),
    ("await client.shutDown()", "await client.shutDown("),
    ("struct Terminal {", "struct Terminal"),
]


def main(parser_folder, folder, *apps):
    sys.path.insert(0, parser_folder)
    import tree_sitter_swift
    from tree_sitter import Language, Parser

    parser = Parser(Language(tree_sitter_swift.language()))
    read = lambda path: File(parser, path.name, path.read_text(encoding="utf-8"))
    made = [read(pathlib.Path(folder, name)) for name in ("kith.swift", "Sequences.swift")]
    kith, apps = Kith(made), [read(pathlib.Path(app)) for app in apps]
    found = made[0].errors() + [fault for file in [made[1], *apps] for fault in faults(kith, file)]
    if found:
        sys.exit("\n".join(["swift: what cannot be right:", *found]))
    text = apps[0].source.decode()
    for right, wrong in MISTAKES:
        if right not in text:
            sys.exit(f"swift: {apps[0].name} has no {right!r}, of which a mistake was to be made")
        if not faults(kith, File(parser, "mistake", text.replace(right, wrong, 1))):
            sys.exit(f"swift: the check does not see that {wrong!r} for {right!r} is a mistake")
    calls = sum(len(called) for called in kith.calls.values())
    print(f"swift: {1 + len(apps) + 1} files parse; apps name what there is, of {len(kith.types)} types and {calls} calls; {len(MISTAKES)} mistakes were found; not compiled")


main(*sys.argv[1:])
