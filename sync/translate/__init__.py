"""From the firewall's groups to Calico objects."""
