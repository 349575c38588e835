"""Starts a thread when imported, as some libraries do: nothing may be forked beside it."""

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
