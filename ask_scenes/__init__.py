"""Synthetic rooms and objects with depth, masks and labels, drawn by ray casting; no model and no method in here."""
