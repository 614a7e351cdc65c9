"""Who runs the units of work: processes of this machine, or a cluster. Both survive the death of a process."""
