"""The web page: what the command line shows, to look at; `carrara ui` serves it.

In: requests of people who signed in with a token. Out: pages drawn on the server, each with a `.json` twin, over the
read functions of `Workspace`. A file per noun in `pages/`; what changes something is in `actions.py`.
"""
