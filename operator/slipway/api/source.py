"""`spec.model`: where the model comes from."""

from typing import Annotated

from pydantic import AfterValidator, Field

from slipway.api.base import ApiModel, TextRule, check_text, validations


def uri_rules(field: str) -> tuple[TextRule, ...]:
    """Return the rules of a field that says where a file or folder is; `field` is how messages call it."""
    return (
        TextRule(
            r"^(pvc|https|http)://",
            f"{field} has an unknown scheme: use pvc://CLAIM/PATH, https://HOST/FILE or http://HOST/FILE",
        ),
        TextRule(
            r"^[a-z]+://[^/?#]*@",
            f"{field} must not carry credentials (user:password@): remove them, everyone who can read this resource could read them",
            forbidden=True,
        ),
        TextRule(
            r"[/\\](\.|%2[eE]){2}([/\\?#]|$)",
            f"{field} must not contain '..': write the path that is meant",
            forbidden=True,
        ),
        TextRule(
            r"[\s\x00-\x1f\x7f]|^pvc://.*%([01][0-9a-fA-F]|7[fF])",
            f"{field} must not contain white space or control characters",
            forbidden=True,
        ),
        TextRule(
            r"^(pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[^?#]*)?$|https?://[^/?#]+)",
            f"{field} is incomplete: use pvc://CLAIM/PATH, https://HOST/FILE or http://HOST/FILE",
        ),
    )


URI_RULES = uri_rules("spec.model.uri")


class ModelSource(ApiModel):
    """Where the model comes from."""

    uri: Annotated[
        str,
        Field(min_length=1, max_length=2048, json_schema_extra=validations(*(rule.cel() for rule in URI_RULES))),
        AfterValidator(lambda uri: check_text(URI_RULES, uri)),
    ]
    """Where the SavedModel is: `pvc://CLAIM/PATH` for a folder or an archive in a PersistentVolumeClaim of the same
    namespace, `https://HOST/FILE` or `http://HOST/FILE` for an archive (tar, tar.gz, zip). The folder or archive holds
    a SavedModel, or numeric version folders that do."""
    version: Annotated[int, Field(ge=1, le=9007199254740991)] | None = None
    """Which numeric version folder to serve. Default: the highest one that there is when the revision is made; all its
    pods then serve that one."""
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    """SHA-256 of the served version folder, as `sha256:HEX`. Pods that find other content refuse to start. Default: that
    of the content that the revision's first pod finds; all its pods then serve that content or none. It is what
    `cd FOLDER && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum` prints, and
    `status.history[].digest` shows."""
