"""Packs classes, and the library for this machine where JNA looks for it: jar.py CLASSES LIBRARY JAR. It needs no tool but Python."""

import pathlib
import platform
import sys
import zipfile

# As JNA calls systems and processors.
SYSTEM = {"Linux": "linux", "Darwin": "darwin"}
PROCESSOR = {"x86_64": "x86-64", "amd64": "x86-64", "arm64": "aarch64"}


def main(classes: pathlib.Path, library: pathlib.Path, jar: pathlib.Path) -> None:
    machine = platform.machine()
    place = f"{SYSTEM.get(platform.system(), platform.system().lower())}-{PROCESSOR.get(machine, machine)}"
    files = {"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\nAutomatic-Module-Name: kith\r\n\r\n"}
    files |= {path.relative_to(classes).as_posix(): path.read_bytes() for path in sorted(classes.rglob("*")) if path.is_file()}
    files[f"{place}/{library.name}"] = library.read_bytes()
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in files.items():
            # The same bytes each time.
            pack.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    print(jar)


main(*map(pathlib.Path, sys.argv[1:4]))
