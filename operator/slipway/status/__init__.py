"""Formats the status: conditions, history, pods and Events of one ModelDeployment. Pure; it decides nothing.

- `report` computes the whole status; `conditions`, `messages` and `history` are its parts.
- `transitions` derives from a change of status its Events, and whether it is urgent.
- `pod` projects a pod's JSON onto the few facts that are kept, when the cache receives it; `scheduling`, `fetching` and `serving` are
  its checks.
"""
