"""Labelled clips from a CSV, a folder or a public dataset that is known by its layout."""
