"""Proving models again: one after another, after an upgrade or because somebody asks."""
