"""Where objects live: directories of manifests."""
