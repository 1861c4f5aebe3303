from pages_served import own_page, served, tokens, ui_folder, viewer

__all__ = ["own_page", "served", "tokens", "ui_folder", "viewer"]
