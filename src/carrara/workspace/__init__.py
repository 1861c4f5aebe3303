"""The façade that people use: `carrara.Workspace`, with the verbs of every room.

In: a folder with `carrara.toml`. Out: what the rooms return. One file per noun, over one `Workspace`.
"""
