"""Gives every claim of the StorageClass `standard` a folder of its own on the node: `python -m dev.cluster.nodes.provisioner`.

kube-controller-manager has a host-path provisioner too, but its folders belong to root alone, so no pod that runs as
another user can write to them. Here a folder is open to all, as with kind. The loop lists, acts on what it sees and
then waits for the next change; whatever goes wrong is tried again from the list.
"""

import argparse
import contextlib
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from dev.cluster.api_client import Api, ApiError
from dev.cluster.kubeconfig import Access
from dev.cluster.nodes.addons import PROVISIONER, STORAGE_CLASS
from dev.cluster.pki import Pair

Object = dict[str, Any]

_CLAIMS, _VOLUMES = "/api/v1/persistentvolumeclaims", "/api/v1/persistentvolumes"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_WATCH_SECONDS = 20
_RETRY_SECONDS = 1.0


def wants_volume(claim: Object) -> bool:
    """True for a claim of our class that has a node and no volume yet."""
    metadata, spec = claim["metadata"], claim["spec"]
    return (
        spec.get("storageClassName") == STORAGE_CLASS
        and not spec.get("volumeName")
        and "deletionTimestamp" not in metadata
        and _SELECTED_NODE in metadata.get("annotations", {})
        and spec.get("volumeMode", "Filesystem") == "Filesystem"
    )


def volume_for(claim: Object, folder: Path) -> Object:
    """The PersistentVolume for a claim: its folder below `folder`, bound to this claim and no other."""
    metadata, spec = claim["metadata"], claim["spec"]
    name = f"pvc-{metadata['uid']}"
    node = metadata["annotations"][_SELECTED_NODE]
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {_PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": reference,
            "hostPath": {"path": str(folder / name), "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": STORAGE_CLASS,
            "volumeMode": "Filesystem",
        },
    }


def is_released(volume: Object) -> bool:
    """True for a volume of ours whose claim is gone and that nobody retains."""
    ours = volume["metadata"].get("annotations", {}).get(_PROVISIONED_BY) == PROVISIONER
    released = volume.get("status", {}).get("phase") == "Released"
    return ours and released and bool(volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete")


def pass_once(api: Api, folder: Path) -> str:
    """Acts on every claim and volume there is; returns the claims' resourceVersion, to watch from."""
    claims = api.get(_CLAIMS)
    for claim in filter(wants_volume, claims["items"]):
        volume = volume_for(claim, folder)
        path = Path(volume["spec"]["hostPath"]["path"])
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        if api.create(_VOLUMES, volume):
            print(f"created {path.name} for {claim['metadata']['namespace']}/{claim['metadata']['name']}", flush=True)
    for volume in filter(is_released, api.get(_VOLUMES)["items"]):
        path = folder / volume["metadata"]["name"]
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)
        api.delete(f"{_VOLUMES}/{path.name}")
        print(f"deleted {path.name}", flush=True)
    return str(claims["metadata"]["resourceVersion"])


def serve(api: Api, folder: Path) -> None:
    """Runs for ever: a pass, then wait until a claim changes or 20 seconds are over."""
    while True:
        try:
            version = pass_once(api, folder)
            for event in api.watch(_CLAIMS, version, seconds=_WATCH_SECONDS):
                if event["type"] != "BOOKMARK":
                    break
        except (ApiError, OSError, ValueError) as error:
            print(f"will try again: {error}", file=sys.stderr, flush=True)
            time.sleep(_RETRY_SECONDS)


def main() -> None:
    """Entry point of the daemon."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for option in ("--server", "--authority", "--certificate", "--key", "--folder"):
        parser.add_argument(option, required=True)
    given = parser.parse_args()
    access = Access(given.server, Path(given.authority), Pair(Path(given.certificate), Path(given.key)))
    serve(Api(access), Path(given.folder))


if __name__ == "__main__":
    main()
