"""PAN-OS as values: a Panorama's configuration, and what it means for one device group."""
