"""The first bytes of model files, checked before they are believed."""
