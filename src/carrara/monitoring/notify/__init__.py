"""Where alerts are told: a log, a file, a webhook, e-mail, Alertmanager.

In: a `Notification`, all that changed of one model version at once. Out: it was told, or StorageError says why not.
"""
