"""The composition root: the only place that knows all edges and joins them to a run, a command or the daemon."""
