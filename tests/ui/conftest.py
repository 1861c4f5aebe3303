from pages_served import own_page, served, tokens, ui_folder, viewer

from chromium import browser

__all__ = ["browser", "own_page", "served", "tokens", "ui_folder", "viewer"]
