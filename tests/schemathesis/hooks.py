"""What the document cannot say: what Kith's own formats hold, who asks, and what stands where.

Names are folded before they are judged, so that no pattern holds their rule: it stands here a second time, by Python's own tables. Some of what is well
formed hangs on the time, or on what is there: such values are moved to where they mean something, so that a right request that is refused is a fault
there too. In the end it is said which operations were never done."""

import atexit
import base64
import collections
import os
import sys
import time
import unicodedata

import schemathesis
from hypothesis import strategies as st

KEY = "Idempotency-Key"
# Of ann's, in the group that is asked about: see `run`.
TEXTS = range(2, 42)
# Of bob's, who is reported.
OTHERS = range(42, 47)
AN_HOUR_MS = 3_600_000
# Parts of paths that are set for every request, wrong ones too: see `schemathesis.toml`.
SET = {"channel", "user", "link", "name", "webhook", "report", "bot", "node"}
# Ends what it is asked with, so that somebody asks who does nothing else.
LEAVES = {"endDevice", "deleteAccount", "changePassword", "newRecoveryCode"}


def is_shown(character):
    """Neither a control character, nor invisible, nor one that means another thing elsewhere."""
    return unicodedata.category(character) not in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp") and character not in "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0" and not (
        "\u180b" <= character <= "\u180f" or "\ufe00" <= character <= "\ufe0f" or "\U000e0000" <= character or character in "\ufffc\ufffd"
    )


def is_name(text):
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    return 0 < len(folded.encode()) <= 64 and all(is_shown(one) and not one.isspace() and one not in "#/,@" for one in folded)


shown = st.characters(exclude_categories=("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")).filter(is_shown)
line = st.text(shown, max_size=16)
names = st.text(shown.filter(is_name), min_size=1, max_size=12).filter(is_name)
schemathesis.openapi.format("user-name", names)
schemathesis.openapi.format("name-prefix", names)
schemathesis.openapi.format("shown-line", line)
schemathesis.openapi.format("shown-text", st.lists(line, max_size=3).map("\n".join))
schemathesis.openapi.format("picture-url", line.map("https://{}".format) | st.just(""))
schemathesis.openapi.format("webhook-url", st.from_regex(r"https://[a-z]{1,12}\.(invalid|example)(:[1-9][0-9]{0,3})?(/[a-z0-9/?=]{0,12})?", fullmatch=True))


def points():
    """Some of the curve P-256, as browsers name their keys: what is not on it is refused."""
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    for x in range(1, 40):
        square = (x**3 - 3 * x + b) % p
        y = pow(square, (p + 1) // 4, p)
        if y * y % p == square:
            yield b"\4" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def in_text(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


schemathesis.openapi.format("push-endpoint", st.from_regex(r"https://[a-z]{1,12}\.(invalid|example)(:[1-9][0-9]{0,3})?(/[A-Za-z0-9/_=-]{0,24})?", fullmatch=True))
schemathesis.openapi.format("push-key", st.sampled_from([in_text(point) for point in points()]))
schemathesis.openapi.format("push-auth", st.binary(min_size=16, max_size=16).map(in_text))
schemathesis.openapi.format("push-hook-key", st.binary(min_size=24, max_size=64).map(in_text))


def fresh_key():
    """Most of those that fit the pattern are dated far from now."""
    ms, random = f"{int(time.time() * 1000):012x}", os.urandom(8).hex()
    return f"{ms[:8]}-{ms[8:]}-7{random[:3]}-8{random[3:6]}-{random[4:]}"


def of(places, number):
    return places[int(number) % len(places)]


def whole(value):
    """Numbers as those who have integers write them: 7.0 is one to JSON Schema, and none to the server."""
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def later(number):
    return int(time.time() * 1000) + AN_HOUR_MS + int(number) % AN_HOUR_MS


def settle(operation, case):
    """Moves what is well formed to where it means something."""
    if isinstance(case.body, dict):
        case.body = whole(case.body)
    if operation == "users" and not case.query:
        case.query = {"name": "bob"}
    if operation == "searchMessages" and not (case.query or {}).keys() - {"cursor", "limit"}:
        case.query = {**(case.query or {}), "q": "boat"}
    if operation == "searchMessages" and "channel" in (case.query or {}):
        # Names, and the two users of a direct channel, have rules that no pattern holds.
        case.query["channel"] = "@bob" if str(case.query["channel"]).startswith("@") else os.environ["KITH_CHANNEL"]
    if operation == "searchMessages" and "q" in (case.query or {}):
        # Signs alone are no word.
        case.query["q"] = str(case.query["q"])[:100] + " boat"
    if operation == "searchMessages" and "cursor" in (case.query or {}):
        # It ends with a channel.
        case.query["cursor"] = str(case.query["cursor"]).rsplit("-", 1)[0] + "-" + os.environ["KITH_CHANNEL"]
    path, query, body = case.path_parameters or {}, case.query or {}, case.body
    if "seq" in path:
        path["seq"] = of(OTHERS if operation == "report" else TEXTS, path["seq"])
    if operation == "history" and ("at_ms" in query or "around" in query):
        alone = "at_ms" if "at_ms" in query else "around"
        for name in {"after", "before", "thread", "at_ms", "around"} - {alone}:
            query.pop(name, None)
    if operation == "users" and "name" in query:
        query.pop("ids", None)
    if not isinstance(body, dict):
        return
    for name in ("due_ms", "until_ms"):
        if body.get(name):
            body[name] = later(body[name])
    for name in ("reply_to", "thread"):
        if body.get(name):
            body[name] = of(TEXTS, body[name])
    if operation == "setRules" and body.get("retention_ms"):
        # The texts are to stay.
        body["retention_ms"] += 24 * AN_HOUR_MS
    if operation == "forward":
        body.update({"from": os.environ["KITH_CHANNEL"], "seq": of(TEXTS, body["seq"])})
    if operation == "drainNode":
        # There is one node, which is to go on.
        body["on"] = False
    if operation == "decommissionNode":
        body["dry_run"] = True
    if operation == "applyLayout":
        body["version"] = int(os.environ["KITH_LAYOUT"])
    quiet = body.get("quiet")
    if operation == "setQuietHours" and quiet and quiet["from"] == quiet["to"]:
        # No time at all.
        quiet["to"] = (quiet["from"] + 1) % 1_440
    position = body if operation in ("markRead", "markDelivered") else body.get("cleared")
    if isinstance(position, dict):
        # No record has a count above its place.
        position["seq"] = of(TEXTS, position["seq"])
        position["cnt"] = min(position["cnt"], position["seq"] - 1)


@schemathesis.hook
def filter_case(context, case):
    """Whether what makes a case a wrong one is sent at all."""
    if case.meta is None or case.meta.generation.mode.is_positive:
        return True
    data = case.meta.phase.data
    if data.description == "Positive test case":
        return False
    return not (data.parameter in SET and getattr(data.parameter_location, "value", None) == "path")


@schemathesis.hook
def before_call(context, case, kwargs):
    headers = case.headers or {}
    raw = case.operation.definition.raw
    operation = raw.get("operationId")
    if case.meta is not None and case.meta.generation.mode.is_positive:
        # The tool takes some texts for valid that the document's pattern does not allow.
        if KEY in headers:
            headers[KEY] = fresh_key()
        settle(operation, case)
    if headers.get("Authorization", "").startswith("Bearer ey"):
        if "operators" in (raw.get("tags") or []):
            headers["Authorization"] = f"Bearer {os.environ['KITH_OPERATOR']}"
        elif operation in LEAVES:
            headers["Authorization"] = f"Bearer {os.environ['KITH_LEAVER']}"


asked = collections.Counter()
done = collections.Counter()


@schemathesis.hook
def after_call(context, case, response):
    operation = case.operation.definition.raw.get("operationId")
    if case.meta is not None and case.meta.generation.mode.is_positive:
        asked[operation] += 1
        done[operation] += 200 <= response.status_code < 300


@atexit.register
def tell():
    idle = sorted(one for one in asked if not done[one])
    print(f"of {len(asked)} operations that were asked for as they should be, {len(asked) - len(idle)} were done; never: {', '.join(idle) or 'none'}", file=sys.stderr)
