"""Weights and their shapes to and from other libraries' formats."""
