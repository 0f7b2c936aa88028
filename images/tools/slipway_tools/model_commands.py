"""Commands on models: fetch, publish, digest. The exit code is 0 or 1; stdout has one line (JSON but for digest)."""

import argparse
import ipaddress
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from slipway_tools import __version__, fetch, publish, result
from slipway_tools.digest import PATTERN, measure
from slipway_tools.errors import InterruptedBySignal, ModelError, Reason, from_os_error
from slipway_tools.golden_fetch import GoldenSource
from slipway_tools.layout import parse_version
from slipway_tools.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_FILES, Limits
from slipway_tools.sources.authorities import Authorities
from slipway_tools.sources.http import Policy

PINNED_VERSION = "SLIPWAY_PINNED_VERSION"
PINNED_DIGEST = "SLIPWAY_PINNED_DIGEST"
_PUBLISHER_WORDS = {
    "spec.model.uri": "the stream",
    "spec.model.version": "--version",
    "spec.model.digest": "--digest",
    "spec.resources.limits.ephemeral-storage (--max-bytes)": "--max-bytes",
}


class _Parser(argparse.ArgumentParser):
    """Reports wrong arguments like every other failure, so that they reach the pod's status."""

    def error(self, message: str) -> NoReturn:
        raise ModelError(Reason.INTERNAL_ERROR, f"{self.prog}: {message}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    log_path = result.log_path(arguments, result.DEFAULT_LOG if arguments[:1] == ["fetch"] else None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        text = _run(_parser().parse_args(arguments))
    except InterruptedBySignal as stop:
        print("stopped", file=sys.stderr)
        return 128 + stop.number
    except ModelError as error:
        return _fail(error, log_path)
    except OSError as error:
        doing = "reading the model" if arguments[:1] == ["digest"] else "writing to the volume"
        return _fail(from_os_error(error, doing), log_path)
    except Exception as error:  # noqa: BLE001 - the last resort of a program whose only voice is its exit message
        return _fail(ModelError(Reason.INTERNAL_ERROR, f"unexpected {type(error).__name__}"), log_path, error)
    if log_path is not None:
        result.write(log_path, text)
    print(text)
    return 0


def _fail(error: ModelError, log_path: Path | None, cause: Exception | None = None) -> int:
    if log_path is not None:
        result.write(log_path, result.failure(error))
    if cause is not None:
        # Names and lines only: the text of an unforeseen exception may quote a URL.
        trace = cause.__traceback__
        while trace is not None:
            print(f"  {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}", file=sys.stderr)
            trace = trace.tb_next
    print(error.message, file=sys.stderr)
    return 1


def _run(arguments: argparse.Namespace) -> str:
    if arguments.command == "digest":
        return measure(arguments.directory).digest
    if arguments.command == "publish":
        try:
            return publish.publish(_publication(arguments), sys.stdin.buffer, _log).json()
        except ModelError as error:
            raise _for_publisher(error) from None
    return fetch.fetch(_request(arguments), _log).json()


def _for_publisher(error: ModelError) -> ModelError:
    """Name this command's own arguments instead of the fields of a resource."""
    message = error.message
    for field, argument in _PUBLISHER_WORDS.items():
        message = message.replace(field, argument)
    return ModelError(error.reason, message)


def _request(arguments: argparse.Namespace) -> fetch.Request:
    return fetch.Request(
        uri=arguments.uri,
        destination=arguments.destination,
        config_dir=arguments.config_dir,
        source=arguments.source,
        version=arguments.version,
        digest=arguments.digest,
        monitoring=arguments.monitoring,
        batching=arguments.batching,
        tags=arguments.saved_model_tags,
        limits=Limits(arguments.max_bytes, arguments.max_files),
        policy=Policy(
            allowed=tuple(arguments.allow_address),
            authorities=Authorities(arguments.ca_dir, arguments.ca_name, arguments.ca_key),
            attempts=arguments.attempts,
            total_seconds=arguments.timeout,
        ),
        pin=_pin(os.environ),
        golden=_golden(arguments),
    )


def _pin(environment: Mapping[str, str]) -> fetch.Pin | None:
    """Read what the first pod of the revision found; None while it is not known.

    Raises:
        ModelError: InternalError: the operator wrote these variables, not a user.
    """
    version, digest = environment.get(PINNED_VERSION, ""), environment.get(PINNED_DIGEST, "")
    if not version and not digest:
        return None
    number = parse_version(version)
    if number is None or not PATTERN.fullmatch(digest):
        raise ModelError(
            Reason.INTERNAL_ERROR,
            f"{PINNED_VERSION} and {PINNED_DIGEST} have to be a version number and sha256:…: the ConfigMap that this "
            "container's env names is not the pin of this revision; delete it, if it is somebody else's",
        )
    return fetch.Pin(number, digest)


def _golden(arguments: argparse.Namespace) -> GoldenSource | None:
    given = [arguments.golden_dir, arguments.golden_uri, arguments.golden_path]
    if sum(value is not None for value in given) > 1:
        raise ModelError(
            Reason.INTERNAL_ERROR, "only one of --golden-dir, --golden-uri and --golden-path says where the set is"
        )
    if given == [None, None, None]:
        return None
    return GoldenSource(
        directory=arguments.golden_dir,
        name=arguments.golden_name,
        key=arguments.golden_key,
        uri=arguments.golden_uri,
        mounted=arguments.golden_source,
        digest=arguments.golden_digest,
        path=arguments.golden_path,
    )


def _publication(arguments: argparse.Namespace) -> publish.Publication:
    if sys.stdin.isatty():
        raise ModelError(Reason.INTERNAL_ERROR, "publish reads a tar stream on its standard input; pipe one in")
    return publish.Publication(
        directory=arguments.directory,
        name=arguments.name,
        version=arguments.version,
        digest=arguments.digest,
        tags=arguments.saved_model_tags,
        limits=Limits(arguments.max_bytes, arguments.max_files),
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="slipway-tools",
        description="Fetch, publish and digest TensorFlow models.",
        epilog="Two more commands have a help of their own: `prober` (the gate's sidecar), `golden` (golden sets).",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"slipway-tools {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    _add_fetch(commands.add_parser("fetch", help="bring a model into this pod (init container)", allow_abbrev=False))
    _add_publish(commands.add_parser("publish", help="put a model from a tar stream into a volume", allow_abbrev=False))
    digest = commands.add_parser("digest", help="print the digest of a version directory", allow_abbrev=False)
    digest.add_argument("directory", type=_directory)
    return parser


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--uri", required=True, help="pvc://CLAIM/PATH, https://… or http://… of an archive")
    parser.add_argument("--source", type=Path, help="where the path of a pvc:// address is mounted")
    parser.add_argument("--destination", required=True, type=Path, help="the model's folder, e.g. /models/NAME")
    parser.add_argument("--config-dir", required=True, type=Path, help="where the server's text protos go")
    parser.add_argument("--monitoring", action="store_true", help="write monitoring.pbtxt")
    parser.add_argument("--batching", metavar="K=V,…", help="write batching.pbtxt with these BatchingParameters")
    parser.add_argument("--allow-address", action="append", default=[], type=_network, metavar="CIDR",
                        help="also download from these addresses (loopback, link-local); repeatable")  # fmt: skip
    parser.add_argument("--timeout", type=float, default=Policy().total_seconds, help="seconds for the whole download")
    parser.add_argument("--attempts", type=_positive, default=Policy().attempts, help="attempts without progress")
    _add_authorities(parser.add_argument_group("certificate authorities beside the system's"))
    _add_golden(parser.add_argument_group("the golden set of a gate: one of --golden-dir, --golden-uri, --golden-path"))
    _add_common(parser)


def _add_authorities(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--ca-dir", type=Path, metavar="DIR", help="where their ConfigMap is mounted; it may be empty")
    group.add_argument("--ca-name", default="", metavar="CONFIGMAP", help="name of the ConfigMap, for messages")
    group.add_argument("--ca-key", default=Authorities().key, metavar="KEY", help="its key, a file of PEM certificates")


def _add_golden(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--golden-dir", type=Path, metavar="DIR", help="where its ConfigMap is mounted")
    group.add_argument("--golden-name", default="", metavar="CONFIGMAP", help="name of the ConfigMap, for messages")
    group.add_argument("--golden-key", metavar="KEY", help="key of the ConfigMap; default: its only one")
    group.add_argument("--golden-uri", metavar="URI", help="pvc://CLAIM/PATH, https://… or http://… of the file")
    group.add_argument("--golden-source", type=Path, metavar="PATH", help="where the path of a pvc:// file is mounted")
    group.add_argument("--golden-digest", type=_digest, metavar="DIGEST", help="of the file; refuse anything else")
    group.add_argument("--golden-path", metavar="REL", help="file inside the model's version folder")


def _add_publish(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--directory", required=True, type=_directory, help="the volume, e.g. /models")
    parser.add_argument("--name", required=True, help="the model's name")
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", type=_version, metavar="N", help="version to take; default: the highest, or 1")
    parser.add_argument("--digest", type=_digest, help="refuse anything else (sha256:…)")
    parser.add_argument(
        "--max-bytes", type=_positive, default=DEFAULT_MAX_BYTES, help="of the archive and of the model"
    )
    parser.add_argument("--max-files", type=_positive, default=DEFAULT_MAX_FILES, help="files and folders of the model")
    parser.add_argument("--saved-model-tags", type=_tags, default=frozenset({"serve"}), metavar="TAG,…",
                        help="tags of the graph that the server will load")  # fmt: skip
    # Taken out of the arguments before they are parsed, so that parsing errors get there too.
    parser.add_argument("--termination-log", metavar="FILE", default=argparse.SUPPRESS,
                        help=f"where the result goes (fetch: {result.DEFAULT_LOG})")  # fmt: skip


def _version(text: str) -> int:
    number = parse_version(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!a} is not a version number (0 to 2^63-1)")
    return number


def _digest(text: str) -> str:
    if not PATTERN.fullmatch(text):
        raise argparse.ArgumentTypeError("a digest is sha256: and 64 lower-case hexadecimal digits")
    return text


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!a} is not a positive number")
    return int(text)


def _tags(text: str) -> frozenset[str]:
    return frozenset(tag for tag in text.split(",") if tag)


def _directory(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!a} is not a directory")
    return path


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!a} is not an address range (CIDR)") from None


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise InterruptedBySignal(number)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
