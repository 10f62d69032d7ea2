"""The pack's interface to the server: settings, folders, progress. Only it reads folder_paths and the environment."""
