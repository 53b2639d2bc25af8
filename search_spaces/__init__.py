"""The search spaces that come with autocompress, as TOML files."""
