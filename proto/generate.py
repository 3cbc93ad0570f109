"""Generate extproc/wire/pb from the .proto files beside this script.

Usage: python proto/generate.py [OUTPUT_ROOT]      (default: the repository)

The result is committed, so that installing the package needs no protoc.

protoc is told that this folder is `extproc/wire/pb`: the generated modules then import each other
from there, while the messages keep Envoy's own package names. No gRPC code is generated; a server
needs only the path of each method, and that is in the descriptors.
"""

import sys
from importlib.resources import as_file, files
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]  # ships no types

SOURCE = Path(__file__).resolve().parent
PACKAGE = "extproc/wire/pb"


def generate(output_root: Path) -> None:
    """Write one `_pb2.py` and one `_pb2.pyi` per .proto file; delete those whose source is gone.

    Raises SystemExit if protoc refuses the sources, after it has said why on stderr.
    """
    target = output_root / PACKAGE
    target.mkdir(parents=True, exist_ok=True)
    for stale in target.glob("*_pb2.py*"):
        stale.unlink()
    with as_file(files("grpc_tools") / "_proto") as well_known_types:
        arguments = [
            "protoc",
            f"-I{PACKAGE}={SOURCE}",
            f"-I{well_known_types}",
            f"--python_out={output_root}",
            f"--pyi_out={output_root}",
            *(f"{PACKAGE}/{path.name}" for path in sorted(SOURCE.glob("*.proto"))),
        ]
        if protoc.main(arguments) != 0:
            raise SystemExit("protoc failed")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE.parent)
