"""Targets that hold objects: Kubernetes clusters and directories of manifests."""
