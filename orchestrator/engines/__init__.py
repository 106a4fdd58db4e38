"""Where a cell runs: in a container of a Docker engine, of this host or of a cluster's, or as a process."""
