"""Tests beside other packs, which are in no package registry: make test-beside PACKS=folder."""
