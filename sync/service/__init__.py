"""The long-running service: it polls sources, watches clusters, and syncs what changed."""
