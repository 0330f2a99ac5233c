"""What changes in a cluster, why, in which order, and what blocks it."""
