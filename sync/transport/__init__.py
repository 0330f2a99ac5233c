"""Network transport for all servers: one deadline per call, and failures in plain words."""
