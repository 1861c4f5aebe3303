"""What a trained model is: signature, artifact formats, runtimes, registry, the model record.

In: a trained artifact and what was measured on it. Out: registered, verified, loadable versions.
"""
