"""A second, slow and simple reading of PAN-OS address groups, for property tests.

It shares no code with the product on purpose: where the two disagree, one of them is wrong.
"""

from tests.naive.reader import Address, NaiveGroup, naive_groups

__all__ = ["Address", "NaiveGroup", "naive_groups"]
