"""What every connection to a server stands on: one deadline a call, and failures in plain words."""
