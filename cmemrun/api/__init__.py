"""What Python programs use: measure a command, or watch what runs already.

Nothing here prints or exits, no signal and none of the caller's descriptors is
touched, and every call may be made from any thread, several at once.
"""

from cmemrun.api.limits import Limits
from cmemrun.api.measuring import Options, measure, measure_async
from cmemrun.api.run import Run
from cmemrun.api.watching import Watch, watch

__all__ = ["Limits", "Options", "Run", "Watch", "measure", "measure_async", "watch"]
