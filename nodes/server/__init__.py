"""Where the pack meets the server: settings, folders, progress. It alone reads folder_paths and the environment."""
