"""The long-running service: sources are polled, clusters watched, and what moved is synced."""
