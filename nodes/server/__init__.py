"""Where the pack meets ComfyUI's server: settings, folders, progress. The only readers of folder_paths and os.environ."""
