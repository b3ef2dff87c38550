"""A new plugin package, complete from the first: ``ldm plugins new``.

The package lies in ``template`` as one of every kind, called ``ldm-mine``; what is asked for is
copied from it under another name.
"""
