"""What is wrong on its face is refused by the API server, with words that name the field and the fix."""

from pathlib import Path
from typing import Any

import pytest

from dev.kit.kubectl import Kubectl, KubectlError, Manifest
from dev.kit.model_deployments import deployment


def changed(**spec: Any) -> Manifest:
    manifest = deployment("refused", "pvc://models/x")
    manifest["spec"] |= spec
    return manifest


REFUSED = {
    "unknown field": (changed(replica=2), "unknown field"),
    "misspelt nested field": (changed(model={"uri": "pvc://models/x", "digst": "x"}), "digst"),
    "wrong type": (changed(replicas="two"), "spec.replicas"),
    "image and version": (
        changed(runtime={"image": "example.org/server:1", "version": "2.20.0"}),
        "spec.runtime.version and spec.runtime.image exclude each other",
    ),
    "bounds of autoscaling": (
        changed(autoscaling={"minReplicas": 3, "maxReplicas": 2}),
        "spec.autoscaling.minReplicas must not be above spec.autoscaling.maxReplicas",
    ),
    "nothing to measure against": (
        changed(autoscaling={"maxReplicas": 2}, resources={}),
        "spec.autoscaling needs spec.resources.requests",
    ),
    "GPU with a CPU image": (
        changed(gpu={"count": 1}, runtime={"image": "tensorflow/serving:2.20.0"}),
        "use its -gpu tag",
    ),
    "scheme": (changed(model={"uri": "ftp://example.org/x.tar"}), "unknown scheme"),
    "credentials": (changed(model={"uri": "https://me:secret@example.org/x.tar"}), "credentials"),
    "parent folder": (changed(model={"uri": "pvc://models/../other"}), "must not contain '..'"),
    "digest": (changed(model={"uri": "pvc://models/x", "digest": "md5:1"}), "spec.model.digest"),
    "no model": ({**changed(), "spec": {"replicas": 1}}, 'missing required field "model"'),
    "long name": ({**changed(), "metadata": {"name": "n" * 53}}, "52"),
    "name with a dot": ({**changed(), "metadata": {"name": "a.b"}}, "name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_field_and_the_fix(kubectl: Kubectl, case: str) -> None:
    manifest, words = REFUSED[case]
    with pytest.raises(KubectlError) as refusal:
        kubectl.apply(manifest)
    assert words in str(refusal.value)
    assert "secret" not in str(refusal.value).replace("secrets", "") or case == "credentials"


def test_what_the_cases_start_from_is_admitted(kubectl: Kubectl) -> None:
    manifest = changed()
    said = kubectl.run("create", "--dry-run=server", "--filename=-", stdin=str(manifest).replace("'", '"'))
    assert "refused created" in said.stdout


def test_explain_reads_like_documentation(kubectl: Kubectl, tmp_path: Path) -> None:
    # A cache of its own: an index of schemas that kubectl or helm kept in the very second in which the kind came is taken for
    # the newest for ever, because the API server tells its age in seconds.
    cache = f"--cache-dir={tmp_path}"
    said = kubectl.run("explain", "modeldeployment.spec", "--recursive", cache).stdout
    for field in ("model", "uri", "runtime", "batching", "autoscaling", "progressDeadline"):
        assert field in said
    assert "pvc://CLAIM/PATH" in kubectl.run("explain", "mdep.spec.model.uri", cache).stdout


def test_short_name_and_category(kubectl: Kubectl) -> None:
    listed = kubectl.run("api-resources", "--api-group=serving.slipway.dev", "--output=wide").stdout
    assert "mdep" in listed
    assert "all" in listed.split("CATEGORIES")[1]
