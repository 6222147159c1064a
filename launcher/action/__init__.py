"""What the GitHub actions of `action/` run: `python -m launcher.action run|collect|stop|clean`.

Inputs come by environment variables named EVALDOCK_INPUT_…, and go on to commands of evaldock as arguments of
their own: no text of theirs is ever part of a script.
"""
