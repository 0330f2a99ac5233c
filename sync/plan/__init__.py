"""What is to change in a cluster, why, and what stands in the way."""
