"""Pretraining: nights that add up to a campaign."""
