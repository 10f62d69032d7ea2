"""Pictures that are drawn here."""
