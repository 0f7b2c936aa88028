"""Where a cluster comes from: kind, processes of this machine, or one that somebody else runs."""
