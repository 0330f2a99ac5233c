"""Prove what the written objects do, independently of the translation."""
