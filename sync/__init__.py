"""Zonebridge: the firewall team's Panorama, in Kubernetes, as Calico sets and policies."""

__version__ = "0.1.0"
