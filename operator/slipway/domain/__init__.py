"""The vocabulary of the decisions: Kubernetes objects by key, names and labels, revisions, servers and their flags.

Above `api`; used by every other package. Nothing here does I/O.
"""
