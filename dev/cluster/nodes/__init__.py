"""The nodes of a local cluster: processes of this machine in namespaces and cgroups of their own."""
