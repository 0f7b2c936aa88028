"""`spec.model`: where the model comes from."""

from typing import Annotated

from pydantic import Field

from slipway.api.base import DIGEST_PATTERN, MAX_VERSION, ApiModel, VersionNumber
from slipway.api.rules import Rule, Rules, excludes, matches


def uri_rules(field: str) -> tuple[Rule, ...]:
    """Return the rules of a URI field; `field` is its path, for messages."""
    return (
        matches(
            r"^(pvc|https|http)://",
            f"{field} has an unknown scheme: use pvc://CLAIM/PATH, https://HOST/FILE or http://HOST/FILE",
        ),
        excludes(
            r"^[a-z]+://[^/?#]*@",
            f"{field} must not carry credentials (user:password@): remove them, everyone who can read this resource could read them",
        ),
        excludes(r"[/\\](\.|%2[eE]){2}([/\\?#]|$)", f"{field} must not contain '..': write the path without it"),
        excludes(
            r"[\s\x00-\x1f\x7f]|^pvc://.*%([01][0-9a-fA-F]|7[fF])",
            f"{field} must not contain white space or control characters",
        ),
        matches(
            r"^(pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[^?#]*)?$|https?://[^/?#]+)",
            f"{field} is incomplete: use pvc://CLAIM/PATH, https://HOST/FILE or http://HOST/FILE",
        ),
    )


_VERSION = Rule(
    f"type(self) == int || size(self) < 19 || self <= '{MAX_VERSION}'",
    f"spec.model.version must be a number from 0 to {MAX_VERSION}",
)


class ModelSource(ApiModel):
    """Where the model comes from."""

    uri: Annotated[str, Field(min_length=1, max_length=2048), Rules(*uri_rules("spec.model.uri"))]
    """Where the SavedModel is: `pvc://CLAIM/PATH` for a folder or an archive in a PersistentVolumeClaim of the same
    namespace, `https://HOST/FILE` or `http://HOST/FILE` for an archive (tar, tar.gz, zip). The folder or archive holds
    a SavedModel, or numeric version folders that each hold one."""
    version: Annotated[VersionNumber, Rules(_VERSION)] | None = None
    """Numeric version folder to serve, from 0 to 9223372036854775807. Above 9007199254740991 it is better written as a text
    in quotes: programs that read JSON numbers as floats round it. Default: the highest one that the revision's first pod
    finds; all its pods then serve that one."""
    digest: Annotated[str, Field(pattern=DIGEST_PATTERN)] | None = None
    """SHA-256 of the served version folder, as `sha256:HEX`. Pods that find other content refuse to start. Default: the
    digest of what the revision's first pod fetches; all its pods then serve that content. It is what
    `cd FOLDER && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum` prints, and what
    `status.history[].digest` shows."""
