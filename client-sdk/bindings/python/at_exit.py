

# ---- not of UniFFI
# A thread of the library that has woken an event loop is still in Python for a moment. If Python ended then, the process would abort: it is given time to leave.
import atexit as _atexit
import time as _time

_atexit.register(_time.sleep, 0.2)
