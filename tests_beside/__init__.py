"""Tests with other packs, which aren't in a package registry: make test-beside PACKS=folder."""
