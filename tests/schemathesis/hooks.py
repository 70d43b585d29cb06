"""What the document cannot say: a key is drawn anew for each request, since most of those that fit the pattern are dated far from now; and
operators' requests are an operator's."""

import os
import re
import time

import schemathesis

KEY = "Idempotency-Key"
FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@schemathesis.hook
def map_headers(context, headers):
    if headers and FORM.fullmatch(str(headers.get(KEY, ""))):
        ms, random = f"{int(time.time() * 1000):012x}", os.urandom(8).hex()
        headers[KEY] = f"{ms[:8]}-{ms[8:]}-7{random[:3]}-8{random[3:6]}-{random[4:16]}"
    return headers


@schemathesis.hook
def before_call(context, case, kwargs):
    if "operators" in (case.operation.definition.raw.get("tags") or []) and (case.headers or {}).get("Authorization", "").startswith("Bearer ey"):
        case.headers["Authorization"] = f"Bearer {os.environ['KITH_OPERATOR']}"
