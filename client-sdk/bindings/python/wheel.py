"""Packs what `build python` made as a wheel for this machine: wheel.py FROM TO. It needs no tool but Python."""

import base64
import hashlib
import pathlib
import platform
import sys
import zipfile

NAME, VERSION = "kith", "0.1.0"


def main(source: pathlib.Path, target: pathlib.Path) -> None:
    system = {"Linux": "linux", "Darwin": "macosx_11_0"}.get(platform.system(), "any")
    tag = f"py3-none-{system}_{platform.machine()}"
    info = f"{NAME}-{VERSION}.dist-info"
    files = {path.name: path.read_bytes() for path in sorted(source.iterdir()) if path.suffix in (".py", ".so", ".dylib")}
    metadata = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\nSummary: Chat that works offline and sends exactly once\n"
    files[f"{info}/METADATA"] = f"{metadata}License: Apache-2.0\nRequires-Python: >=3.10\n".encode()
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: kith\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    record = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(content)}")
    record.append(f"{info}/RECORD,,")
    files[f"{info}/RECORD"] = ("\n".join(record) + "\n").encode()
    wheel = target / f"{NAME}-{VERSION}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in files.items():
            # The same bytes each time.
            pack.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    print(wheel)


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
