"""A Panorama to test against: PAN-OS's XML API over HTTPS on loopback, and what goes wrong there.

What it answers is what the vendor's documentation and real responses show; where nothing is
documented, the answer is a guess that tests can change (`Panorama.audit_shape`).

It is also what `zonebridge-simulator` serves: the wheel holds it as `zonebridge_simulator`, which
in a checkout is a link to this directory. So its modules import each other relatively, and nothing
else of the tests or of `sync`.
"""
